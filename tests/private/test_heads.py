"""Heads by hand: aggregates, bounds, the fit against a slow reference, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.private.heads import (
    Heads,
    aggregate_scores,
    answers,
    beyond_bound,
    calibrated,
    chosen_prompts,
    fit_heads,
    heads_of,
    margins,
    mean_scores,
    prompt_logits,
    spread,
    unit_of,
)

# two prompts, two classes, vectors of two numbers; already centred
WEIGHTS = np.array([[[1.0, 0.0], [-1.0, 0.0]], [[0.0, 2.0], [0.0, -2.0]]])
BIASES = np.array([[0.5, -0.5], [0.0, 0.0]])
X = np.array([[[0.6, 0.8], [0.8, -0.6]]])


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    found = rng.normal(size=shape)
    return np.asarray(found / np.linalg.norm(found, axis=-1, keepdims=True))


def test_by_hand() -> None:
    heads = heads_of(WEIGHTS, BIASES, ("no", "yes"))
    assert prompt_logits(heads, X).tolist() == [[[1.1, -1.1], [-1.2, 1.2]]]
    assert mean_scores(heads, X)[0] == pytest.approx([-0.05, 0.05])
    assert answers(heads, X).tolist() == [1]
    assert margins(mean_scores(heads, X)) == pytest.approx([0.1])
    # halves of |(2, 0)| + |1| and of |(0, 4)| + 0
    assert heads.bound == pytest.approx(0.5 * (2 + 1) + 0.5 * 4)
    weighted = heads_of(WEIGHTS, BIASES, ("no", "yes"), "weighted", np.array([0.75, 0.25]))
    assert mean_scores(weighted, X)[0] == pytest.approx([0.525, -0.525])
    assert answers(weighted, X).tolist() == [0]
    votes = aggregate_scores(replace(heads, aggregate="vote"), X)
    assert votes.tolist() == [[0.5, 0.5]]
    first, second = 1 / (1 + np.exp(-2.2)), 1 / (1 + np.exp(2.4))
    chances = aggregate_scores(replace(heads, aggregate="probabilities"), X)
    assert chances[0] == pytest.approx([(first + second) / 2, 1 - (first + second) / 2])
    assert unit_of(heads) == heads.bound
    assert unit_of(replace(heads, aggregate="vote")) == 1.0


def test_centring_changes_no_answer() -> None:
    rng = np.random.default_rng(0)
    weights, biases, x = rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 4)), unit(rng, 50, 3, 5)
    raw = (np.einsum("tpw,pcw->tpc", x, weights) + biases).mean(1)
    heads = heads_of(weights, biases, tuple("abcd"))
    assert (answers(heads, x) == raw.argmax(1)).all()
    assert np.allclose(heads.weights.mean(1), 0)
    assert np.allclose(spread(mean_scores(heads, x)), raw.max(1) - raw.min(1))
    some = chosen_prompts(heads, [2, 0])
    assert np.allclose(mean_scores(some, x[:, [2, 0]]), prompt_logits(heads, x)[:, [0, 2]].mean(1))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(2, 5), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_nothing_is_beyond_the_certain_bound(prompts: int, classes: int, width: int, seed: int) -> None:
    """Not even the vectors that point along the widest pair of classes."""
    rng = np.random.default_rng(seed)
    weights, biases = rng.normal(size=(prompts, classes, width)), rng.normal(size=(prompts, classes))
    heads = heads_of(weights, biases, tuple(map(str, range(classes))))
    steps = (weights[:, :, None] - weights[:, None]).reshape(prompts, -1, width).transpose(1, 0, 2)
    lengths = np.linalg.norm(steps, axis=2, keepdims=True)
    along = steps[(lengths > 0).all(axis=(1, 2))] / lengths[(lengths > 0).all(axis=(1, 2))]
    x = np.concatenate([along, unit(rng, 20, prompts, width)])
    assert spread(mean_scores(heads, x)).max() <= heads.bound * (1 + 1e-9)
    assert not beyond_bound(replace(heads, bound=heads.bound * (1 + 1e-9)), x).any()


def test_a_calibrated_bound_is_what_was_seen_and_never_above_the_certain_one() -> None:
    rng = np.random.default_rng(1)
    heads = heads_of(rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3)), ("a", "b", "c"))
    seen = 0.01 * unit(rng, 30, 2, 4)
    some = calibrated(heads, seen, margin=1.5)
    assert some.bound == pytest.approx(1.5 * spread(mean_scores(heads, seen)).max())
    assert not beyond_bound(some, seen).any()
    assert beyond_bound(some, unit(rng, 200, 2, 4)).any()
    assert calibrated(heads, unit(rng, 30, 2, 4), margin=1e9).bound == heads.bound


def test_the_fit_is_the_minimum() -> None:
    rng = np.random.default_rng(2)
    x, labels = unit(rng, 40, 2, 3), np.arange(40) % 7 % 2
    prior = rng.normal(size=(2, 2, 3))

    def loss(weights: np.ndarray, biases: np.ndarray) -> float:
        counts = np.bincount(labels)
        total = 0.0
        for p in range(2):
            for text, label in zip(x[:, p], labels, strict=True):
                error = weights[p] @ text + biases[p] - np.eye(2)[label]
                total += (error**2).sum() / (2 * counts[label])
            total += 0.3 * ((weights[p] - prior[p]) ** 2).sum()
        return total

    weights, biases = fit_heads(x, labels, ("a", "b"), prior, 0.3)
    best = loss(weights, biases)
    for _ in range(40):
        assert loss(weights + 0.01 * rng.normal(size=weights.shape), biases) > best
        assert loss(weights, biases + 0.01 * rng.normal(size=biases.shape)) > best
    far, _ = fit_heads(x, labels, ("a", "b"), prior, 1e6)
    assert np.allclose(far, prior, atol=1e-3)  # so strongly drawn, it is the words' own direction


def test_refused() -> None:
    heads = heads_of(WEIGHTS, BIASES, ("no", "yes"))
    with pytest.raises(UserError, match="classes: `no` stands there twice"):
        replace(heads, labels=("no", "no"))
    with pytest.raises(UserError, match="1 of them; a classifier needs two"):
        heads_of(WEIGHTS[:, :1], BIASES[:, :1], ("no",))
    with pytest.raises(UserError, match="weights: a number is not finite"):
        Heads(WEIGHTS * np.nan, BIASES, ("no", "yes"), 1.0, "logits", np.array([0.5, 0.5]))
    with pytest.raises(UserError, match="bound 0"):
        replace(heads, bound=0.0)
    with pytest.raises(UserError, match="weights_of_prompts"):
        replace(heads, weights_of_prompts=np.array([1.0, 1.0]))
    with pytest.raises(UserError, match="1 prompts of width 2; the heads have 2 of 2"):
        answers(heads, X[:, :1])
    with pytest.raises(UserError, match="a number is not finite"):
        answers(heads, X * np.nan)
    with pytest.raises(UserError, match="no text of class `b`"):
        fit_heads(X, np.array([0]), ("a", "b"), WEIGHTS, 0.1)
