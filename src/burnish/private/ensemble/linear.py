"""A secret matrix times an encrypted vector: products with diagonals, baby and giant steps, a sum by doubling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.core.errors import UserError
from burnish.private.encryption.interface import Evaluator
from burnish.private.ensemble.packing import Packing, diagonals, spread


@dataclass(frozen=True)
class Steps:
    """How offsets are reached: each is a baby step plus a giant step. Chosen so that rotations are fewest."""

    babies: tuple[int, ...]
    giants: tuple[int, ...]


def plan_steps(offsets: range, parts: int) -> Steps:
    """Babies are paid for in each part, giants once."""
    count = len(offsets)
    best = min(range(1, count + 1), key=lambda babies: (parts * babies + -(-count // babies), babies))
    babies = tuple(offsets.start + step for step in range(best))
    return Steps(babies, tuple(range(0, count, best)))


def rotations(packing: Packing) -> tuple[int, ...]:
    """Left rotations, in slots, that :class:`LinearMap` makes; those are the keys that it needs."""
    steps = plan_steps(packing.offsets, packing.parts)
    doublings = [packing.period << power for power in range((packing.periods - 1).bit_length())]
    wanted = {step * packing.questions % packing.slots for step in (*steps.babies, *steps.giants, *doublings)}
    return tuple(sorted(wanted - {0}))


class LinearMap:
    """``y = M x + c`` on packed numbers; one level.

    Args:
        packing: how the inputs lie.
        matrix: M of each group.
        constants: c of each group.

    Raises:
        UserError: nothing but zeros in the matrix: its answer would tell nothing, and hide nothing.
    """

    def __init__(
        self,
        packing: Packing,
        matrix: Float[np.ndarray, "groups window inputs"],
        constants: Float[np.ndarray, "groups window"],
    ) -> None:
        if not matrix.any():
            raise UserError("heads: every weight is zero, so every text has the same answer; fit them again")
        self.packing = packing
        self._steps = plan_steps(packing.offsets, packing.parts)
        self._constants = spread(packing, constants)
        rows = diagonals(packing, matrix)
        # A giant step turns the product, so its diagonals are turned back beforehand.
        self._rows = {
            (baby, giant): np.roll(rows[place], giant * packing.questions, axis=1)
            for giant in self._steps.giants
            for baby in self._steps.babies
            if (place := baby + giant - packing.offsets.start) < len(rows)
        }

    def __call__(self, evaluator: Evaluator, parts: Sequence[Any]) -> Any:
        """The outputs of every question, in every period of its circle."""
        lanes = self.packing.questions
        turned = [evaluator.rotate_many(part, [baby * lanes for baby in self._steps.babies]) for part in parts]
        total = None
        for giant in self._steps.giants:
            inner = None
            for number, baby in enumerate(self._steps.babies):
                for part, rows in enumerate(self._rows.get((baby, giant), ())):
                    if rows.any():
                        inner = _sum(evaluator, inner, evaluator.multiply_plain(turned[part][number], rows))
            if inner is not None:
                total = _sum(evaluator, total, evaluator.rotate(inner, giant * lanes) if giant else inner)
        total = evaluator.rescale(total)
        for power in range((self.packing.periods - 1).bit_length()):
            total = evaluator.add(total, evaluator.rotate(total, (self.packing.period << power) * lanes))
        return evaluator.add_plain(total, self._constants)


def _sum(evaluator: Evaluator, left: Any, right: Any) -> Any:
    return right if left is None else evaluator.add(left, right)
