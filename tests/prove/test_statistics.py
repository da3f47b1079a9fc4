"""The statistics of prove: numbers worked out by hand, the same tests in scipy and statsmodels, and calibration by
simulation."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from burnish.core.errors import UserError
from burnish.prove import statistics as prove

FIVE = np.array([0.90, 0.92, 0.94, 0.96, 0.98])


def test_grubbs_by_hand() -> None:
    found = prove.grubbs(FIVE, 0.80)
    assert found.statistic == pytest.approx(4.427, abs=5e-4)
    assert found.critical == pytest.approx(1.7150, abs=5e-5)
    assert found.rejected
    assert not prove.grubbs(FIVE, 0.93).rejected
    assert prove.grubbs(FIVE, 0.80, alpha=0.10).critical == pytest.approx(1.6714, abs=5e-5)


@pytest.mark.parametrize(("shadow", "word"), [([0.9, 0.8], "3 or more"), ([0.9, 0.9, 0.9], "are 0.9")])
def test_grubbs_refuses(shadow: list[float], word: str) -> None:
    with pytest.raises(UserError, match=word):
        prove.grubbs(np.array(shadow), 0.5)


def test_conformal_by_hand() -> None:
    assert prove.conformal_p(np.array([1.0, 2.0, 3.0, 4.0]), 4.0) == pytest.approx(0.4)
    assert prove.conformal_p(np.arange(19.0), 20.0) == pytest.approx(0.05)


def test_open_world_by_hand() -> None:
    sources = [np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])]
    assert [prove.conformal_p(source, 3.5) for source in sources] == [0.25, 0.75]
    assert prove.conformal_p(np.concatenate(sources), 3.5) == pytest.approx(3 / 7)
    shares = np.array([prove.share_at_or_above(source, 3.5) for source in sources])
    assert prove.open_world_p(shares) == pytest.approx((1 + 2 / 3) / 3)
    with pytest.raises(UserError, match="shadow models"):
        prove.share_at_or_above(np.array([]), 1.0)


def test_difference_in_differences_by_hand() -> None:
    others = np.array([0.80, 0.70])
    assert prove.difference_in_differences(0.95, others) == pytest.approx(0.20)
    assert prove.difference_in_differences(0.95, others, logit=True) == pytest.approx(1.8276, abs=5e-5)
    assert np.isfinite(prove.difference_in_differences(1.0, others, logit=True))


def test_permutation_by_hand() -> None:
    # of the 6 ways to pick 2 of {1, 2, 3, 4}, only {3, 4} reaches a difference of 2
    found = prove.permutation_p(np.array([3.0, 4.0]), np.array([1.0, 2.0]), draws=100, rng=np.random.default_rng(0))
    assert found == prove.Permutation(effect=2.0, p=1 / 6, draws=6, exact=True)
    tied = prove.permutation_p(np.array([0.1, 0.1]), np.array([0.1, 0.1]), draws=100, rng=np.random.default_rng(0))
    assert tied.p == 1.0
    with pytest.raises(UserError, match="both need some"):
        prove.permutation_p(np.array([]), np.array([1.0]), draws=10, rng=np.random.default_rng(0))


def test_permutation_equals_scipy() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.5, 1, 7), rng.normal(0, 1, 6)
    ours = prove.permutation_p(x, y, draws=5000, rng=rng)
    theirs = stats.permutation_test((x, y), lambda a, b: a.mean() - b.mean(), alternative="greater", n_resamples=np.inf)
    assert ours.exact
    assert ours.p == pytest.approx(theirs.pvalue)
    drawn = prove.permutation_p(x, y, draws=1000, rng=rng)
    assert not drawn.exact
    assert drawn.p == pytest.approx(theirs.pvalue, abs=0.04)


def test_permutation_takes_a_statistic() -> None:
    x, y = np.array([5.0, 9.0, 1.0]), np.array([0.0, 2.0, 4.0])
    rng = np.random.default_rng(0)
    found = prove.permutation_p(
        x, y, draws=100, rng=rng, statistic=lambda a, b: np.median(a, axis=-1) - np.median(b, axis=-1)
    )
    theirs = stats.permutation_test((x, y), lambda a, b: np.median(a) - np.median(b), alternative="greater")
    assert found.effect == 3.0
    assert found.p == pytest.approx(theirs.pvalue)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 8))
    whole = prove.permutation_p(x, y, draws=20000, rng=np.random.default_rng(0))
    drawn = prove.permutation_p(x, y, draws=500, rng=np.random.default_rng(0))
    monkeypatch.setattr(prove, "CHUNK", 100)
    assert prove.permutation_p(x, y, draws=20000, rng=np.random.default_rng(0)) == whole
    assert prove.permutation_p(x, y, draws=500, rng=np.random.default_rng(0)) == drawn


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_equals_statsmodels(p: list[float]) -> None:
    adjusted = prove.holm(np.array(p))
    with patch("gc.collect"):  # multipletests collects at every call: minutes beside the objects of a whole suite
        expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(adjusted, expected, atol=1e-12)


@given(st.integers(0, 30), st.integers(1, 30))
def test_binomial_interval_equals_statsmodels_and_scipy(successes: int, trials: int) -> None:
    successes = min(successes, trials)
    found = prove.binomial_interval(successes, trials)
    np.testing.assert_allclose(found, proportion_confint(successes, trials, method="beta"), atol=1e-9)
    np.testing.assert_allclose(found, stats.binomtest(successes, trials).proportion_ci(method="exact"), atol=1e-9)


def test_binomial_interval_ends() -> None:
    assert prove.binomial_interval(0, 0) == (0.0, 1.0)
    assert prove.binomial_interval(0, 59, level=0.9)[1] == pytest.approx(0.0495, abs=5e-5)
    with pytest.raises(UserError, match="5 successes in 4 trials"):
        prove.binomial_interval(5, 4)


def test_t_test_equals_scipy_and_its_definition() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.3, 1, 40), rng.normal(0, 2, 30)
    t = (a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) / 40 + b.var(ddof=1) / 30)
    found = stats.ttest_ind(a, b, equal_var=False, alternative="greater")
    assert found.statistic == pytest.approx(t)
    assert prove.paper_t_test(a, b) == pytest.approx(found.pvalue)
    assert prove.paper_t_test(b, a) == pytest.approx(1 - found.pvalue)


def test_cohen_d_by_hand() -> None:
    # means 3 and 1, variances 1 and 1
    assert prove.cohen_d(np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0, 2.0])) == pytest.approx(2.0)
    with pytest.raises(UserError, match="do not vary"):
        prove.cohen_d(np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    with pytest.raises(UserError, match="3 or more"):
        prove.cohen_d(np.array([1.0]), np.array([1.0]))


def test_bootstrap_covers_and_clusters_widen() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        low, high = prove.bootstrap_interval(rng.normal(1.0, 1.0, 30), rng, draws=300)
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 200 <= 0.99
    # ten copies of each of five values are five observations
    values, clusters = np.repeat(rng.normal(size=5), 10), np.repeat(np.arange(5), 10)
    plain = prove.bootstrap_interval(values, rng)
    clustered = prove.bootstrap_interval(values, rng, clusters=clusters)
    assert np.ptp(clustered) > 2 * np.ptp(plain)
    with pytest.raises(UserError, match="no values"):
        prove.bootstrap_interval(np.array([]), rng)


def test_null_p_values_are_uniform() -> None:
    rng = np.random.default_rng(5)
    permuted, drawn, welch = [], [], []
    for _ in range(1000):
        x, y = rng.normal(size=(2, 20))
        permuted.append(prove.permutation_p(x, y, draws=400, rng=rng).p)
        drawn.append(prove.conformal_p(rng.normal(size=499), rng.normal()))
        welch.append(prove.paper_t_test(x, y))
    for values in (permuted, drawn, welch):
        assert prove.uniformity_p(np.array(values)) > 0.01
    # and the check itself sees p-values that are too small
    assert prove.uniformity_p(np.array(permuted) ** 1.3) < 0.001


def test_null_p_values_of_discrete_tests_are_super_uniform() -> None:
    """At every level, no more rejections than it allows (three standard errors of grace)."""
    rng = np.random.default_rng(6)
    exact, ties, sources = [], [], []
    for _ in range(1500):
        x, y = rng.integers(0, 3, size=(2, 4)).astype(float)
        exact.append(prove.permutation_p(x, y, draws=100, rng=rng).p)
        ties.append(prove.conformal_p(rng.integers(0, 4, size=9).astype(float), float(rng.integers(0, 4))))
        # the suspect's own source is one of 10 exchangeable ones, each with its own mean
        levels = rng.normal(size=10)
        value = levels[0] + rng.normal()
        shares = [prove.share_at_or_above(level + rng.normal(size=5), value) for level in levels[1:]]
        sources.append(prove.open_world_p(np.array(shares)))
    for values in (exact, ties, sources):
        for level in (0.1, 0.2, 0.4, 0.6):
            rejected = np.mean(np.array(values) <= level + 1e-12)
            assert rejected <= level + 3 * np.sqrt(level * (1 - level) / 1500)
