"""Difficulty, strength and selection probability by hand."""

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.distill.difficulty import blend, difficulty, normalise, quality, selection_probability, strength
from burnish.distill.settings import DifficultySettings

COUNTS = np.array([0, 1, 3])


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_probability() -> None:
    assert selection_probability(COUNTS) == pytest.approx(np.array([4, 2, 1]) / 7)


def test_difficulty_by_hand() -> None:
    assert difficulty(floats(1.4, 2.8, 5.6), COUNTS, "min_max", "twice").tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert difficulty(floats(0.7, 2.8, 11.2), COUNTS, "min_max", "twice") == pytest.approx(floats(0, 1 / 3, 1))
    assert difficulty(floats(1, 3, 2), COUNTS, "min_max", "quality") == pytest.approx(floats(0, 1, 0.5))


def test_equal_values_are_zero_and_not_nan() -> None:
    for normaliser in ("min_max", "rank"):
        assert normalise(floats(2, 2, 2), normaliser).tolist() == [0, 0, 0]
        assert normalise(floats(), normaliser).tolist() == []


def test_ranks_are_not_ruled_by_one_outlier() -> None:
    values = floats(1, 2, 3, 1e6)
    assert normalise(values, "rank") == pytest.approx(floats(0, 1 / 3, 2 / 3, 1))
    assert normalise(values, "min_max")[2] < 1e-5


def test_a_loss_that_is_no_number_is_named() -> None:
    with pytest.raises(UserError, match="sample 1 is nan"):
        difficulty(floats(1, np.nan, 2), COUNTS, "min_max", "none")


@pytest.mark.parametrize(
    ("kind", "before", "expected"),
    [
        ("inverse_beta", (1, 0.5, 0), (0.517702, 0.328468, 0)),
        ("official", (0, 0, 0), (0, 0.139234, 0.417702)),
        ("inverse", (1, 0.5, 0), (1, 0.65, 0)),
        ("trust", (1, 0.5, 0), (0.1 + 0.81, 0.05 + 0.45, 0.09)),
    ],
)
def test_strength_by_hand(kind: str, before: tuple[float, ...], expected: tuple[float, ...]) -> None:
    """The notes' fourth example for the two with beta = .464113; the others worked out the same way."""
    settings = DifficultySettings.model_validate({"strength": kind})
    found = strength(floats(*before), floats(0, 1 / 3, 1), floats(0.9, 0.5, 0.1), 0.464113, settings)
    assert found == pytest.approx(np.array(expected), abs=2e-6)


def test_the_first_strength_has_no_history_and_no_rate() -> None:
    hard, trust = floats(0, 0.25, 1), floats(0.9, 0.5, 0.1)
    for kind, expected in (("inverse", 1 - hard), ("inverse_beta", 1 - hard), ("official", hard), ("trust", trust)):
        settings = DifficultySettings.model_validate({"strength": kind})
        assert strength(None, hard, trust, 0.0, settings).tolist() == expected.tolist()


def test_the_specs_strength() -> None:
    """g(d) = .8, r = .5, old .4: .1 x .4 + .9 x .5 x .8 = .40."""
    settings = DifficultySettings(strength="inverse_beta")
    assert strength(floats(0.4), floats(0.2), floats(0), 0.5, settings) == pytest.approx(0.4)


def test_blend_and_quality() -> None:
    assert blend(floats(1, 0), floats(0, 1), 0.1) == pytest.approx(floats(0.1, 0.9))
    assert quality(floats(0, 0.5, 1), COUNTS, "twice") == pytest.approx(floats(1, 0.25, 1e-3 / 4))
    assert quality(floats(0, 0.5, 1), COUNTS, "none") == pytest.approx(floats(1, 0.5, 1e-3))
