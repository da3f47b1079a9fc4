"""Tiny image classifiers trained from scratch: one base and its fine-tunes to disjoint tasks, for merging.

Knows transformers' ViT, the data that packages carry, and one recorded recipe; knows nothing of merging. A base is
pre-trained jointly on the pooled tasks, briefly on purpose: a well pre-trained base leaves a merge nothing to decide.
(How briefly was settled on experts and uniform merges: with 75 steps a task the best of these hardly leaves the base,
with 100 it loses 8 to 13 points to two experts, with 150 less than one, and there, in one whole cell of a seed that no
study uses, no search gained anything either.)
Every task then gets a fine-tune with a head of its own. Deterministic on CPU by regime and seed.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from burnish.core.parallel import one_thread
from burnish.testbeds.data import Images, load_digits, load_mnist
from burnish.testbeds.shapes import noisy_shapes

if TYPE_CHECKING:
    import torch
    from transformers import ViTForImageClassification

SIDE = 16
"""Pixels of a side; patches of 4 x 4 make 16 of them."""
CLASSES = 10
TASKS = ("mnist", "permuted", "digits", "shapes")


@dataclass(frozen=True)
class Regime:
    """How far the experts are from their base, and how many there are.

    Attributes:
        tasks: one expert each.
        steps: of fine-tuning.
        learning_rate: of fine-tuning; AdamW, batches of 64.
    """

    tasks: tuple[str, ...]
    steps: int = 150
    learning_rate: float = 1e-3


REGIMES = {
    "two": Regime(TASKS[:2]),
    "half": Regime(TASKS, learning_rate=3e-4),
    "far": Regime(TASKS),
}
"""Two experts with large drift; four with about half of it; four with large drift."""


@dataclass(frozen=True)
class Budget:
    """What a world costs.

    Attributes:
        pretraining: steps of the base for each task in its pool.
        finetuning: share of the regime's steps.
        validation: images in all, the same number for each task.
        test: images a task.
    """

    pretraining: int = 100
    finetuning: float = 1.0
    validation: int = 1200
    test: int = 500


@dataclass(frozen=True)
class TaskSplits:
    """Disjoint images of one task. The two MNIST tasks split the same images alike, so that none leaks between them."""

    name: str
    train: Images
    validation: Images
    test: Images


@dataclass(frozen=True)
class World:
    """A base, its experts and their tasks, in one order."""

    base: ViTForImageClassification
    experts: list[ViTForImageClassification]
    tasks: list[TaskSplits]


def load_tasks(names: Sequence[str], seed: int, budget: Budget) -> list[TaskSplits]:
    """Images of 16 x 16 in 0..1, split at random.

    Args:
        names: of ``TASKS``.
        seed: of the splits, of the permutation and of the shapes.
        budget: how many images are held back.

    Raises:
        UserError: a package that carries the data is missing.
    """
    return [_split(name, _images(name, seed), seed, budget.validation // len(names), budget.test) for name in names]


@functools.lru_cache(maxsize=1)
def _mnist() -> Images:
    # seconds of parsing text, and two tasks of every world ask for it
    return load_mnist()


def _images(name: str, seed: int) -> Images:
    loaders: dict[str, Callable[[], Images]] = {
        "mnist": _mnist,
        "permuted": _mnist,
        "digits": load_digits,
        "shapes": lambda: noisy_shapes(4000, SIDE, seed),
    }
    images = loaders[name]()
    pixels = _resized(images.pixels)
    return Images(permuted_inverted(pixels, seed) if name == "permuted" else pixels, images.labels)


def _resized(pixels: np.ndarray) -> np.ndarray:
    import torch

    tensor = torch.from_numpy(pixels)[:, None]
    resized = torch.nn.functional.interpolate(tensor, (SIDE, SIDE), mode="bilinear", antialias=True)
    array: np.ndarray = resized[:, 0].clamp(0, 1).numpy()
    return array


def permuted_inverted(pixels: np.ndarray, seed: int) -> np.ndarray:
    """The 16 patches of every image in one random order, black and white exchanged."""
    order = np.random.default_rng([seed, 1]).permutation(16)
    tiles = pixels.reshape(-1, 4, 4, 4, 4).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 4, 4)[:, order]
    return 1 - tiles.reshape(-1, 4, 4, 4, 4).transpose(0, 1, 3, 2, 4).reshape(-1, SIDE, SIDE)


def _split(name: str, images: Images, seed: int, validation: int, test: int) -> TaskSplits:
    order = np.random.default_rng([seed, 2]).permutation(len(images.labels))
    parts = [order[test + validation :], order[test : test + validation], order[:test]]
    return TaskSplits(name, *(Images(images.pixels[part], images.labels[part]) for part in parts))


def train_world(regime: str, seed: int, budget: Budget | None = None) -> World:
    """Base, experts and data of a regime; about 20 seconds on one core for four experts.

    Args:
        regime: of ``REGIMES``.
        seed: of data, weights and batches.
        budget: default: the recorded one.

    Raises:
        UserError: a package that carries the data is missing.
    """
    budget, plan = budget or Budget(), REGIMES[regime]
    tasks = load_tasks(plan.tasks, seed, budget)
    with one_thread():
        base = new_model(seed)
        pooled = Images(*(np.concatenate([getattr(t.train, part) for t in tasks]) for part in ("pixels", "labels")))
        train(base, pooled, budget.pretraining * len(tasks), 1e-3, seed)
        experts = []
        for number, task in enumerate(tasks, 1):
            expert = copy.deepcopy(base)
            train(expert, task.train, round(plan.steps * budget.finetuning), plan.learning_rate, seed + 1000 * number)
            experts.append(expert)
    return World(base, experts, tasks)


def new_model(seed: int) -> ViTForImageClassification:
    """The untrained classifier: 6 blocks of width 48, one head each, over 16 patches."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=SIDE,
        patch_size=4,
        num_channels=1,
        hidden_size=48,
        num_hidden_layers=6,
        num_attention_heads=1,
        intermediate_size=48,
        hidden_act="relu",
        initializer_range=0.1,
        num_labels=CLASSES,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: ViTForImageClassification = ViTForImageClassification(config)
    return model.eval()


def train(model: ViTForImageClassification, images: Images, steps: int, learning_rate: float, seed: int) -> None:
    """AdamW on random batches of 64, in place; no dropout in the model, so the seed decides everything."""
    import torch

    pixels, labels = to_tensors(images)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, fused=True)
    model.train()
    for _ in range(steps):
        batch = torch.randint(len(labels), (64,), generator=generator)
        loss = torch.nn.functional.cross_entropy(model(pixels[batch]).logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()


def to_tensors(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """As the model takes them: pixels [n, 1, 16, 16] and labels [n]."""
    import torch

    return torch.from_numpy(images.pixels)[:, None], torch.from_numpy(images.labels)


def write_experts(work: Path) -> None:
    """The two experts with large drift as folders and files, laid out as ``recipes/rmm`` expects them.

    ``models/base``, ``models/expert-a`` (MNIST), ``models/expert-b`` (MNIST permuted and inverted), and
    ``data/{a,b}-{train,validation,test}.npz`` with ``images`` [n, 1, 16, 16] and ``labels`` [n].

    Args:
        work: an existing folder.
    """
    world = train_world("two", seed=0)
    world.base.save_pretrained(work / "models" / "base")
    (work / "data").mkdir()
    for letter, expert, task in zip("ab", world.experts, world.tasks, strict=True):
        expert.save_pretrained(work / "models" / f"expert-{letter}")
        for part in ("train", "validation", "test"):
            images: Images = getattr(task, part)
            np.savez(work / "data" / f"{letter}-{part}.npz", images=images.pixels[:, None], labels=images.labels)
