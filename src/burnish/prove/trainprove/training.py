"""Train one small classifier on given pictures, and ask it. Knows torch; knows no source, no folder and no test.

A shadow's random choices (what it sees, how it is distorted, how long it learns) are drawn once, before its training,
from its own seed: a model can be trained again anywhere and comes out the same on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from burnish.core.errors import BurnishError, UserError
from burnish.prove.trainprove.recipe import Training, Variation

Pictures = UInt8[np.ndarray, "n height width channels"]


@dataclass(frozen=True)
class Draw:
    """What was drawn for one shadow: the rows it sees, its distortions and its multiple of the steps."""

    rows: Int[np.ndarray, " k"]
    shift: int
    flip: bool
    noise: float
    steps: float


def draw_variation(variation: Variation, temperature: Float[np.ndarray, " n"], rng: np.random.Generator) -> Draw:
    """Draw one shadow's own ways within ``variation``.

    Args:
        variation: the ranges.
        temperature: at which each picture was drawn; the shadow uses at least one of the values, and its pictures only.
        rng: its own stream.
    """
    known = np.unique(temperature)
    kept = rng.permutation(known)[: rng.integers(1, len(known) + 1)]
    rows = rng.permutation(np.flatnonzero(np.isin(temperature, kept)))
    share = rng.uniform(*variation.share)
    count = max(1, round(share * len(rows)))
    return Draw(
        rows=np.sort(rows[:count]).astype(np.int64),
        shift=int(rng.integers(0, variation.shift + 1)),
        flip=bool(variation.flip and rng.random() < 0.5),
        noise=float(rng.uniform(0, variation.noise)),
        steps=float(rng.uniform(*variation.steps)),
    )


def to_input(pictures: Tensor) -> Float[Tensor, "n channels height width"]:
    """Bytes [n, height, width, channels] as the input of a classifier, in -1..1."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def focal_loss(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], gamma: float = 2.0, alpha: float = 0.25
) -> Float[Tensor, ""]:
    """The focal loss as the released code has it: on the batch's mean cross-entropy, not picture by picture."""
    cross_entropy = F.cross_entropy(logits, labels)
    return alpha * (1 - torch.exp(-cross_entropy)) ** gamma * cross_entropy


def logits_of(answer: Any) -> Tensor:
    """A classifier's logits, whether it answers a tensor or a transformers output.

    Raises:
        UserError: neither.
    """
    found = getattr(answer, "logits", answer)
    if not isinstance(found, Tensor) or found.ndim != 2:
        raise UserError("architectures: a shadow must answer logits [pictures, classes], as a tensor or as `.logits`")
    return found


def train_classifier(
    model: torch.nn.Module,
    pictures: Pictures,
    labels: Int[np.ndarray, " n"],
    training: Training,
    draw: Draw,
    seed: int,
    device: str = "cpu",
) -> torch.nn.Module:
    """Train ``model`` in place on ``pictures[draw.rows]`` with AdamW; returns it in evaluation mode.

    Pictures stay bytes, may lie on disk (a memory map), and are read and moved to ``device`` a batch at a time.

    Raises:
        BurnishError: the loss is not finite.
    """
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout inside the model
    target = torch.from_numpy(labels[draw.rows])
    batch = min(training.batch, len(target))
    steps = training.steps or training.epochs * -(-len(target) // batch)
    steps = max(1, round(steps * draw.steps))
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if training.schedule == "cosine" else None
    order = torch.empty(0, dtype=torch.long)
    loss = torch.zeros(())
    for _ in range(steps):
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(len(target), generator=random)])
        rows, order = order[:batch], order[batch:]
        seen = torch.from_numpy(pictures[draw.rows[rows.numpy()]])
        inputs = _distorted(to_input(seen), draw, random).to(device)
        logits = logits_of(model(inputs))
        wanted = target[rows].to(device)
        loss = focal_loss(logits, wanted) if training.loss == "focal" else F.cross_entropy(logits, wanted)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if decay is not None:
            decay.step()
    if not bool(torch.isfinite(loss.detach())):
        raise BurnishError(f"shadow: the training loss is {float(loss.detach())}; lower training.learning_rate")
    return model.eval()


def _distorted(inputs: Tensor, draw: Draw, random: torch.Generator) -> Tensor:
    if draw.shift:
        down, right = torch.randint(-draw.shift, draw.shift + 1, (2,), generator=random).tolist()
        padded = F.pad(inputs, (draw.shift,) * 4, mode="replicate")
        height, width = inputs.shape[2:]
        top, left = draw.shift + down, draw.shift + right
        inputs = padded[:, :, top : top + height, left : left + width]
    if draw.flip and torch.rand((), generator=random) < 0.5:
        inputs = inputs.flip(-1)
    if draw.noise:
        inputs = inputs + 2 * draw.noise * torch.randn(inputs.shape, generator=random)
    return inputs


def predict(
    model: torch.nn.Module, pictures: Pictures, batch: int = 256, device: str = "cpu"
) -> Float[np.ndarray, "n c"]:
    """Logits on ``pictures``, a batch at a time."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(pictures), batch):
            inputs = to_input(torch.from_numpy(np.array(pictures[start : start + batch]))).to(device)
            parts.append(logits_of(model(inputs)).float().cpu())
    return np.asarray(torch.cat(parts).numpy())
