"""Intervals that respect their quantity: no share above 1, no correlation above 1, no ratio below 0.

Pure statistics. Every function gives an :class:`Interval` of its own kind; a kind knows the range of its quantity and
the words for how the interval is made. Knows no study.

Equal values have no spread to go by, and so would have an interval without width, which decides anything. Here each of
them counts as one trial: where the share of units that differ from the others is q, n units agree with a probability of
(1 - q)^n, so that at confidence 1 - a it may be anything up to 1 - (a/2)^(1/n). Within a range that bounds the mean
(:func:`share_difference_interval`); without a range one unit may be off by any amount, and nothing does
(:func:`t_interval`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from pydantic import ConfigDict, model_validator

from burnish.core.recipe import Settings

Kind = Literal["mean", "share", "mean share", "share difference", "correlation", "mean correlation", "ratio"]
LEVEL = 0.95
"""Of confidence, where nothing else is asked for."""
ROUNDING = 1e-12
"""A standard deviation below it (beside the largest value, where that is above 1) is what rounding leaves of equal
values; a mean so near an end lies there."""
MOST_TRIALS = 1e9
"""More effective trials than the beta distribution's inverse is exact for; they would narrow an interval below 1e-4."""


@dataclass(frozen=True)
class Scale:
    """What a kind of interval is.

    Attributes:
        words: how it is made, for the sentence of a rule (the level stands before it).
        low: least value of the quantity.
        high: greatest one.
    """

    words: str
    low: float = -math.inf
    high: float = math.inf


SCALES: dict[Kind, Scale] = {
    "mean": Scale("t interval"),
    "share": Scale("Clopper-Pearson interval", 0.0, 1.0),
    "mean share": Scale("Korn-Graubard interval", 0.0, 1.0),
    "share difference": Scale("t interval", -1.0, 1.0),
    "correlation": Scale("Fisher z interval", -1.0, 1.0),
    "mean correlation": Scale("t interval (Fisher's z scale)", -1.0, 1.0),
    "ratio": Scale("t interval (log scale)", 0.0, math.inf),
}


class Interval(Settings):
    """A mean and its interval. One that lies outside what its quantity can be is refused."""

    # JSON has no word for an end that is infinite (one seed): without this it would be stored as null
    model_config = ConfigDict(ser_json_inf_nan="constants")

    mean: float
    low: float
    high: float
    n: int
    """Independent values (seeds, worlds, trials, clusters) behind it."""
    kind: Kind = "mean"
    """Of quantity, and so of range; a result stored before kinds were told apart is read as a plain mean."""
    level: float = LEVEL
    """Of confidence."""

    @model_validator(mode="after")
    def _within_range(self) -> Interval:
        scale = SCALES[self.kind]
        if not scale.low <= self.low <= self.mean <= self.high <= scale.high:
            raise ValueError(
                f"{self.mean} [{self.low}, {self.high}] is no interval of a {self.kind}: "
                f"wanted {scale.low:g} <= low <= mean <= high <= {scale.high:g}"
            )
        return self

    @property
    def boundless(self) -> bool:
        """Whether nothing is known of the mean: one value, or several without spread, of a quantity without bounds."""
        return math.isinf(self.high)

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.mean:.3g} (one seed)"
        if self.boundless:
            return f"{self.mean:.3g} (all {self.n} equal: no interval)"
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's t interval of a mean; infinitely wide for fewer than two values, and for equal ones.

    Those say nothing of how far another may be off.

    Args:
        values: independent values of a quantity without bounds; for a paired comparison the differences (one a seed).
        level: of confidence.
    """
    mean, half = _t(values, level)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=len(values), level=level)


def share_difference_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's t interval of a mean difference of shares, without what no difference of shares can be.

    The cut loses no coverage: the mean itself lies within [-1, 1]. Of n equal values, d, each counts as one trial: up
    to q = 1 - (a/2)^(1/n) of all units may differ, each by as much as the range allows, so that the mean lies within
    [d - q (d + 1), d + q (1 - d)].

    Args:
        values: paired differences of shares in [-1, 1], one a seed.
        level: of confidence.
    """
    mean, half = _t(values, level)
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    if len(values) > 1 and not math.isfinite(half):
        low, high = _of_equal(mean, len(values), level)
    return Interval(mean=mean, low=low, high=high, n=len(values), kind="share difference", level=level)


def share_interval(successes: int, trials: int, level: float = LEVEL) -> Interval:
    """Clopper-Pearson interval of the share of independent trials: covers with at least the level; [0, 1] without any.

    Source: Clopper and Pearson, Biometrika 26 (1934).

    Args:
        successes: of the trials.
        trials: independent ones.
        level: of confidence.

    Raises:
        ValueError: not 0 <= successes <= trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    low, high = _clopper_pearson(successes, trials, level)
    return Interval(mean=successes / max(1, trials), low=low, high=high, n=trials, kind="share", level=level)


def mean_share_interval(values: Sequence[float], trials: int | None = None, level: float = LEVEL) -> Interval:
    """Korn-Graubard interval of a mean of few shares: Clopper-Pearson with the trials that their spread is worth.

    How many independent trials would have left the mean as uncertain as its standard error does? n* = p (1 - p) / se^2.
    That number, reduced by (z / t)^2 for the few degrees of freedom, goes into Clopper-Pearson. So the interval lies
    within [0, 1] and is longer towards the middle. Fewer than two values give [0, 1].

    Where all values are equal, they have no spread to go by. Then each value counts as one trial, which is right for
    any distribution on [0, 1]. (To count the trials behind them, as is usual, is right only where those of one seed are
    no more alike than those of two.) n* is never more than the trials, where they are known.

    Why no t interval cut to [0, 1]: near an end the mean is skewed, and in settings where this one covers with .94 to
    .99, that one does with .48 to .95 (``tests/core/test_intervals.py``). Why no t interval of logits: those of 0 and 1
    are infinite. Source: Korn and Graubard, Survey Methodology 24 (1998); the ends: Parker et al., NCHS, Vital and
    Health Statistics 2-175.

    Args:
        values: independent shares in [0, 1], one a seed.
        trials: independent trials behind all values together.
        level: of confidence.
    """
    from scipy import special

    data, n = np.asarray(values, dtype=float), len(values)
    mean, spread = _within(float(data.mean()), 0.0, 1.0), _spread(data)
    if n < 2:
        return Interval(mean=mean, low=0.0, high=1.0, n=n, kind="mean share", level=level)
    most = MOST_TRIALS if trials is None else float(trials)
    if _at_end(mean, 0.0, 1.0):
        worth = min(n, most)
        low, high = _clopper_pearson(worth * round(mean), worth, level)
    else:
        z, t = float(special.ndtri((1 + level) / 2)), _t_quantile(n, level)
        worth = min(mean * (1 - mean) / (spread**2 / n) * (z / t) ** 2 if spread else float(n), most)
        low, high = _clopper_pearson(worth * mean, worth, level)
    return Interval(mean=mean, low=min(low, mean), high=max(high, mean), n=n, kind="mean share", level=level)


def correlation_interval(r: float, n: int, level: float = LEVEL) -> Interval:
    """Fisher's interval of one correlation: atanh(r) +- z / sqrt(n - 3), taken back; [-1, 1] for up to three pairs.

    Of 1 and -1, which z does not know, each pair counts as one trial. Source: Fisher, Metron 1 (1921).

    Args:
        r: Pearson's correlation.
        n: independent pairs that it comes from.
        level: of confidence.
    """
    from scipy import special

    r = _within(r, -1.0, 1.0)
    if n <= 3:
        return Interval(mean=r, low=-1.0, high=1.0, n=n, kind="correlation", level=level)
    half = float(special.ndtri((1 + level) / 2)) / math.sqrt(n - 3)
    if _at_end(r, -1.0, 1.0):
        low, high = _of_equal(r, n, level)
    else:
        low, high = (math.tanh(math.atanh(r) + step) for step in (-half, half))
    return Interval(mean=r, low=min(low, r), high=max(high, r), n=n, kind="correlation", level=level)


def mean_correlation_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """t interval of a mean of correlations on Fisher's z scale: z = atanh(mean) +- t se / (1 - mean^2), taken back.

    The error of the mean is carried over to z (delta method). To average the z of each instead would give the interval
    of another mean, and none where a correlation is 1. Of equal correlations each counts as one trial, as with
    differences of shares.

    Args:
        values: independent correlations in [-1, 1], one a seed.
        level: of confidence.
    """
    data, n = np.asarray(values, dtype=float), len(values)
    mean, spread = _within(float(data.mean()), -1.0, 1.0), _spread(data)
    if n < 2:
        low, high = -1.0, 1.0
    elif not spread:
        low, high = _of_equal(mean, n, level)
    else:
        half = _t_quantile(n, level) * spread / math.sqrt(n) / (1 - mean**2)
        low, high = (math.tanh(math.atanh(mean) + step) for step in (-half, half))
    return Interval(mean=mean, low=min(low, mean), high=max(high, mean), n=n, kind="mean correlation", level=level)


def ratio_interval(logs: Sequence[float], level: float = LEVEL) -> Interval:
    """t interval of a ratio on the log scale: geometric mean, and never below 0; [0, inf] for equal ratios.

    Args:
        logs: natural logarithms of independent ratios, one a seed.
        level: of confidence.
    """
    mean, half = _t(logs, level)
    low, middle, high = (float(np.exp(each)) for each in (mean - half, mean, mean + half))
    return Interval(mean=middle, low=low, high=high, n=len(logs), kind="ratio", level=level)


def interval_of(kind: Kind, values: Sequence[float], level: float = LEVEL) -> Interval:
    """The interval of a kind that comes from one value a seed (for a ratio: its logarithm).

    Raises:
        ValueError: the kind comes from counts, pairs or resamples instead.
    """
    if kind not in FROM_VALUES:
        raise ValueError(f"a {kind} does not come from one value a seed; those that do: {', '.join(FROM_VALUES)}")
    return FROM_VALUES[kind](values, level=level)


class _FromValues(Protocol):
    def __call__(self, values: Sequence[float], /, *, level: float) -> Interval: ...


FROM_VALUES: dict[Kind, _FromValues] = {
    "mean": t_interval,
    "mean share": mean_share_interval,
    "share difference": share_difference_interval,
    "mean correlation": mean_correlation_interval,
    "ratio": ratio_interval,
}


def _t(values: Sequence[float], level: float) -> tuple[float, float]:
    """Mean, and half the length of its t interval: infinite without spread."""
    data = np.asarray(values, dtype=float)
    mean, spread = float(data.mean()), _spread(data)
    return mean, float(_t_quantile(len(data), level) * spread / np.sqrt(len(data))) if spread else math.inf


def _of_equal(value: float, n: int, level: float) -> tuple[float, float]:
    """Ends for n equal values in [-1, 1]: up to 1 - (a/2)^(1/n) of all may differ, by as much as the range allows."""
    most = 1 - ((1 - level) / 2) ** (1 / n)
    return value - most * (value + 1), value + most * (1 - value)


def _t_quantile(n: int, level: float) -> float:
    from scipy import special

    return float(special.stdtrit(n - 1, (1 + level) / 2))


def _spread(data: np.ndarray) -> float:
    """Standard deviation of a sample; 0 for one value, and where only rounding tells the values apart."""
    found = float(data.std(ddof=1)) if len(data) > 1 else 0.0
    return found if found > ROUNDING * max(1.0, float(np.abs(data).max())) else 0.0


def _clopper_pearson(successes: float, trials: float, level: float) -> tuple[float, float]:
    """Ends of the interval; whole numbers are not asked for, since effective trials are none."""
    from scipy import special

    tail, failures = (1 - level) / 2, trials - successes
    low = 0.0 if successes <= 0 else float(special.betaincinv(successes, failures + 1, tail))
    high = 1.0 if failures <= 0 else float(special.betaincinv(successes + 1, failures, 1 - tail))
    return low, high


def _at_end(mean: float, low: float, high: float) -> bool:
    return min(mean - low, high - mean) <= ROUNDING


def _within(value: float, low: float, high: float) -> float:
    """Without what rounding adds to a mean of values at an end."""
    return min(high, max(low, value))


def four_figures(value: float) -> str:
    """A number for a table: four figures, and no powers of ten where whole numbers say it (57,300)."""
    return f"{value:,.0f}" if 10_000 <= abs(value) < 10_000_000 else f"{value:.4g}"
