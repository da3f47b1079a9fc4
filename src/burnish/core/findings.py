"""What was measured for a claim: one value an independent unit, and the interval over the units.

The unit of an interval (a seed, a world) is what was drawn anew and shares nothing with the next; cells of one unit are
averaged first, so that the values are independent. Knows no rule and no study.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from burnish.core.intervals import LEVEL, Interval, Kind, interval_of

C = TypeVar("C")


@dataclass(frozen=True)
class Finding:
    """What was measured for a claim.

    Attributes:
        at: the interval, of any level, of the difference, ratio or share that the rule speaks of.
        ours: mean of ours.
        baseline: mean of the baseline, or the value that ours is held against.
    """

    at: Callable[[float], Interval]
    ours: float | None = None
    baseline: float | None = None

    @property
    def interval(self) -> Interval:
        """At 95 %."""
        return self.at(LEVEL)


def units(cells: Sequence[C], number: Callable[[C], float], by: Callable[[C], Any] | None = None) -> list[float]:
    """One value an independent unit.

    Args:
        cells: what was measured.
        number: of a cell.
        by: the unit that a cell belongs to, units in rising order; without it each cell is one.
    """
    if by is None:
        return [float(number(cell)) for cell in cells]
    names = sorted({by(cell) for cell in cells})
    return [float(np.mean([number(cell) for cell in cells if by(cell) == name])) for name in names]


def average(
    cells: Sequence[C],
    number: Callable[[C], float],
    baseline: float | None,
    kind: Kind = "mean",
    by: Callable[[C], Any] | None = None,
) -> Finding:
    """Mean of a number over units, beside the value it is held against."""
    values = units(cells, number, by)
    return Finding(partial(interval_of, kind, values), interval_of(kind, values).mean, baseline)


def paired(
    cells: Sequence[C],
    ours: Callable[[C], float],
    baseline: Callable[[C], float],
    kind: Kind = "mean",
    by: Callable[[C], Any] | None = None,
) -> Finding:
    """Difference of two numbers, taken within each cell: same data, same budget."""
    differences = units(cells, lambda cell: ours(cell) - baseline(cell), by)
    mine, theirs = (float(np.mean(units(cells, number, by))) for number in (ours, baseline))
    return Finding(partial(interval_of, kind, differences), mine, theirs)
