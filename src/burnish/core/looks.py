"""When a study looks at its claims, how sure it must be at each look, and how much more it would need. Pure statistics.

A study that adds seeds until it knows looks more than once at the same claim; at 95 % each time it would err far more
often than once in twenty. Here the looks share the error: look k of K, at n_k seeds, takes an interval of level
1 - alpha (n_k - n_(k-1)) / n_K (spending linear in the seeds). By the union bound all intervals of all looks at one
claim together miss the truth with a probability of at most alpha. Boundaries from a joint normal distribution (Lan and
DeMets, Biometrika 70, 1983) would need fewer seeds, but hold neither for three seeds nor for shares, ratios and
correlations; the bound holds for each kind of interval that keeps its own level.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

from burnish.core.intervals import LEVEL, SCALES, Interval, Kind

POWER = 0.8
"""Of the number of seeds that an undecided claim would need."""
MOST_UNITS = 2**30
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
    """Fewest units at which an interval of ``level`` would leave ``bound`` out, with a probability of .8.

    As if mean and spread stayed as they are: the least n with spread (t + z_.8) / sqrt(n) <= distance, on the scale of
    the kind's interval. The spread is that of the half of the interval that faces the bound, so that a skew interval,
    or one that is cut at an end of its range, counts on the side that is asked about. Where that very end is cut, the
    other half counts if it is longer. At an end of the range all units agree: there is no spread, and the least n is
    that with 1 - (a/2)^(1/n) <= distance / range. Infinite where the mean lies on the bound, or where nothing is known
    of the spread.

    Args:
        interval: of what was found.
        bound: what it is held against.
        level: of the interval that is to leave it out.
    """
    from scipy import special

    middle, edge, low, high = (
        _symmetric(interval.kind, value) for value in (interval.mean, bound, interval.low, interval.high)
    )
    distance, scale = abs(middle - edge), SCALES[interval.kind]
    whole = interval.low <= scale.low and interval.high >= scale.high
    if interval.n < 2 or whole or not math.isfinite(high - low) or not distance > 0:
        return math.inf
    if interval.mean in (scale.low, scale.high):
        return _all_equal(abs(interval.mean - bound) / (scale.high - scale.low), level)
    half, cut = (
        (middle - low, interval.low <= scale.low) if edge < middle else (high - middle, interval.high >= scale.high)
    )
    half = max(middle - low, high - middle) if cut else half
    spread = half / _quantile(interval.n, interval.level) * math.sqrt(interval.n)
    power = float(special.ndtri(POWER))

    def decide(units: int) -> bool:
        return spread * (_quantile(units, level) + power) <= distance * math.sqrt(units)

    enough = 2
    while not decide(enough):
        if enough >= MOST_UNITS:
            return math.inf
        enough *= 2
    return float(bisect.bisect_left(range(enough), True, lo=2, key=decide))


def _all_equal(distance: float, level: float) -> float:
    """Units that must agree before fewer than a share ``distance`` of all can differ."""
    needed = math.log((1 - level) / 2) / math.log1p(-distance) if distance < 1 else 2.0
    return float(max(2, math.ceil(needed))) if needed <= MOST_UNITS else math.inf


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
