"""What a distillation has cost so far, by part, and what share of its budget that is. Knows no model.

FLOPs are charged when something is first needed, also where a table on disk has it already: a training costs the same
whoever filled the table. Seconds are what a clock said.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from burnish.distill.cost import Cost, Costs
from burnish.distill.recipe import SakdRecipe

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


def budget_share(recipe: SakdRecipe, prices: Prices, samples: int, ledger: Ledger) -> float:
    """How much of the budget is spent: 1 or more ends the training; 0 where there is none."""
    budget = recipe.budget
    shares = [0.0]
    if budget.share is not None:
        shares.append(ledger.flops / (budget.share * everything(recipe, prices, samples)))
    if budget.flops is not None:
        shares.append(ledger.flops / budget.flops)
    if budget.seconds is not None:
        shares.append(ledger.costs.total.seconds / budget.seconds)
    return max(shares)
