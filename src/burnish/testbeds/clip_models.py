"""Small classifiers of clips and pictures, from scratch: a 3-D convolutional net by width, and its training.

Knows torch; nothing of distillation. Deterministic on CPU by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from burnish.core.parallel import one_thread

Net = TypeVar("Net", bound=nn.Module)
Pixels = UInt8[np.ndarray, "samples time height width 3"]
MIDDLE = 0.4
"""Taken off pixels in [0, 1]: about their mean."""
SPREAD = 0.2
"""What is left of pixels once their mean over time is taken off is divided by this: about its deviation."""


class MotionNet(nn.Module):
    """Three convolutions over time and place, each halving the place and the last two the time, then a mean.

    What stands still is taken off first: the mean of each pixel over time.

    Args:
        width: channels of the first, a multiple of 4; the next have two and four times as many. 8 make 18,400 weights
            and 28 make 217,000.
        classes: of the head.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_layer(3, width, (1, 2, 2)),
            *_layer(width, 2 * width, (2, 2, 2)),
            *_layer(2 * width, 4 * width, (2, 2, 2)),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(4 * width, classes)

    def forward(self, pixel_values: Float[Tensor, "batch time 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Logits; pixels with :data:`MIDDLE` taken off."""
        moving = pixel_values - pixel_values.mean(1, keepdim=True)
        logits: Tensor = self.head(self.body(moving.transpose(1, 2) / SPREAD))
        return logits


class FrameNet(nn.Module):
    """The same over single frames: what can be told without time."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(
                layer
                for inputs, outputs in ((3, width), (width, 2 * width), (2 * width, 4 * width))
                for layer in (nn.Conv2d(inputs, outputs, 3, 2, padding=1), _norm(outputs), nn.ReLU())
            ),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(4 * width, classes)

    def forward(self, pixel_values: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Logits; pixels with :data:`MIDDLE` taken off."""
        logits: Tensor = self.head(self.body(pixel_values / SPREAD))
        return logits


def _layer(inputs: int, outputs: int, stride: tuple[int, int, int]) -> list[nn.Module]:
    return [nn.Conv3d(inputs, outputs, 3, stride, padding=1), _norm(outputs), nn.ReLU()]


def _norm(channels: int) -> nn.Module:
    # groups, not batches: subsets and frozen passes see the same model
    return nn.GroupNorm(max(1, channels // 4), channels)


def seeded(make: Callable[[], Net], seed: int) -> Net:
    """An untrained model, in evaluation mode, its weights drawn from a seed of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def as_input(pixels: Pixels) -> Float[Tensor, "samples time 3 height width"]:
    """Stored clips as the net takes them."""
    return torch.from_numpy(pixels).permute(0, 1, 4, 2, 3) / 255 - MIDDLE


def orders(samples: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[Int64[np.ndarray, " batch"]]:
    """Batches over a set again and again, each time in a new order."""
    left = np.zeros(0, np.int64)
    for _ in range(steps):
        while len(left) < batch:
            left = np.concatenate([left, rng.permutation(samples)])
        yield left[:batch]
        left = left[batch:]


def teach_labels(
    model: nn.Module,
    inputs: Float[Tensor, "samples ..."],
    labels: Int64[np.ndarray, " samples"],
    steps: int,
    learning_rate: float,
    seed: int,
    batch: int = 16,
) -> None:
    """Cross-entropy, AdamW, the learning rate rising and falling once; in place, on one thread.

    Args:
        model: from inputs to logits, or to something that has ``logits``.
        inputs: as it takes them.
        labels: classes.
        steps: of the optimizer.
        learning_rate: its highest.
        seed: of the order of samples.
        batch: samples a step.
    """
    targets = torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=0.01, fused=True)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    model.train()
    with one_thread():
        for rows in orders(len(labels), batch, steps, np.random.default_rng([seed, 11])):
            said = model(inputs[rows])
            loss = nn.functional.cross_entropy(getattr(said, "logits", said), targets[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            course.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Float[Tensor, "samples ..."], labels: Int64[np.ndarray, " samples"]) -> float:
    """Share of right answers."""
    parts = [model(part) for part in torch.split(inputs, 256)]
    found = torch.cat([getattr(said, "logits", said).argmax(-1) for said in parts])
    return float((found.numpy() == labels).mean())
