"""The loop that trains one encoder, resumable at any step, bit by bit. One function of one argument, so that it can run
in any worker process.

Everything random is drawn from (seed, step): a resumed training needs no generator's state. A finished folder is never
trained again.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from burnish.core import checkpoint
from burnish.core.errors import BurnishError, UserError
from burnish.prove.contrastive.augment import NUMBERS, random_views
from burnish.prove.contrastive.backbones import features, new_encoder, normalise, save_encoder, width_of
from burnish.prove.contrastive.learners import LEARNERS, Learner
from burnish.prove.contrastive.recipe import TrainSettings

M = TypeVar("M", bound=torch.nn.Module)


@dataclass(frozen=True)
class Training:
    """One encoder to train.

    Attributes:
        settings: how.
        pixels: file of uint8 images [n, height, width, channels] (``.npy``, read as a memory map).
        seed: of its weights, batches and views.
        folder: where the encoder ends up.
        every: seconds between checkpoints.
        rows: the images to train on; all if ``None``.
    """

    settings: TrainSettings
    pixels: Path
    seed: int
    folder: Path
    every: float = 30.0
    rows: tuple[int, ...] | None = None


def train_encoder(task: Training) -> Path:
    """Train (or finish training) one encoder and save it; at once if it is there already.

    Returns:
        ``task.folder``, in the Hugging Face layout.

    Raises:
        UserError: fewer than two images, or a backbone that does not fit them.
        BurnishError: the loss is not finite any more.
    """
    work = task.folder.with_name(f"{task.folder.name}.training")
    if not (task.folder / "config.json").exists():
        _train(task, work)
    # Killed between the two, it is finished and has its checkpoints still.
    shutil.rmtree(work, ignore_errors=True)
    return task.folder


def _train(task: Training, work: Path) -> None:
    pixels = np.load(task.pixels, mmap_mode="r")
    rows = np.arange(len(pixels)) if task.rows is None else np.array(task.rows)
    if len(rows) < 2:
        raise UserError(f"training images: {len(rows)}; self-supervision needs two or more")
    with torch.random.fork_rng():
        torch.manual_seed(task.seed)
        learner = make_learner(task.settings, pixels.shape[3], pixels.shape[1])
        fit(learner, pixels, rows, task.seed, work, task.every)
    settings = task.settings
    card = (
        f"# {settings.objective} encoder\n\nTrained from scratch on {len(rows)} images, seed {task.seed}: {settings}\n"
    )
    encoder = _laid_out(learner.encoder.cpu(), torch.contiguous_format)
    save_encoder(encoder, task.folder, pixels.shape[3], pixels.shape[1], card)


def make_learner(settings: TrainSettings, channels: int, side: int) -> Learner:
    """A new encoder with the heads of its method, on the device of its settings."""
    encoder = new_encoder(settings.backbone, channels, side)
    learner = LEARNERS[settings.objective](encoder, features, width_of(encoder, channels, side), settings)
    # Channels last is how convolutions compute, on CPUs and GPUs: a step of the small ResNet takes 30 % less.
    return _laid_out(learner.to(settings.device), torch.channels_last)


def _laid_out(module: M, memory_format: torch.memory_format) -> M:
    """A module whose weights lie in memory in another order; torch's own types leave the argument out."""
    return module.to(memory_format=memory_format)  # type: ignore[call-overload, no-any-return]


def fit(
    learner: Learner,
    pixels: UInt8[np.ndarray, "n height width channels"],
    rows: Int[np.ndarray, " images"],
    seed: int,
    work: Path,
    every: float,
    report: Callable[[int, float], None] = lambda _step, _loss: None,
) -> None:
    """Train in place, from the last checkpoint in ``work`` if there is one.

    Args:
        learner: encoder, heads, loss.
        pixels: all pictures, in memory or mapped.
        rows: the ones to train on.
        seed: of batches and views; of dropout too, where the encoder has any (torch's global generator is seeded).
        work: folder of checkpoints.
        every: seconds between them.
        report: told step and loss.

    Raises:
        BurnishError: the loss is not finite.
    """
    settings = learner.settings
    batch = min(settings.batch, len(rows))
    steps = settings.epochs * (len(rows) // batch)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    start = 0
    found = checkpoint.load_latest(work, lambda _message: None)
    if found is not None:
        start = found[0] + 1
        learner.load_state_dict(found[1]["learner"])
        optimizer.load_state_dict(found[1]["optimizer"])
    learner.train()
    saved = time.monotonic()
    for step, images in enumerate(batches(pixels, rows, batch, seed, start), start):
        if step >= steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * (1 + math.cos(math.pi * step / steps)) / 2
        views = training_views(images.to(settings.device), settings, seed, step)
        torch.manual_seed(seed + step)
        loss = learner.loss(views)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        learner.after_step(step / steps)
        if step % 50 == 0 or step == steps - 1:
            value = float(loss.detach())
            if not math.isfinite(value):
                raise BurnishError(f"{work.stem}: the loss is {value} at step {step}; lower lr")
            report(step, value)
        if time.monotonic() - saved >= every:
            checkpoint.save(work, step, {"learner": learner.state_dict(), "optimizer": optimizer.state_dict()}, keep=2)
            saved = time.monotonic()
    learner.eval()


def batches(
    pixels: UInt8[np.ndarray, "n height width channels"],
    rows: Int[np.ndarray, " images"],
    batch: int,
    seed: int,
    start: int,
) -> Iterator[Tensor]:
    """Batches of the pictures at ``rows``: values in [0, 1], [batch, channels, height, width], from step ``start`` on,
    without end.

    Every epoch takes each image at most once, in an order of its own.
    """
    per_epoch = len(rows) // batch
    step = start
    while True:
        order = np.random.default_rng([seed, step // per_epoch]).permutation(len(rows))
        for index in range(step % per_epoch, per_epoch):
            chosen = rows[np.sort(order[index * batch : (index + 1) * batch])]  # in order: kind to a mapped file
            yield torch.from_numpy(np.asarray(pixels[chosen])).permute(0, 3, 1, 2).float() / 255
            step += 1


def training_views(images: Tensor, settings: TrainSettings, seed: int, step: int) -> Tensor:
    """Views [views, batch, channels, height, width] of one step, normalised for the encoder."""
    uniforms = np.random.default_rng([seed, step, 1]).random((settings.views, len(images), NUMBERS), dtype=np.float32)
    drawn = torch.from_numpy(uniforms).flatten(0, 1)
    tiled = images.repeat(settings.views, 1, 1, 1)
    size = (images.shape[-2], images.shape[-1])
    views: Tensor = normalise(random_views(tiled, drawn, settings.view, size))
    return views.reshape(settings.views, *images.shape)
