"""Greedy subsets against an obvious reference in double precision; exact draws against their probabilities."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.distill import selection
from burnish.distill.dpp import draw_k_dpp
from burnish.distill.selection import greedy_subset, log_det, mix, perturbed, stochastic_subset

HAND = np.array([[1, 0, 0], [0.9, 0.19**0.5, 0], [0, 0, 1]], np.float32)
"""Rows whose products are the notes' S = [[1, .9, 0], [.9, 1, 0], [0, 0, 1]]."""


def reference(rows: np.ndarray, count: int, ridge: float) -> list[int]:
    """Every candidate's determinant anew at every pick."""
    wide = rows.astype(np.float64)
    picks: list[int] = []

    def value(subset: list[int]) -> float:
        chosen = wide[subset]
        return float(np.linalg.slogdet(ridge * np.eye(len(subset)) + chosen @ chosen.T)[1]) - len(subset) * np.log(
            ridge
        )

    while len(picks) < count:
        left = [each for each in range(len(rows)) if each not in picks]
        values = [value([*picks, each]) for each in left]
        best = max(values)
        picks.append(left[next(place for place, found in enumerate(values) if found > best - 1e-9)])
    return picks


def draw(count: int, width: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def ones(rows: np.ndarray) -> np.ndarray:
    return np.ones(len(rows), np.float32)


def test_by_hand() -> None:
    assert greedy_subset(HAND, ones(HAND), 2, 1e-3).tolist() == [0, 2]
    assert greedy_subset(HAND, np.array([1, 0.9, 0.5], np.float32), 2, 1e-3).tolist() == [0, 2]
    assert log_det(HAND, ones(HAND), np.array([0, 1]), 1.0) == pytest.approx(np.log(4 - 0.81))


@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 1000), st.data())
def test_picks_what_the_reference_picks(count: int, width: int, seed: int, data: st.DataObject) -> None:
    rows = draw(count, width, seed)
    weights = np.random.default_rng(seed + 1).uniform(0.2, 1, count).astype(np.float32)
    wanted = data.draw(st.integers(0, min(count, 20)))
    found = greedy_subset(rows, weights, wanted, 0.1)
    assert len(set(found.tolist())) == wanted
    expected = np.array(reference(rows * weights[:, None], wanted, 0.1), np.int64)
    # float32 may turn two that are as good as equal round: what is gained is the same
    assert log_det(rows, weights, found, 0.1) == pytest.approx(
        log_det(rows, weights, expected, 0.1), rel=1e-4, abs=1e-4
    )


def test_equal_picks_where_gains_are_apart() -> None:
    rows, weights = draw(50, 16, 3), np.linspace(1, 0.2, 50, dtype=np.float32)
    assert greedy_subset(rows, weights, 15, 0.1).tolist() == reference(rows * weights[:, None], 15, 0.1)


def test_looks_at_few_and_misses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shortlist of 8 and blocks of 3 give what looking at everything gives; so does an inverse made afresh."""
    rows, weights = draw(300, 6, 5), np.random.default_rng(6).uniform(0.2, 1, 300).astype(np.float32)
    whole = greedy_subset(rows, weights, 60, 0.1)
    monkeypatch.setattr(selection, "SPAN", 8)
    monkeypatch.setattr(selection, "BLOCK", 3)
    assert greedy_subset(rows, weights, 60, 0.1).tolist() == whole.tolist()
    monkeypatch.setattr(selection, "RENEW", 7)
    renewed = greedy_subset(rows, weights, 60, 0.1)
    assert log_det(rows, weights, renewed, 0.1) == pytest.approx(log_det(rows, weights, whole, 0.1), rel=1e-5)


def test_follows_its_rows_when_they_are_shuffled() -> None:
    rows, weights = draw(80, 12, 7), np.linspace(1, 0.3, 80, dtype=np.float32)
    order = np.random.default_rng(8).permutation(80)
    assert (
        order[greedy_subset(rows[order], weights[order], 20, 0.1)].tolist()
        == greedy_subset(rows, weights, 20, 0.1).tolist()
    )


def test_ties_go_to_the_first_and_zeros_come_last() -> None:
    rows = np.zeros((6, 2), np.float32)
    rows[[1, 2, 4]] = [1, 0]
    assert greedy_subset(rows, ones(rows), 6, 0.1).tolist() == [1, 2, 4, 0, 3, 5]


def test_a_memory_map_gives_the_same(tmp_path: Path) -> None:
    rows = draw(200, 8, 9)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert greedy_subset(mapped, ones(rows), 30, 0.1).tolist() == greedy_subset(rows, ones(rows), 30, 0.1).tolist()


@pytest.mark.parametrize("count", [-1, 4])
def test_refuses_more_than_there_are(count: int) -> None:
    with pytest.raises(UserError, match="of 3 samples"):
        greedy_subset(HAND, ones(HAND), count, 0.1)


def test_names_what_is_no_number() -> None:
    broken = HAND.copy()
    broken[1, 2] = np.nan
    with pytest.raises(UserError, match="sample 1 is no number"):
        greedy_subset(broken, ones(HAND), 2, 0.1)
    with pytest.raises(UserError, match="sample 2 is no number"):
        greedy_subset(HAND, np.array([1, 1, np.inf], np.float32), 2, 0.1)


def test_random_candidates_come_near() -> None:
    rows = draw(400, 16, 11)
    exact = log_det(rows, ones(rows), greedy_subset(rows, ones(rows), 40, 0.1), 0.1)
    picks = stochastic_subset(rows, ones(rows), 40, 0.1, np.random.default_rng(0))
    assert len(set(picks.tolist())) == 40
    chance = log_det(rows, ones(rows), np.random.default_rng(1).permutation(400)[:40], 0.1)
    assert chance < 0.98 * exact < log_det(rows, ones(rows), picks, 0.1) <= exact


def test_noise_changes_who_is_picked_and_its_absence_does_not() -> None:
    weights = np.linspace(1, 0.2, 20, dtype=np.float32)
    assert (perturbed(weights, 0.0, np.random.default_rng(0)) == weights).all()
    first, second = (perturbed(weights, 1.0, np.random.default_rng(seed)) for seed in (0, 1))
    assert (first > 0).all()
    assert first.argsort().tolist() != second.argsort().tolist()


def test_mix_of_ease_and_diversity() -> None:
    quality = np.array([0.25, 0.5], np.float32)
    assert mix(quality, 0.5).tolist() == [0.5, 1]
    assert mix(quality, 1.0).tolist() == [1, 1]
    assert mix(quality, 0.25).tolist() == [0.125, 1]


@pytest.mark.parametrize(
    ("quality", "expected"), [((1, 1, 1), (0.0868, 0.4566, 0.4566)), ((1, 0.9, 0.5), (0.2538, 0.4123, 0.3339))]
)
def test_draws_have_their_probabilities(quality: tuple[float, ...], expected: tuple[float, ...]) -> None:
    """The notes' hand example: pairs 01, 02, 12."""
    rows = HAND * np.array(quality, np.float32)[:, None]
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(combinations(range(3), 2), 0)
    for _ in range(4000):
        first, second = draw_k_dpp(rows, 2, rng).tolist()
        counts[first, second] += 1
    # four standard deviations of a share of 4,000
    assert np.array(list(counts.values())) / 4000 == pytest.approx(np.array(expected), abs=0.032)


def test_draws_of_many_follow_their_determinants() -> None:
    rows = draw(6, 4, 13) * np.linspace(0.5, 1, 6, dtype=np.float32)[:, None]
    subsets = list(combinations(range(6), 3))
    weights = np.array([np.linalg.det(rows[list(each)].astype(float) @ rows[list(each)].T) for each in subsets])
    rng = np.random.default_rng(1)
    found = [tuple(draw_k_dpp(rows, 3, rng).tolist()) for _ in range(4000)]
    shares = np.array([found.count(each) for each in subsets]) / 4000
    assert shares == pytest.approx(weights / weights.sum(), abs=0.032)


def test_a_draw_beyond_the_rank_is_refused() -> None:
    rows = draw(10, 3, 17)
    with pytest.raises(UserError, match="rank: 3, not 4"):
        draw_k_dpp(rows, 4, np.random.default_rng(0))
    assert len(draw_k_dpp(np.vstack([rows, rows]), 3, np.random.default_rng(0))) == 3
