"""Sign polynomials: hand examples, the published tables of levels and errors, and what the contract of argmax needs."""

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.private.polynomials.cheon import cheon, f, g
from burnish.private.polynomials.minimax import best_odd, cheapest, minimax
from burnish.private.polynomials.records import sign_of


def test_by_hand():
    assert f(1)(np.array(0.5)) == pytest.approx(0.6875, abs=1e-14)
    assert f(3)(np.array(0.5)) == pytest.approx(0.85888671875, abs=1e-14)
    assert g(3)(np.array(0.1)) == pytest.approx(0.432204935, abs=1e-9)
    x = np.linspace(-1, 1, 41)
    assert np.allclose(f(2)(x), (15 * x - 10 * x**3 + 3 * x**5) / 8)
    assert np.allclose(f(4)(x), (315 * x - 420 * x**3 + 378 * x**5 - 180 * x**7 + 35 * x**9) / 128)


@pytest.mark.parametrize(("bits", "levels"), [(4, 12), (6, 15), (8, 18), (10, 21)])
def test_cheons_composites_take_the_published_levels(bits, levels):
    assert cheon(2.0**-bits, 2.0**-10).levels == levels


@pytest.mark.parametrize(
    ("degrees", "bits", "levels", "error_bits"),
    [((15, 15), 4, 8, 17), ((7, 15, 15), 6, 11, 20), ((15, 15, 15), 8, 12, 14), ((7, 7, 7, 7, 7), 10, 15, 12)],
)
def test_minimax_composites_reach_the_published_errors(degrees, bits, levels, error_bits):
    sign = minimax(degrees, 2.0**-bits)
    assert sign.levels == levels
    assert sign.error < 2.0**-error_bits
    assert 0.98 * sign.error < sign_of(sign.stages, sign.eps).error <= sign.error * (1 + 1e-6)


@pytest.mark.parametrize(("degree", "low"), [(3, 0.5), (7, 0.1), (15, 2.0**-8), (31, 2.0**-6)])
def test_the_best_has_alternating_errors_of_one_size(degree, low):
    """Chebyshev's theorem: as many as there are coefficients and one more; no other odd polynomial does better."""
    found, error = best_odd(degree, low)
    x = np.unique(np.concatenate([np.geomspace(low, 1, 50_001), np.linspace(low, 1, 50_001)]))
    wrong = found(x) - 1
    assert np.abs(wrong).max() == pytest.approx(error, rel=1e-3)
    peaks = x[np.abs(wrong) > error * (1 - 1e-3)]
    signs = np.sign(found(peaks) - 1)
    assert 1 + np.count_nonzero(np.diff(signs)) == (degree + 1) // 2 + 1
    assert not any(found.coefficients[::2])


def test_degree_3_by_hand():
    """On [a, 1] the best c1 x + c3 x^3: equal errors at a, at the maximum m and at 1, where the ends are below 1."""
    found, error = best_odd(3, 0.5)
    c1, c3 = found.coefficients[1] - 3 * found.coefficients[3], 4 * found.coefficients[3]
    m = np.sqrt(-c1 / (3 * c3))
    assert [c1 * x + c3 * x**3 for x in (0.5, m, 1.0)] == pytest.approx([1 - error, 1 + error, 1 - error], abs=1e-5)


@pytest.mark.parametrize(("bits", "error_bits"), [(4, 8), (6, 10), (8, 12), (10, 12)])
def test_a_sign_is_never_wrong_between(bits, error_bits):
    """Within (-eps, eps) it keeps the sign and rises; that is why a near tie is never read as the wrong class."""
    sign = cheapest(2.0**-bits, 2.0**-error_bits)
    x = np.concatenate([[0.0], np.geomspace(1e-9, sign.eps, 20_000)])
    values = sign(x)
    assert (np.diff(values) > 0).all()
    assert values[0] == 0
    assert values[1:].min() > 0
    assert np.abs(sign(-x) + values).max() < 1e-12
    assert np.abs(sign(np.linspace(-1, 1, 10_001))).max() <= 1 + sign.error * (1 + 1e-6)


def test_stages_stay_within_minus_one_and_one():
    for stage in cheapest(2.0**-8, 2.0**-12).stages[:-1]:
        assert np.abs(stage(np.linspace(-1, 1, 20_001))).max() <= 1 + 1e-6


def test_the_cheapest_costs_no_more_levels_than_published_ones():
    for bits, error_bits, published in [(4, 17, 8), (6, 20, 11), (8, 14, 12), (10, 12, 15)]:
        found = cheapest(2.0**-bits, 2.0**-error_bits, below=4)
        assert found.error <= 2.0**-error_bits
        assert found.levels <= published + 1


def test_half_a_sign_is_a_sign_halved():
    sign = minimax((7, 7), 0.1)
    x = np.linspace(-1, 1, 101)
    assert np.allclose(sign.times(0.5)(x), sign(x) / 2)


def test_bad_input():
    for eps in (0.0, -1.0, 1.0, float("nan")):
        with pytest.raises(UserError, match="eps"):
            minimax((7,), eps)
    for degrees in ((), (4,), (-1,)):
        with pytest.raises(UserError, match="degrees"):
            minimax(degrees, 0.1)
    with pytest.raises(UserError, match="within 3 levels"):
        cheapest(2.0**-8, 2.0**-12, most=3)
    with pytest.raises(UserError, match="more than 2 polynomials"):
        cheon(2.0**-8, 2.0**-12, most=2)
