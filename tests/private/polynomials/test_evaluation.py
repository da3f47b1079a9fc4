"""Polynomials of ciphertexts: right, in ceil(log2(degree + 1)) levels, and with few products."""

import math

import numpy as np
import pytest
from numpy.polynomial import Chebyshev

from burnish.core.errors import BurnishError
from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.seal import SealClient, SealEvaluator
from burnish.private.polynomials.evaluation import evaluate, evaluate_sign, work_of
from burnish.private.polynomials.minimax import minimax
from burnish.private.polynomials.records import Polynomial

PARAMETERS = Parameters(ring=16384, scale_bits=40, levels=8, end_bits=50)
X = np.linspace(-1, 1, PARAMETERS.slots)


def clear(polynomial, levels=None, lazy=True):
    evaluator = ClearEvaluator(PARAMETERS)
    cipher = ClearClient(PARAMETERS).encrypt(X, level=polynomial.levels if levels is None else levels)
    return evaluate(evaluator, cipher, polynomial, lazy=lazy), evaluator.ledger


@pytest.mark.parametrize("degree", [*range(1, 18), 23, 27, 31, 32])
@pytest.mark.parametrize("kind", ["all", "odd"])
def test_every_degree_takes_the_least_levels(degree, kind):
    """Encrypted with exactly that many levels, which the back end would not let it overdraw."""
    rng = np.random.default_rng(degree)
    coefficients = rng.normal(size=degree + 1) / (degree + 1)
    if kind == "odd" and degree % 2:
        coefficients[::2] = 0
    polynomial = Polynomial(tuple(coefficients.tolist()))
    assert polynomial.levels == math.ceil(math.log2(degree + 1))
    result, _ = clear(polynomial)
    assert result.level == 0
    assert np.abs(result.values - Chebyshev(coefficients)(X)).max() < 1e-12
    with pytest.raises(BurnishError, match="levels"):
        clear(polynomial, levels=polynomial.levels - 1)


def test_relinearisations_by_hand():
    """Degree 7, odd: T_2, T_4, T_3 and (c x) T_2 inside q, then q T_4 with what is left."""
    assert sum(count for _, count in work_of(7)) <= 5
    assert sum(count for _, count in work_of(15)) <= 7
    assert sum(count for _, count in work_of(31)) <= 9


def test_lazy_saves_relinearisations_and_changes_nothing_else():
    sign = minimax((15,), 0.1).stages[0]
    lazy, ledger = clear(sign)
    eager, more = clear(sign, lazy=False)
    assert np.abs(lazy.values - eager.values).max() < 1e-12
    assert ledger.total("relinearise") < more.total("relinearise")
    assert ledger.total("multiply", "square") == more.total("multiply", "square")


def test_tiny_and_missing_coefficients_are_left_out():
    for coefficients in [(0.0, 1e-30, 0.5), (0.25, 0.0, 0.0, 0.0, 0.5), (0.0, 0.5, 0.0, 1e-25, 0.0, 0.0, 0.0, 0.25)]:
        result, _ = clear(Polynomial(coefficients))
        assert np.abs(result.values - Chebyshev(coefficients)(X)).max() < 1e-12


def test_a_constant_is_refused():
    with pytest.raises(BurnishError, match="constant"):
        clear(Polynomial((0.5,)))


def test_encrypted_with_a_composite():
    client = SealClient.make(PARAMETERS)
    evaluator = SealEvaluator(PARAMETERS, client.evaluation_keys([]))
    sign = minimax((7, 15), 2.0**-4).times(0.5)
    result = evaluate_sign(evaluator, client.encrypt(X, level=7), sign)
    assert result.level == 0
    assert np.abs(client.decrypt(result) - sign(X)).max() < 2.0**-15
    trial = evaluate_sign(ClearEvaluator(PARAMETERS), ClearClient(PARAMETERS).encrypt(X, level=7), sign)
    assert np.abs(client.decrypt(result) - trial.values).max() < trial.noise
