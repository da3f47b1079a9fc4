"""The tiny experts: same seed, same weights; no image in two splits; files that the shipped recipe reads."""

from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.core.paths import shipped
from burnish.merge.rmm.problem import load_problem
from burnish.merge.rmm.recipe import SearchRecipe
from burnish.testbeds import experts
from burnish.testbeds.data import Images
from burnish.testbeds.experts import REGIMES, Budget, load_tasks, permuted_inverted, train_world
from burnish.testbeds.shapes import SHAPES, inside, noisy_shapes

TINY = Budget(pretraining=2, finetuning=0.02, validation=80, test=20)


def _weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_same_seed_same_world_and_experts_differ() -> None:
    first, again = train_world("two", 3, TINY), train_world("two", 3, TINY)
    for one, other in zip([first.base, *first.experts], [again.base, *again.experts], strict=True):
        assert torch.equal(_weights(one), _weights(other))
    for task, same in zip(first.tasks, again.tasks, strict=True):
        assert np.array_equal(task.train.pixels, same.train.pixels)
    assert not torch.equal(_weights(first.experts[0]), _weights(first.experts[1]))
    assert not torch.equal(_weights(first.base), _weights(first.experts[0]))
    assert not torch.equal(_weights(first.base), _weights(train_world("two", 4, TINY).base))


def test_threads_and_generators_are_left_alone() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train_world("two", 0, TINY)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_splits_are_disjoint_and_complete() -> None:
    count = 5000
    numbered = Images(np.arange(count, dtype=np.float32)[:, None, None], np.arange(count, dtype=np.int64))
    for name in ("mnist", "permuted"):
        split = experts._split(name, numbered, seed=1, validation=300, test=500)
        parts = [set(part.labels.tolist()) for part in (split.train, split.validation, split.test)]
        assert [len(part) for part in parts] == [count - 800, 300, 500]
        assert len(set.union(*parts)) == count
        # both MNIST tasks hold back the same images
        assert split.test.labels.tolist() == experts._split("other", numbered, 1, 300, 500).test.labels.tolist()


def test_tasks_share_size_range_and_counts() -> None:
    tasks = load_tasks(REGIMES["far"].tasks, seed=0, budget=Budget())
    assert [task.name for task in tasks] == ["mnist", "permuted", "digits", "shapes"]
    for task in tasks:
        assert task.validation.pixels.shape == (300, 16, 16)
        assert task.test.pixels.shape == (500, 16, 16)
        assert task.train.pixels.dtype == np.float32
        assert 0 <= task.train.pixels.min() < task.train.pixels.max() <= 1
        assert set(task.test.labels.tolist()) == set(range(10))


def test_permutation_moves_whole_patches_and_inverts() -> None:
    pixels = np.random.default_rng(0).random((3, 16, 16), dtype=np.float32)
    moved = 1 - permuted_inverted(pixels, seed=5)

    def patches(image: np.ndarray) -> set[bytes]:
        return {image[4 * r : 4 * r + 4, 4 * c : 4 * c + 4].round(4).tobytes() for r in range(4) for c in range(4)}

    for before, after in zip(pixels, moved, strict=True):
        assert patches(before) == patches(after)
    assert not np.allclose(pixels, moved)


def test_shapes_by_hand() -> None:
    # centre, right edge, far corner of each shape's own frame
    u, v = np.array([0.0, 0.95, 0.95]), np.array([0.0, 0.0, 0.95])
    inked = {name: row.tolist() for name, row in zip(SHAPES, inside(u, v), strict=True)}
    assert inked["disc"] == [True, True, False]
    assert inked["ring"] == [False, True, False]
    assert inked["bar"] == [True, True, False]
    assert inked["column"] == [True, False, False]
    images = noisy_shapes(20, 16, seed=0)
    assert images.labels.tolist() == [*range(10), *range(10)]
    assert np.array_equal(images.pixels, noisy_shapes(20, 16, seed=0).pixels)


def test_written_files_are_what_the_shipped_recipe_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experts, "train", lambda *arguments: None)
    (tmp_path / "vit-experts").mkdir()
    experts.write_experts(tmp_path / "vit-experts")
    monkeypatch.chdir(tmp_path)
    for name in ("tiny", "scales"):
        recipe = SearchRecipe.load(shipped("recipes") / "rmm" / f"{name}.yaml")
        problem = load_problem(recipe)
        assert problem.names == ("expert-a", "expert-b")
        assert [len(task) for task in problem.tests] == [500, 500]
        assert [len(task) for task in problem.tasks] == [600, 600]
