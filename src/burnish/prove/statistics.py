"""Every statistical test of the audits, on plain numbers: outliers, permutations, ranks, corrections, intervals. Pure
numpy and scipy.

Knows no model and no image. A p-value here never says less than its test allows: ties count against the accuser, and a
permutation p counts the observed arrangement among the draws.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from jaxtyping import Float, Int

from burnish.core.errors import UserError

Values = Float[np.ndarray, " n"]
Statistic = Callable[[np.ndarray, np.ndarray], Any]
LOGIT_FLOOR = 1e-4
CHUNK = 1 << 22
"""Numbers held at once while permuting: 32 MB, whatever the draws."""


ROUNDING = 1e-12
"""What rounding may add to a p-value: 1 / 20 may come out a digit above .05."""


@overload
def significant(p: float, alpha: float) -> bool: ...


@overload
def significant(p: np.ndarray, alpha: float) -> np.ndarray: ...


def significant(p: float | np.ndarray, alpha: float) -> bool | np.ndarray:
    """Whether a p-value (or each of several) counts at a level: p <= alpha, but for rounding. One rule for all
    audits."""
    return p <= alpha + ROUNDING


@dataclass(frozen=True)
class Grubbs:
    """A low-outlier test: ``statistic`` above ``critical`` is ``rejected``."""

    statistic: float
    critical: float
    rejected: bool


@dataclass(frozen=True)
class Permutation:
    """A permutation test: ``effect`` observed, its one-sided ``p``, the arrangements looked at, and whether they were
    all."""

    effect: float
    p: float
    draws: int
    exact: bool


def grubbs(shadow: Values, suspect: float, *, alpha: float = 0.05) -> Grubbs:
    """Is ``suspect`` too low to be one of ``shadow``? TrainProVe, section 3 (batch accuracies against a mean).

    Args:
        shadow: n values of the shadow model.
        suspect: the suspect's value; it is not one of the n, so the level is nominal only.
        alpha: level; alpha/(2n) is used, as published, though the test is one-sided.

    Raises:
        UserError: fewer than 3 values, or all of them equal.
    """
    from scipy import stats

    n = len(shadow)
    if n < 3:
        raise UserError(
            f"Grubbs' test: {n} shadow values; it needs 3 or more (more validation images, smaller batches)"
        )
    spread = float(np.std(shadow, ddof=1))
    if float(np.ptp(shadow)) == 0:
        raise UserError(f"Grubbs' test: all {n} shadow values are {float(shadow[0]):.4g}; nothing to compare with")
    statistic = (float(np.mean(shadow)) - suspect) / spread
    t = float(stats.t.ppf(1 - alpha / (2 * n), n - 2))
    critical = (n - 1) / math.sqrt(n) * math.sqrt(t**2 / (n - 2 + t**2))
    return Grubbs(statistic, critical, statistic > critical)


def conformal_p(calibration: Values, value: float) -> float:
    """p of ``value`` among exchangeable ``calibration`` values, large being suspicious: (1 + #{c >= value}) / (n +
    1)."""
    return (1 + int(np.count_nonzero(calibration >= value))) / (len(calibration) + 1)


def share_at_or_above(calibration: Values, value: float) -> float:
    """Share of ``calibration`` at or above ``value``.

    Raises:
        UserError: no calibration values.
    """
    if len(calibration) == 0:
        raise UserError("calibration: no values to rank the suspect among; train shadow models first")
    return float(np.mean(calibration >= value))


def open_world_p(shares: Values) -> float:
    """p over S innocent sources from each one's share at or above the suspect: (1 + sum) / (S + 1)."""
    return (1 + float(np.sum(shares))) / (len(shares) + 1)


def mean_difference(public: np.ndarray, private: np.ndarray) -> Any:
    """Mean of ``public`` minus mean of ``private`` over the last axis."""
    return public.mean(axis=-1) - private.mean(axis=-1)


def permutation_p(
    public: Values,
    private: Float[np.ndarray, " m"],
    *,
    draws: int,
    rng: np.random.Generator,
    statistic: Statistic = mean_difference,
) -> Permutation:
    """One-sided permutation test over the labels: is ``statistic`` greater for this split than for others?

    All arrangements are looked at when they are at most ``draws``; otherwise ``draws`` random ones, and
    p = (1 + hits) / (1 + draws).

    Args:
        public: values of the images that the accusation is about.
        private: values of the others.
        draws: most arrangements to look at.
        rng: of the random arrangements.
        statistic: of (public, private), over the last axis, for any leading ones.

    Raises:
        UserError: one of the two is empty.
    """
    if len(public) == 0 or len(private) == 0:
        raise UserError(f"permutation test: {len(public)} public and {len(private)} private values; both need some")
    values, n = np.concatenate([public, private]).astype(np.float64), len(public)
    effect = float(statistic(values[:n], values[n:]))
    # Sums taken in another order differ in the last bits; a tie is a tie.
    reach = effect - 1e-12 * max(1.0, float(np.abs(values).max()))
    total, rows = math.comb(len(values), n), max(1, CHUNK // len(values))
    if total <= draws:
        hits = 0
        splits = itertools.combinations(range(len(values)), n)
        while chosen := list(itertools.islice(splits, rows)):
            picked = np.zeros((len(chosen), len(values)), dtype=bool)
            np.put_along_axis(picked, np.array(chosen), True, axis=1)
            tiled = np.broadcast_to(values, picked.shape)
            hits += _hits(tiled[picked].reshape(-1, n), tiled[~picked].reshape(len(chosen), -1), statistic, reach)
        return Permutation(effect, hits / total, total, True)
    hits = 0
    for start in range(0, draws, rows):
        mixed = rng.permuted(np.tile(values, (min(rows, draws - start), 1)), axis=1)
        hits += _hits(mixed[:, :n], mixed[:, n:], statistic, reach)
    return Permutation(effect, (1 + hits) / (1 + draws), draws, False)


def _hits(public: np.ndarray, private: np.ndarray, statistic: Statistic, reach: float) -> int:
    return int(np.count_nonzero(statistic(public, private) >= reach))


def holm(p: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Holm's adjusted p-values: reject all at or below alpha and the chance of one wrong rejection stays below
    alpha."""
    k = len(p)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate((k - np.arange(k)) * p[order])
    adjusted = np.empty(k)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def binomial_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion: covers with at least ``level``; (0, 1) for no trials.

    Raises:
        UserError: not 0 <= successes <= trials.
    """
    from scipy import stats

    if not 0 <= successes <= trials:
        raise UserError(f"binomial interval: {successes} successes in {trials} trials")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(stats.beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(stats.beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def bootstrap_interval(
    values: Values,
    rng: np.random.Generator,
    *,
    statistic: Callable[[np.ndarray], Any] = np.mean,
    level: float = 0.95,
    draws: int = 2000,
    clusters: Int[np.ndarray, " n"] | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic.

    Args:
        values: observations.
        rng: of the resamples.
        statistic: of a resample.
        level: of confidence.
        draws: resamples.
        clusters: cluster of each observation: whole clusters are drawn, as where the models of one source are alike.

    Raises:
        UserError: no values.
    """
    if len(values) == 0:
        raise UserError("bootstrap: no values")
    if clusters is None:
        picks = rng.integers(len(values), size=(draws, len(values)))
        found = [float(statistic(values[pick])) for pick in picks]
    else:
        groups = [values[clusters == name] for name in np.unique(clusters)]
        picks = rng.integers(len(groups), size=(draws, len(groups)))
        found = [float(statistic(np.concatenate([groups[i] for i in pick]))) for pick in picks]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def uniformity_p(p_values: Values) -> float:
    """p of a Kolmogorov-Smirnov test that ``p_values`` are uniform on (0, 1)."""
    from scipy import stats

    return float(stats.kstest(p_values, "uniform").pvalue)


def difference_in_differences(own: float, others: Values, *, logit: bool = False) -> float:
    """Accuracy on one's own validation set minus the mean accuracy on the others'.

    Args:
        own: accuracy in [0, 1].
        others: accuracies in [0, 1].
        logit: on the log-odds scale; 0 and 1 are taken as .0001 and .9999.
    """
    if not logit:
        return own - float(np.mean(others))
    kept = np.clip(np.append(others, own), LOGIT_FLOOR, 1 - LOGIT_FLOOR)
    odds = np.log(kept / (1 - kept))
    return float(odds[-1] - np.mean(odds[:-1]))


def cohen_d(first: Values, second: Float[np.ndarray, " m"]) -> float:
    """Difference of means in units of the pooled standard deviation.

    Raises:
        UserError: fewer than 3 values in all, or no spread at all.
    """
    n, m = len(first), len(second)
    if n < 1 or m < 1 or n + m < 3:
        raise UserError(f"Cohen's d: {n} and {m} values; it needs 3 or more in all")
    squares = float(np.sum((first - first.mean()) ** 2) + np.sum((second - second.mean()) ** 2))
    if squares == 0:
        raise UserError("Cohen's d: the values do not vary")
    return float((first.mean() - second.mean()) / math.sqrt(squares / (n + m - 2)))


def paper_t_test(suspect: Values, shadow: Float[np.ndarray, " m"]) -> float:
    """p of Welch's one-tailed t-test that the suspect's mean is greater (DOV4CL, section 4.3).

    Its numbers come from overlapping draws of the same images, so its p is not calibrated: kept for comparison.
    """
    from scipy import stats

    return float(stats.ttest_ind(suspect, shadow, equal_var=False, alternative="greater").pvalue)
