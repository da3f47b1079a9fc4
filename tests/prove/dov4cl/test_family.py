"""The suspect among its shadows: by hand, against scipy, and calibrated on simulated innocents."""

import numpy as np
import pytest
from scipy import stats

from burnish.prove.dov4cl.family import RIDGE, family_tests, geometry, geometry_scores, prediction
from burnish.prove.statistics import uniformity_p


def test_prediction_by_hand() -> None:
    # mean 1, standard deviation 1, three shadows: t = (3 - 1) / sqrt(4 / 3) with 2 degrees of freedom
    p, low, high = prediction(np.array([0.0, 1.0, 2.0]), 3.0)
    assert p == pytest.approx(stats.t.sf(np.sqrt(3), 2))
    assert (low + high) / 2 == pytest.approx(2.0)
    assert high - 2.0 == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt(4 / 3))


def test_innocents_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    for _ in range(1000):
        values = rng.normal(size=10)
        rows = family_tests({"unary": values[0]}, [{"unary": value} for value in values[1:]])
        for row in rows:
            found.setdefault(row.name, []).append(float(row.p or 0.0))
    rank, mean = (
        np.array(found[f"{kind}, unary"]) for kind in ("rank among the shadows", "mean test against the shadows")
    )
    assert uniformity_p(mean) > 0.01
    for level in (0.1, 0.3, 0.5):  # a rank among ten
        assert np.mean(rank <= level + 1e-9) == pytest.approx(level, abs=0.045)


def test_few_shadows() -> None:
    assert [row.name for row in family_tests({"unary": 1.0}, [{"unary": 0.0}])] == ["rank among the shadows, unary"]
    alike = family_tests({"unary": 1.0}, [{"unary": 0.0}, {"unary": 0.0}])
    assert [row.p for row in alike] == [pytest.approx(1 / 3)]


def test_geometry_is_a_cka_and_knows_no_rotation() -> None:
    rng = np.random.default_rng(1)
    wide, small = rng.normal(size=(12, 2, 5)), rng.normal(size=(12, 3, 5))
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    first = geometry(wide, small)
    assert first.shape == (66,)
    assert float(first @ geometry(3 * wide @ turn, 3 * small @ turn)) == pytest.approx(1.0)
    assert float(first @ geometry(rng.normal(size=wide.shape), rng.normal(size=small.shape))) < 0.5


def test_scores_leave_the_model_out() -> None:
    """Equal to fitting anew without each model (in its labels, that is; the weight of the guilty stays)."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(7, 9))
    guilty = np.arange(7) < 3
    labels = np.where(guilty, 1.0, -3 / 4)
    scores = geometry_scores(vectors, guilty)
    for model in range(7):
        rest = np.arange(7) != model
        kernel = vectors[rest] @ vectors[rest].T + RIDGE * np.eye(6)
        assert scores[model] == pytest.approx(vectors[model] @ vectors[rest].T @ np.linalg.solve(kernel, labels[rest]))
