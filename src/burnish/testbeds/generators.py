"""Four families of small class-conditional image generators: what an image model's owner has, and how it draws.

A DDPM on a UNet, a few-step twin progressively distilled from it, a diffusion transformer by flow matching, and a
cascade (a transformer at half size, then another that doubles it). Models and schedulers are diffusers'. Pictures are
grey, float32 in 0..1, [n, side, side]. Trained by ``generator_training``. Knows nothing of what the pictures
are for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from burnish.core.errors import UserError

Pixels = Float[np.ndarray, "n side side"]
Labels = Int[np.ndarray, " n"]
TRAIN_STEPS = 1000
"""Noise levels of the diffusion schedule while training."""


@runtime_checkable
class Generator(Protocol):
    """Draws pictures of given classes."""

    def draw(self, labels: Labels, seed: int, temperature: float = 1.0) -> Pixels:
        """One picture a label; the same seed gives the same pictures. ``temperature`` scales the randomness."""
        ...


@dataclass(frozen=True)
class Spend:
    """What training a family costs: optimizer steps, pictures a step, width, and solver steps of a drawing.

    Attributes:
        ddpm, distill, flow, cascade: optimizer steps (the cascade's are for each of its two stages).
        batch: pictures a step.
        width: channels of the UNet's first block; a multiple of 8.
        heads: attention heads (of 16 numbers) of the transformers.
        solver: steps of a full drawing.
        few: steps of the twin's drawing; divides ``solver``.
    """

    ddpm: int = 300
    distill: int = 100
    flow: int = 700
    cascade: int = 450
    batch: int = 64
    width: int = 16
    heads: int = 2
    solver: int = 12
    few: int = 3

    def __post_init__(self) -> None:
        if self.solver % self.few:
            raise UserError(f"few: {self.few} steps do not divide {self.solver}; the twin skips whole steps")


@dataclass(frozen=True)
class Diffusion:
    """A DDPM that predicts the clean picture, drawn by DDIM in ``steps`` steps. Salimans and Ho, 2022, for the twin."""

    model: Any
    steps: int
    side: int

    def draw(self, labels: Labels, seed: int, temperature: float = 1.0) -> Pixels:
        """See :class:`Generator`."""

        def some(label: Tensor, noise: Tensor) -> Tensor:
            schedule = ddim_schedule(self.steps)
            now = noise
            for step in schedule.timesteps:
                clean = self.model(now, step, class_labels=label).sample
                now = schedule.step(clean, step, now).prev_sample
            return now

        return _drawn(some, labels, seed, temperature, self.side)


@dataclass(frozen=True)
class Flow:
    """A diffusion transformer (Peebles and Xie, 2023) trained by flow matching (Lipman et al., 2023); Euler steps.

    It predicts the clean picture, and the velocity is made of that (Li and He, 2025): a small transformer learns it
    sooner.

    ``below`` is the first stage of a cascade: its picture, doubled, is a second input channel.
    """

    model: Any
    steps: int
    side: int
    below: Flow | None = None

    def draw(self, labels: Labels, seed: int, temperature: float = 1.0) -> Pixels:
        """See :class:`Generator`."""
        small = self.below.draw(labels, seed + 1, temperature) if self.below is not None else None
        parts = iter(torch.split(torch.from_numpy(small * 2 - 1)[:, None], DRAWN)) if small is not None else None

        def some(label: Tensor, noise: Tensor) -> Tensor:
            from diffusers import FlowMatchEulerDiscreteScheduler

            schedule = FlowMatchEulerDiscreteScheduler(num_train_timesteps=TRAIN_STEPS)
            schedule.set_timesteps(self.steps)
            hint = F.interpolate(next(parts), size=self.side, mode="bilinear") if parts is not None else None
            now = noise
            for step in schedule.timesteps:
                inputs = now if hint is None else torch.cat([now, hint], dim=1)
                clean = self.model(inputs, timestep=step.expand(len(now)), class_labels=label).sample
                now = schedule.step((now - clean) / (step / TRAIN_STEPS), step, now).prev_sample
            return now

        return _drawn(some, labels, seed, temperature, self.side)


DRAWN = 250
"""Pictures drawn at a time."""


def _drawn(
    some: Callable[[Tensor, Tensor], Tensor], labels: np.ndarray, seed: int, temperature: float, side: int
) -> np.ndarray:
    random = torch.Generator().manual_seed(seed)
    noise = temperature * torch.randn(len(labels), 1, side, side, generator=random)
    with torch.no_grad():
        batches = zip(torch.split(torch.from_numpy(labels), DRAWN), torch.split(noise, DRAWN), strict=True)
        parts = [some(classes, start) for classes, start in batches]
    return np.asarray((torch.cat(parts)[:, 0] / 2 + 0.5).clamp(0, 1).numpy())


def ddim_schedule(steps: int) -> Any:
    """The noise schedule of the DDPM, drawn by DDIM in so many steps."""
    from diffusers import DDIMScheduler

    schedule = DDIMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        timestep_spacing="trailing",
    )
    schedule.set_timesteps(steps)
    return schedule
