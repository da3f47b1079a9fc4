"""What a distillation has cost so far, by part, and what share of its budget that is. Knows no model.

FLOPs are charged when something is first needed, also where a table on disk has it already: a training costs the same
whoever filled the table. Seconds are what a clock said.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from burnish.core.errors import UserError
from burnish.distill.cost import Cost, Costs
from burnish.distill.recipe import Evaluation, SakdRecipe
from burnish.distill.states import Wanted

Part = Literal["teacher", "student", "frozen", "selection", "decoding"]


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
    """What was spent, added up."""

    def __init__(self) -> None:
        self.costs = Costs()

    @property
    def flops(self) -> float:
        """Of all parts."""
        return self.costs.total.flops

    @contextmanager
    def charge(self, part: Part, flops: float = 0.0) -> Iterator[None]:
        """Count what happens inside."""
        start = time.monotonic()
        yield
        self.costs += Costs(**{part: Cost(flops, time.monotonic() - start)})

    def numbers(self) -> dict[str, float]:
        """For the metrics."""
        return self.costs.numbers()

    def state_dict(self) -> dict[str, float]:
        """For the checkpoint."""
        return self.costs.numbers()

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """From the checkpoint."""
        self.costs = Costs.from_numbers(state)


def everything(recipe: SakdRecipe, prices: Prices, samples: int) -> float:
    """FLOPs of plain distillation: all samples in all epochs, the teacher asked once about each view."""
    views = min(recipe.augment.views, recipe.epochs)
    return samples * (recipe.epochs * prices.training + views * prices.teacher)


def flops_allowed(recipe: SakdRecipe, prices: Prices, samples: int) -> float:
    """FLOPs of the budget; infinite where it has none."""
    budget = recipe.budget
    share = math.inf if budget.share is None else budget.share * everything(recipe, prices, samples)
    return min(share, math.inf if budget.flops is None else budget.flops)


def first_pass(wanted: Wanted, evaluation: Evaluation, prices: Prices, samples: int) -> float:
    """FLOPs before anything can be chosen: the teacher's table, and the student on all samples, where rules ask."""
    passes = wanted.losses and evaluation != "history"
    teacher = prices.teacher * (wanted.trust or wanted.features or passes)
    return samples * (teacher + prices.student * passes)


def refuse_short_budget(recipe: SakdRecipe, wanted: Wanted, prices: Prices, samples: int, batch: int) -> None:
    """Refuse a budget that ends before the first step: all of it would measure, and nothing be learnt.

    Args:
        recipe: what was asked.
        wanted: what its rules look at.
        prices: FLOPs of a sample.
        samples: how many there are.
        batch: samples of a step.

    Raises:
        UserError: says what the first pass and a step cost, and what else to choose.
    """
    first, allowed = first_pass(wanted, recipe.evaluation, prices, samples), flops_allowed(recipe, prices, samples)
    known = first >= samples * prices.teacher and not recipe.augment.varies
    step = batch * (prices.training + prices.teacher * (recipe.loss.distilled > 0 and not known))
    if first + step > allowed:
        cure = "raise it"
        if first:
            cure += ", or choose `selection.kind: random` and `difficulty.strength: constant`, which measure nothing"
        raise UserError(
            f"budget: {allowed:.3g} FLOPs do not cover a look at all samples ({first:.3g}) and a step ({step:.3g}); "
            f"{cure}"
        )


class Budget:
    """What a training may cost, beside what it has cost so far.

    Args:
        recipe: what was asked.
        prices: FLOPs of a sample.
        samples: how many there are.
        ledger: what was spent.
    """

    def __init__(self, recipe: SakdRecipe, prices: Prices, samples: int, ledger: Ledger) -> None:
        self._flops, self._seconds = flops_allowed(recipe, prices, samples), recipe.budget.seconds
        self._ledger = ledger

    @property
    def share(self) -> float:
        """How much is spent: 1 or more ends the training; 0 where there is no budget."""
        return max(self._ledger.flops / self._flops, 0.0 if self._seconds is None else self._took / self._seconds)

    @property
    def done(self) -> float:
        """How much of the training that it pays for is over, in [0, 1]: what went into steps, of that and what is left.

        What is measured before the first step is no progress: courses by this one begin where training begins.
        """
        spent = self._ledger.costs.student
        shares = [0.0]
        for trained, total, bound in (
            (spent.flops, self._ledger.flops, self._flops),
            (spent.seconds, self._took, math.inf if self._seconds is None else self._seconds),
        ):
            if trained and bound < math.inf:
                shares.append(trained / (trained + max(0.0, bound - total)))
        return max(shares)

    @property
    def _took(self) -> float:
        """Seconds; decoding, which happens once for all runs, is no part of a training."""
        return self._ledger.costs.total.seconds - self._ledger.costs.decoding.seconds

    @property
    def left(self) -> float:
        """FLOPs; infinite where they have no bound."""
        # rounding of a share must not lose a step that is exactly paid for
        return self._flops * (1 + 1e-9) - self._ledger.flops

    def covers(self, **flops: float) -> bool:
        """Whether there is room for so many more, by part. Seconds are reckoned from what each part took so far."""
        seconds = self._took
        for part, more in flops.items():
            cost: Cost = getattr(self._ledger.costs, part)
            seconds += more * cost.seconds / cost.flops if cost.flops else 0.0
        in_time = self._seconds is None or seconds <= self._seconds
        return in_time and sum(flops.values()) <= self.left
