"""Every rule of selection: by hand where it is simple, by what must hold of all of them where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.distill.difficulty import quality
from burnish.distill.records import States
from burnish.distill.rules import DIVERSE, RULES, Selection, needs_difficulty, select, wanted
from burnish.distill.selection import greedy_subset, log_det
from burnish.distill.settings import SelectionSettings

KINDS = [*RULES, "infobatch"]
DETERMINISTIC = ["map", "easy", "hard"]


def make(count: int, seed: int = 0, width: int = 8) -> States:
    rng = np.random.default_rng(seed)
    return States(
        difficulty=rng.permutation(np.linspace(0, 1, count)).astype(np.float32),
        strength=np.zeros(count, np.float32),
        counts=rng.integers(0, 3, count),
        features=rng.normal(size=(count, width)).astype(np.float32),
        losses=rng.exponential(size=count).astype(np.float32),
    )


def choose(states: States, kind: str, trust: Any = None, labels: Any = None, seed: int = 0, **more: Any) -> Selection:
    count = len(states.difficulty)
    rarity = more.pop("rarity", "twice")
    return select(
        states,
        np.ones(count, np.float32) if trust is None else np.asarray(trust, np.float32),
        SelectionSettings.model_validate({"kind": kind, **more}),
        np.arange(count) % 2 if labels is None else np.asarray(labels),
        rng=np.random.default_rng(seed),
        rarity=rarity,
    )


def changed(states: States, **fields: Any) -> States:
    return States(**{**vars(states), **fields})


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.floats(0.02, 1), st.sampled_from(list(RULES)), st.booleans(), st.integers(0, 99))
def test_as_many_as_asked_for_each_once(count: int, share: float, kind: str, by_class: bool, seed: int) -> None:
    states = make(count, seed)
    if kind == "fixed":
        states = changed(states, counts=np.zeros(count, np.int64))
    sizes = [wanted(part, share) for part in ((count + 1) // 2, count // 2) if part] if by_class else [0]
    if kind == "dpp" and max(*sizes, wanted(count, share)) > 8:
        return  # beyond the rank, which has a test of its own
    found = choose(states, kind, share=share, by_class=by_class, seed=seed)
    assert found.indices.tolist() == sorted(set(found.indices.tolist()))
    assert found.indices.min() >= 0
    assert found.indices.max() < count
    assert len(found.indices) == (sum(sizes) if by_class else wanted(count, share))
    assert found.weights.tolist() == [1] * len(found.indices)


@pytest.mark.parametrize("kind", DETERMINISTIC)
def test_follows_the_samples_when_they_are_shuffled(kind: str) -> None:
    states, order = make(40), np.random.default_rng(5).permutation(40)
    turned = States(**{name: values[order] for name, values in vars(states).items()})
    found = choose(turned, kind, share=0.25, labels=np.zeros(40, np.int64))
    assert sorted(order[found.indices].tolist()) == choose(states, kind, share=0.25).indices.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_chooses_the_same(kind: str) -> None:
    states = make(30)
    first, again = (choose(states, kind, share=0.2, seed=4) for _ in range(2))
    assert first.indices.tolist() == again.indices.tolist()


@pytest.mark.parametrize("kind", ["perturbed", "stochastic", "dpp", "random", "random_every", "trust_pool"])
def test_another_generator_chooses_others(kind: str) -> None:
    states = make(60)
    first, other = (choose(states, kind, share=0.1, seed=seed) for seed in (0, 1))
    assert first.indices.tolist() != other.indices.tolist()


def test_easy_and_hard_by_hand() -> None:
    states = changed(make(5), difficulty=np.array([0.5, 0, 0.5, 1, 0], np.float32))
    assert choose(states, "easy", share=0.6).indices.tolist() == [0, 1, 4]  # of the two at .5 the first
    assert choose(states, "hard", share=0.4).indices.tolist() == [0, 3]


def test_map_is_the_greedy_subset_of_quality_times_direction() -> None:
    states = make(30)
    rows = states.features / np.linalg.norm(states.features, axis=1, keepdims=True)
    ease = quality(states.difficulty, states.counts, "twice")
    expected = greedy_subset(rows, ease / ease.max(), 6, 0.1)
    longer = changed(states, features=states.features * np.linspace(0.1, 9, 30, dtype=np.float32)[:, None])
    for each in (states, longer):  # only the direction of a feature counts
        assert choose(each, "map", share=0.2).indices.tolist() == sorted(expected.tolist())


def test_diversity_from_ease_alone_to_none() -> None:
    states = changed(make(20), counts=np.zeros(20, np.int64))
    easiest = np.sort(np.argsort(states.difficulty)[:4]).tolist()
    assert choose(states, "map", share=0.2, diversity=0.0).indices.tolist() == easiest
    unknown = changed(states, difficulty=np.full(20, np.nan, np.float32))
    alone = choose(unknown, "map", share=0.2, diversity=1.0)  # nobody needs to have measured difficulties
    rows = states.features / np.linalg.norm(states.features, axis=1, keepdims=True)
    ones = np.ones(20, np.float32)  # all rows are equally long: which is first is a matter of rounding, the gain is not
    expected = log_det(rows, ones, greedy_subset(rows, ones, 4, 0.1), 0.1)
    assert log_det(rows, ones, alone.indices, 0.1) == pytest.approx(expected, rel=1e-2)
    with pytest.raises(UserError, match="difficulty of sample 0"):
        choose(unknown, "map", share=0.2)


def test_rarity_lets_others_come() -> None:
    states = changed(make(20), counts=np.zeros(20, np.int64))
    first = choose(states, "map", share=0.2).indices
    counts = np.zeros(20, np.int64)
    counts[first] = 50
    after = changed(states, counts=counts)
    assert not set(choose(after, "map", share=0.2).indices) & set(first)
    assert choose(after, "map", share=0.2, rarity="none").indices.tolist() == first.tolist()


def test_fixed_keeps_what_it_chose() -> None:
    states = changed(make(20), counts=np.zeros(20, np.int64))
    first = choose(states, "fixed", share=0.3, seed=1)
    counts = np.zeros(20, np.int64)
    counts[first.indices] = 7
    assert choose(changed(states, counts=counts), "fixed", share=0.3, seed=2).indices.tolist() == first.indices.tolist()


def test_trust_pool() -> None:
    states, trust = make(10), [0.9, 0.1, 0.31, 0.3, 0, 0.8, 0, 0, 0, 0]
    assert choose(states, "trust_pool", trust=trust, share=0.3).indices.tolist() == [0, 2, 5]
    assert choose(states, "trust_pool", trust=trust, share=0.9).indices.tolist() == [0, 2, 5]  # the pool has no more
    # nobody of the class of odd numbers but sample 5 is in it
    assert 5 in choose(states, "trust_pool", trust=trust, share=0.2, by_class=True).indices
    with pytest.raises(UserError, match=r"no sample's label a probability above 0\.3"):
        choose(states, "trust_pool", trust=[0.3] * 10)


def test_infobatch_by_hand() -> None:
    """The mean of the losses seen is 2: samples 0 and 1 lie below, 2 on it; 4 was never seen."""
    states = changed(make(5), losses=np.array([1, 1, 2, 4, np.nan], np.float32))
    for seed in range(8):
        found = choose(states, "infobatch", share=0.25, seed=seed)
        weights = dict(zip(found.indices.tolist(), found.weights.tolist(), strict=True))
        assert weights.keys() >= {2, 3, 4}
        assert all(weight == (4 if sample < 2 else 1) for sample, weight in weights.items())
    nobody = changed(states, losses=np.full(5, np.nan, np.float32))
    assert choose(nobody, "infobatch", share=0.25).indices.tolist() == [0, 1, 2, 3, 4]


def test_infobatch_ends_on_everything_as_published() -> None:
    states, ones = make(20), np.ones(20, np.float32)
    rules = SelectionSettings(kind="infobatch", share=0.25)
    for done, everything in ((0.0, False), (0.87, False), (0.875, True), (1.0, True)):
        found = select(states, ones, rules, np.arange(20) % 2, rng=np.random.default_rng(0), done=done)
        assert (len(found.indices) == 20) == everything
        assert (found.weights == 1).all() == everything


def test_infobatch_keeps_the_sum_on_average() -> None:
    states, draws, rng = make(200), 600, np.random.default_rng(7)
    sums, sizes = [], []
    for _ in range(draws):
        found = select(
            states,
            np.ones(200, np.float32),
            SelectionSettings(kind="infobatch", share=0.3),
            np.zeros(200, np.int64),
            rng=rng,
        )
        sums.append(float((found.weights * states.losses[found.indices]).sum()))
        sizes.append(len(found.indices))
    four_errors = 4 * np.std(sums) / np.sqrt(draws)
    assert abs(np.mean(sums) - states.losses.sum()) < four_errors
    below = int((states.losses < states.losses.mean()).sum())
    assert np.mean(sizes) == pytest.approx(200 - 0.7 * below, abs=4 * np.std(sizes) / np.sqrt(draws))


def test_classes_get_their_share_each() -> None:
    states, labels = make(44), np.array([0] * 40 + [1] * 3 + [7])
    for kind in ("map", "perturbed", "random", "easy"):
        found = choose(states, kind, share=0.1, labels=labels, by_class=True)
        assert np.bincount(labels[found.indices], minlength=8).tolist() == [4, 1, 0, 0, 0, 0, 0, 1]


def test_who_needs_difficulties() -> None:
    needing = {kind for kind in KINDS if needs_difficulty(SelectionSettings.model_validate({"kind": kind}))}
    assert needing == {*DIVERSE, "easy", "hard"}
    assert not needs_difficulty(SelectionSettings(kind="perturbed", diversity=1.0))


def test_bad_input() -> None:
    states = make(12, width=3)
    with pytest.raises(UserError, match="rank: 3, not 6"):
        choose(states, "dpp", share=0.5)
    same = changed(states, features=np.ones((12, 3), np.float32))
    assert len(choose(same, "map", share=0.5).indices) == 6  # all features equal
    zero = changed(states, features=np.zeros((12, 3), np.float32))
    assert len(choose(zero, "perturbed", share=0.5).indices) == 6
    with pytest.raises(UserError, match="no samples"):
        choose(make(0), "random")
    assert choose(make(1), "map", share=0.1).indices.tolist() == [0]
    states.features[4] = np.nan
    with pytest.raises(UserError, match="sample 4 is no number"):
        choose(states, "map")
