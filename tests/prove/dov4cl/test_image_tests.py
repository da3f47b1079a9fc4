"""The published and the default test: an effect that is there is found, one that is not is found as often as alpha
says."""

import numpy as np
import pytest

from burnish.prove.dov4cl import image_tests
from burnish.prove.dov4cl.image_tests import Steadiness
from burnish.prove.statistics import uniformity_p


def made(n: int, rng: np.random.Generator, shift: float = 0.0) -> tuple[Steadiness, np.ndarray]:
    """A model's difference from its shadows, with public images (the first half) steadier by ``shift``."""
    public = np.arange(n) < n // 2
    noise = rng.normal(size=(n, n))
    pairs = (noise + noise.T) / 2
    pairs[np.ix_(public, public)] -= shift
    return Steadiness(rng.normal(size=n) + shift * public, pairs), public


def test_effects_by_hand() -> None:
    pairs = np.array([[9.0, 1, 0, 0], [3, 9, 0, 0], [0, 0, 9, 5], [0, 0, 7, 9]])
    found = Steadiness(np.array([3.0, 5, 1, 1]), pairs)
    public = np.array([True, True, False, False])
    # unary 4 - 1; binary: private pairs (5 + 7) / 2, public pairs (1 + 3) / 2
    assert image_tests.effect(found, public) == {"unary": 3.0, "binary": 4.0}


def test_permutations_are_those_of_images() -> None:
    """All six splits of four images, by hand: the pairs' p counts splits at least as far apart."""
    pairs = np.zeros((4, 4))
    pairs[2, 3] = pairs[3, 2] = 6.0
    found = Steadiness(np.array([4.0, 3, 2, 1]), pairs)
    tested = image_tests.image_test(found, np.array([True, True, False, False]), 100, np.random.default_rng(0))
    assert tested["unary"].p == pytest.approx(1 / 6)
    assert tested["binary"].effect == pytest.approx(6.0)
    assert tested["binary"].p == pytest.approx(1 / 6)
    assert tested["binary"].exact


def test_null_is_uniform_and_an_effect_is_found() -> None:
    rng = np.random.default_rng(0)
    null: dict[str, list[float]] = {"unary": [], "binary": []}
    for _ in range(1000):
        for name, result in image_tests.image_test(*made(16, rng), 200, rng).items():
            null[name].append(result.p)
    for values in null.values():
        assert uniformity_p(np.array(values)) > 0.01
    for result in image_tests.image_test(*made(60, rng, shift=1.5), 500, rng).values():
        assert result.p < 0.01


def test_bootstrap_brackets_the_effect() -> None:
    rng = np.random.default_rng(1)
    found, public = made(80, rng, shift=1.0)
    effect = image_tests.effect(found, public)
    for name, draws in image_tests.bootstrap(found, public, 800, rng).items():
        low, high = np.quantile(draws, [0.025, 0.975])
        assert low < effect[name] < high
        assert abs(float(draws.mean()) - effect[name]) < float(draws.std())


def test_steadiness_of_a_mean() -> None:
    rng = np.random.default_rng(2)
    (a, _), (b, _) = made(6, rng), made(6, rng)
    mean = a.plus(b).over(2)
    np.testing.assert_allclose(a.minus(mean).unary, (a.unary - b.unary) / 2)
    np.testing.assert_allclose(a.minus(mean).binary, (a.binary - b.binary) / 2)


def test_published_vector_and_its_pseudo_replication() -> None:
    """2K numbers; on models that never saw the images its p-values are far too often small."""
    rng = np.random.default_rng(3)
    public = np.arange(16) < 8
    wrong = 0
    for _ in range(60):
        base = rng.normal(size=(2, 1, 24, 1, 6))  # two models, each with its own idea of 24 images
        vectors = []
        for model in base:
            rounds = []
            views = model + 0.3 * rng.normal(size=(1, 24, 4, 6)) * rng.uniform(0.5, 2, size=(1, 24, 1, 1))
            for _ in range(20):
                chosen = np.concatenate([rng.choice(12, 8, replace=False), 12 + rng.choice(12, 8, replace=False)])
                rounds.append(views[0, chosen])
            stacked = np.stack(rounds)
            vectors.append(image_tests.paper_vector(stacked[:, :, :2], stacked[:, :, 2:], public, 1.0))
        assert vectors[0].shape == (40,)
        wrong += image_tests.paper_p(vectors[0], [vectors[1]]) < 0.05
    assert wrong / 60 > 0.2
