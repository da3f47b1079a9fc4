"""When a study looks at its claims, how sure it must be at each look, and how much more it would need. Pure statistics.

A study that adds seeds until it knows looks more than once at the same claim; at 95 % each time it would err far more
often than once in twenty. Here the looks share the error: look k of K, at n_k seeds, takes an interval of level
1 - alpha (n_k - n_(k-1)) / n_K (spending linear in the seeds). By the union bound all intervals of all looks together
miss the truth with a probability of at most alpha. Boundaries from a joint normal distribution (Lan and DeMets,
Biometrika 70, 1983) would need fewer seeds, but hold neither for three seeds nor for shares, ratios and
correlations; the bound holds for each kind of interval that keeps its own level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from burnish.core.intervals import LEVEL, Interval, Kind

POWER = 0.8
"""Of the number of seeds that an undecided claim would need."""
MOST_UNITS = 1e9
"""More than anyone runs: so near to its bound a claim is said to need more than can be."""


@dataclass(frozen=True)
class Look:
    """One look at all claims of a study.

    Attributes:
        number: from 1.
        of: looks in all, at most.
        seeds: so far.
        level: of each interval.
    """

    number: int = 1
    of: int = 1
    seeds: int = 1
    level: float = LEVEL

    @property
    def last(self) -> bool:
        """Whether none comes after it."""
        return self.number == self.of


def plan_looks(seeds: int, most: int) -> tuple[Look, ...]:
    """Looks at ``seeds``, twice as many, four times, ..., and at ``most``.

    Args:
        seeds: of the first look.
        most: of the last one; as many as in the first give one look at 95 %.

    Raises:
        ValueError: fewer seeds at the last look than at the first.
    """
    if most < seeds:
        raise ValueError(f"max_seeds: {most} is below seeds: {seeds}, those of the first look")
    counts = [seeds]
    while counts[-1] < most:
        counts.append(min(most, 2 * counts[-1]))
    new = [after - before for before, after in zip([0, *counts], counts, strict=False)]
    return tuple(
        Look(number, len(counts), count, 1 - (1 - LEVEL) * more / most)
        for number, (count, more) in enumerate(zip(counts, new, strict=True), 1)
    )


def units_needed(interval: Interval, bound: float, level: float = LEVEL) -> float:
    """Units at which an interval of ``level`` would leave ``bound`` out, with a probability of .8.

    As if mean and spread stayed as they are: n = (spread (t + z_.8) / distance)^2, on the scale on which the interval
    is symmetric. Infinite where the mean lies on the bound, or where one unit says nothing of the spread.

    Args:
        interval: of what was found.
        bound: what it is held against.
        level: of the interval that is to leave it out.
    """
    from scipy import special

    middle, edge, low, high = (
        _symmetric(interval.kind, value) for value in (interval.mean, bound, interval.low, interval.high)
    )
    distance = abs(middle - edge)
    if interval.n < 2 or not math.isfinite(high - low) or not distance > 0:
        return math.inf
    spread = (high - low) / 2 / _quantile(interval.n, interval.level) * math.sqrt(interval.n)
    needed, power = MOST_UNITS, float(special.ndtri(POWER))
    for _ in range(50):  # each round takes the quantile of the units that the one before found
        needed = min(MOST_UNITS, max(2.0, (spread * (_quantile(needed, level) + power) / distance) ** 2))
    return math.inf if needed == MOST_UNITS else float(math.ceil(needed))


def _symmetric(kind: Kind, value: float) -> float:
    """The scale of a kind's interval; an end that lies at infinity there is taken as far out as a double reaches."""
    if kind == "ratio":
        return math.log(value) if value > 0 else -math.inf
    if kind in ("correlation", "mean correlation"):
        return math.atanh(max(-1 + 1e-15, min(1 - 1e-15, value)))
    return value


def _quantile(units: float, level: float) -> float:
    from scipy import special

    return float(special.stdtrit(units - 1, (1 + level) / 2))
