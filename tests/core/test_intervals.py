"""Intervals: hand-computed values, ranges that are never left, coverage by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from burnish.core.intervals import (
    SCALES,
    Interval,
    Kind,
    correlation_interval,
    interval_of,
    mean_correlation_interval,
    mean_share_interval,
    ratio_interval,
    share_difference_interval,
    share_interval,
    t_interval,
)

RUNS = 3000
FEW = ("mean", "mean share", "share difference", "mean correlation", "ratio")


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def test_t_interval_by_hand() -> None:
    # mean 2, sd 1, n 3: half width t(.975, 2) / sqrt(3) = 4.302653 / 1.732051 = 2.484138
    interval = t_interval([1, 2, 3])
    assert (interval.mean, interval.n) == (2, 3)
    assert interval.low == pytest.approx(2 - 2.484138, abs=1e-6)
    low, high = stats.t.interval(0.95, 2, 2, stats.sem([1, 2, 3]))
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_shares_by_hand() -> None:
    # seven of ten, the textbook's Clopper-Pearson
    assert ends(share_interval(7, 10)) == pytest.approx((0.3475, 0.9333), abs=1e-4)
    # none of ten: 1 - .025^(1/10)
    assert ends(share_interval(0, 10)) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert ends(share_interval(0, 0)) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 successes in 2 trials"):
        share_interval(3, 2)


def test_mean_shares_by_hand() -> None:
    # p = 2/3, sd .5774, se^2 = 1/9: n* = (2/9) / (1/9) = 2 trials, times (1.959964 / 4.302653)^2 = .207504: .415008
    found = mean_share_interval([1.0, 1.0, 0.0])
    x, n = 0.415008 * 2 / 3, 0.415008
    expected = stats.beta.ppf(0.025, x, n - x + 1), stats.beta.ppf(0.975, x + 1, n - x)
    assert ends(found) == pytest.approx(expected, rel=1e-4)
    # many alike: the t interval, near enough
    values = [0.5, 0.51, 0.52] * 10
    assert ends(mean_share_interval(values)) == pytest.approx(ends(t_interval(values)), abs=1e-3)
    # all 1 in three: .025^(1/3), however many trials are behind each
    assert ends(mean_share_interval([1.0] * 3)) == pytest.approx((0.025 ** (1 / 3), 1.0))
    assert ends(mean_share_interval([1.0] * 3, trials=120)) == pytest.approx((0.025 ** (1 / 3), 1.0))
    assert ends(mean_share_interval([0.0] * 3)) == pytest.approx((0.0, 1 - 0.025 ** (1 / 3)))
    # all equal between: Clopper-Pearson with one trial a value
    for found in (mean_share_interval([0.5] * 3), mean_share_interval([0.5] * 3, trials=120)):
        expected = stats.beta.ppf(0.025, 1.5, 2.5), stats.beta.ppf(0.975, 2.5, 1.5)
        assert ends(found) == pytest.approx(expected)
    # values that chance brought close together are worth no more than the trials behind them
    close, cut = mean_share_interval([0.5, 0.501, 0.5]), mean_share_interval([0.5, 0.501, 0.5], trials=24)
    assert cut.high - cut.low > 3 * (close.high - close.low)
    assert ends(mean_share_interval([0.7])) == (0.0, 1.0)


def test_differences_of_shares_are_cut_to_what_they_can_be() -> None:
    assert share_difference_interval([-1.0, -0.9, 0.2]).low == -1.0
    assert share_difference_interval([0.5, 0.51, 0.52]).low == pytest.approx(
        0.51 - 4.3027 * 0.01 / np.sqrt(3), abs=1e-4
    )
    # three alike: up to 1 - .025^(1/3) = .707598 of all may differ from them, by up to 1 here and .75 or 1.25 there
    assert ends(share_difference_interval([0.0] * 3)) == pytest.approx((-0.707598, 0.707598), abs=1e-6)
    expected = 0.25 - 0.707598 * 1.25, 0.25 + 0.707598 * 0.75
    assert ends(share_difference_interval([0.25] * 3)) == pytest.approx(expected, abs=1e-6)
    assert share_difference_interval([1.0] * 6).high == 1.0
    assert ends(share_difference_interval([0.3])) == (-1.0, 1.0)


def test_correlations_by_hand() -> None:
    # atanh(.833) = ln(1.833 / .167) / 2 = 1.197858, 1.959964 / sqrt(7) = .740797: tanh(.457061) and tanh(1.938655)
    assert ends(correlation_interval(0.833, 10)) == pytest.approx((0.427686, 0.959427), abs=1e-5)
    assert ends(correlation_interval(0.9, 3)) == (-1.0, 1.0)
    # nine pairs on a line, each one trial: 2 * .025^(1/9) - 1
    assert ends(correlation_interval(1.0, 9)) == pytest.approx((2 * 0.025 ** (1 / 9) - 1, 1.0))
    assert ends(correlation_interval(-1.0, 9)) == pytest.approx((-1.0, 1 - 2 * 0.025 ** (1 / 9)))
    # mean .8, sd .1, se .057735: z = 1.098612 +- 4.302653 * .057735 / .36 = .690042
    found = mean_correlation_interval([0.7, 0.8, 0.9])
    assert found.mean == pytest.approx(0.8)
    assert ends(found) == pytest.approx((math.tanh(0.408570), math.tanh(1.788654)), abs=1e-5)
    assert ends(mean_correlation_interval([1.0] * 3)) == pytest.approx((2 * 0.025 ** (1 / 3) - 1, 1.0))
    expected = 0.4 - 0.707598 * 1.4, 0.4 + 0.707598 * 0.6
    assert ends(mean_correlation_interval([0.4] * 3)) == pytest.approx(expected, abs=1e-6)
    assert ends(mean_correlation_interval([0.4])) == (-1.0, 1.0)


def test_ratios_by_hand() -> None:
    # logs 0, log 2, log 4: geometric mean 2, and the t interval of the logs taken back
    found = ratio_interval(np.log([1.0, 2.0, 4.0]).tolist())
    assert found.mean == pytest.approx(2.0)
    half = 4.302653 * math.log(2) / math.sqrt(3)
    assert ends(found) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)), rel=1e-5)
    assert ends(ratio_interval([0.5])) == (0.0, math.inf)


def test_equal_values_without_bounds_have_no_interval() -> None:
    assert ends(t_interval([2.5] * 24)) == (-math.inf, math.inf)
    assert ends(ratio_interval([0.0] * 24)) == (0.0, math.inf)
    assert str(t_interval([2.5] * 24)) == "2.5 (all 24 equal: no interval)"
    assert not t_interval([2.5, 2.5, 2.6]).boundless
    third = [1e6 / 3, 1e6 / 3 * (1 + 1e-16), 1e6 * (1 / 3)]  # told apart by rounding alone
    assert t_interval(third).boundless


@pytest.mark.parametrize(
    ("kind", "mean", "low", "high"),
    [
        ("share", 0.9, 0.8, 1.01),
        ("mean share", 0.1, -0.01, 0.2),
        ("share difference", 0.9, 0.5, 1.1),
        ("mean correlation", 0.833, 0.568, 1.098),
        ("ratio", 1.0, -0.1, 2.0),
        ("mean", 3.0, 1.0, 2.0),
        ("mean", math.nan, 0.0, 1.0),
    ],
)
def test_an_interval_outside_its_range_is_refused(kind: Kind, mean: float, low: float, high: float) -> None:
    with pytest.raises(ValidationError, match="is no interval of a"):
        Interval(mean=mean, low=low, high=high, n=3, kind=kind)


def test_kinds_that_do_not_come_from_one_value_a_seed() -> None:
    with pytest.raises(ValueError, match="a share does not come from one value a seed"):
        interval_of("share", [0.5, 0.6])
    assert interval_of("mean", [1.0, 2.0]) == t_interval([1.0, 2.0])


SHARES = st.lists(st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1)), min_size=1, max_size=8)


@given(SHARES, st.integers(1, 500))
def test_shares_stay_shares(values: list[float], trials: int) -> None:
    found = mean_share_interval(values, trials)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.n == len(values)


@given(SHARES)
def test_shares_and_their_complements_have_mirrored_intervals(values: list[float]) -> None:
    one, other = mean_share_interval(values), mean_share_interval([1 - value for value in values])
    assert (1 - other.high, 1 - other.low) == pytest.approx((one.low, one.high), abs=1e-6)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_differences_and_correlations_stay_within_their_ends(values: list[float]) -> None:
    for found in (share_difference_interval(values), mean_correlation_interval(values)):
        assert -1 <= found.low <= found.mean <= found.high <= 1


@given(st.floats(-1, 1), st.integers(1, 1000))
def test_a_correlation_stays_one(r: float, n: int) -> None:
    assert -1 <= correlation_interval(r, n).low <= r <= correlation_interval(r, n).high <= 1


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=8))
def test_ratios_stay_positive(logs: list[float]) -> None:
    found = ratio_interval(logs)
    assert 0 <= found.low <= found.mean <= found.high


@given(st.integers(0, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_counts_stay_shares(counts: tuple[int, int]) -> None:
    found = share_interval(*counts)
    assert 0 <= found.low <= found.mean <= found.high <= 1


NEARLY_EQUAL = st.tuples(st.floats(0, 1), st.integers(2, 30)).map(lambda made: [made[0]] * made[1])


@given(kind=st.sampled_from(FEW), values=st.one_of(NEARLY_EQUAL, SHARES.filter(lambda values: len(values) > 1)))
def test_no_interval_is_without_width(kind: Kind, values: list[float]) -> None:
    """So that no verdict comes from values that merely happen to agree."""
    found = interval_of(kind, values)
    assert found.low < found.high


@pytest.mark.parametrize("kind", FEW)
def test_one_value_leaves_the_whole_range(kind: Kind) -> None:
    assert ends(interval_of(kind, [0.5])) == (SCALES[kind].low, SCALES[kind].high)


# Coverage. The settings are a study's: three seeds and a share of each, measured on a few or on many trials.

Draw = Callable[[np.random.Generator, int], np.ndarray]
SETTINGS: dict[str, tuple[float, Draw]] = {
    "spread in the middle": (2 / 3, lambda rng, n: rng.beta(20, 10, n)),
    "spread near the end": (0.9, lambda rng, n: rng.beta(18, 2, n)),
    "skewed": (5 / 6, lambda rng, n: rng.beta(5, 1, n)),
    "U-shaped": (0.5, lambda rng, n: rng.beta(0.5, 0.5, n)),
    "coins: 0 or 1": (0.8, lambda rng, n: (rng.random(n) < 0.8).astype(float)),
    "16 trials, spread near the end": (0.9, lambda rng, n: rng.binomial(16, rng.beta(18, 2, n)) / 16),
    "four fights": (0.9, lambda rng, n: rng.binomial(4, rng.beta(9, 1, n)) / 4),
    "40 trials, often all right": (0.98, lambda rng, n: rng.binomial(40, 0.98, n) / 40),
}


def coverage(interval: Callable[[list[float]], tuple[float, float]], mean: float, draw: Draw, n: int) -> float:
    """Share of runs whose interval holds the true mean."""
    rng = np.random.default_rng(5)
    found = [interval(draw(rng, n).tolist()) for _ in range(RUNS)]
    return float(np.mean([low <= mean <= high for low, high in found]))


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("name", list(SETTINGS))
def test_mean_shares_cover(name: str, n: int) -> None:
    """At least .93 (the simulation's own error is .004), where a t interval cut to [0, 1] falls to .48."""
    assert coverage(lambda values: ends(mean_share_interval(values)), *SETTINGS[name], n) >= 0.93


def test_a_t_interval_cut_to_shares_would_not_cover() -> None:
    def cut(values: list[float]) -> tuple[float, float]:
        mean, half = np.mean(values), 4.302653 * np.std(values, ddof=1) / np.sqrt(3)
        return max(0.0, float(mean - half)), min(1.0, float(mean + half))

    assert coverage(cut, *SETTINGS["coins: 0 or 1"], 3) < 0.5
    assert coverage(cut, *SETTINGS["40 trials, often all right"], 3) < 0.87
    assert coverage(cut, *SETTINGS["skewed"], 3) < 0.91


def test_known_trials_at_the_ends_keep_coverage() -> None:
    mean, draw = SETTINGS["40 trials, often all right"]
    assert coverage(lambda values: ends(mean_share_interval(values, 120)), mean, draw, 3) >= 0.93


def test_trials_that_are_alike_within_a_seed_keep_coverage() -> None:
    """A seed is all right, or in one case of ten half right: 120 trials counted as independent would cover with .3."""
    found = coverage(
        lambda values: ends(mean_share_interval(values, 120)), 0.95, lambda rng, n: 1 - (rng.random(n) < 0.1) / 2, 3
    )
    assert found >= 0.93


@pytest.mark.parametrize("n", [3, 5])
def test_mean_correlations_cover(n: int) -> None:
    rng = np.random.default_rng(6)
    mean = float(np.tanh(rng.normal(1.2, 0.4, 2_000_000)).mean())
    found = coverage(
        lambda values: ends(mean_correlation_interval(values)), mean, lambda r, k: np.tanh(r.normal(1.2, 0.4, k)), n
    )
    assert found >= 0.92
    assert coverage(lambda v: ends(t_interval(v)), mean, lambda r, k: np.tanh(r.normal(1.2, 0.4, k)), n) < found


def test_ratios_cover() -> None:
    found = coverage(lambda values: ends(ratio_interval(values)), math.exp(0.3), lambda r, k: r.normal(0.3, 0.5, k), 3)
    assert found == pytest.approx(0.95, abs=0.012)
