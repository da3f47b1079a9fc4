"""What a distillation has cost so far, by part, and what share of its budget that is. Knows no model.

FLOPs are charged when something is first needed, also where a table on disk has it already: a training costs the same
whoever filled the table. Seconds are what a clock said.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from burnish.distill.recipe import SakdRecipe

Part = Literal["teacher", "student", "frozen", "selection", "decoding"]
PARTS: tuple[Part, ...] = ("teacher", "student", "frozen", "selection", "decoding")


@dataclass(frozen=True)
class Prices:
    """FLOPs of one sample.

    Attributes:
        teacher: forward.
        student: forward.
        training: of the student, forward and backward.
    """

    teacher: float
    student: float
    training: float


class Ledger:
    """FLOPs and seconds by part."""

    def __init__(self) -> None:
        self.flops: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    @property
    def total(self) -> float:
        """FLOPs of all parts."""
        return sum(self.flops.values())

    @contextmanager
    def charge(self, part: Part, flops: float = 0.0) -> Iterator[None]:
        """Count what happens inside."""
        start = time.monotonic()
        yield
        self.seconds[part] += time.monotonic() - start
        self.flops[part] += flops

    def numbers(self) -> dict[str, float]:
        """For the metrics: ``flops`` in all, ``teacher_flops``, ``teacher_seconds`` and so on."""
        found = {"flops": self.total}
        found |= {f"{part}_flops": self.flops[part] for part in PARTS}
        return found | {f"{part}_seconds": round(self.seconds[part], 4) for part in PARTS}

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"flops": dict(self.flops), "seconds": dict(self.seconds)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.flops, self.seconds = dict(state["flops"]), dict(state["seconds"])


def everything(recipe: SakdRecipe, prices: Prices, samples: int) -> float:
    """FLOPs of plain distillation: all samples in all epochs, the teacher asked once about each view."""
    views = min(recipe.augment.views, recipe.epochs)
    return samples * (recipe.epochs * prices.training + views * prices.teacher)


def budget_share(recipe: SakdRecipe, prices: Prices, samples: int, ledger: Ledger) -> float:
    """How much of the budget is spent: 1 or more ends the training; 0 where there is none."""
    budget = recipe.budget
    shares = [0.0]
    if budget.share is not None:
        shares.append(ledger.total / (budget.share * everything(recipe, prices, samples)))
    if budget.flops is not None:
        shares.append(ledger.total / budget.flops)
    if budget.seconds is not None:
        shares.append(sum(ledger.seconds.values()) / budget.seconds)
    return max(shares)
