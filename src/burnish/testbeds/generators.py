"""Four families of small class-conditional image generators, trained from scratch: what an image model's owner has.

A DDPM on a UNet, a few-step twin progressively distilled from it, a diffusion transformer by flow matching, and a
cascade (a transformer at half size, then another that doubles it). Models and schedulers are diffusers'. Pictures are
grey, float32 in 0..1, [n, side, side]. Knows nothing of what the pictures are for.
"""

from __future__ import annotations

import copy
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
            schedule = _schedule(self.steps)
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


def _schedule(steps: int) -> Any:
    from diffusers import DDIMScheduler

    schedule = DDIMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        timestep_spacing="trailing",
    )
    schedule.set_timesteps(steps)
    return schedule


def _unet(side: int, classes: int, width: int) -> Any:
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=side,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(width, 2 * width),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        num_class_embeds=classes,
        add_attention=False,
    )


def _transformer(side: int, classes: int, heads: int, channels: int, patch: int) -> Any:
    from diffusers import DiTTransformer2DModel

    return DiTTransformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=16,
        in_channels=channels,
        out_channels=1,
        num_layers=2,
        sample_size=side,
        patch_size=patch,
        num_embeds_ada_norm=classes,
        norm_num_groups=1,
    )


def _optimise(model: Any, steps: int, loss: Callable[[], Tensor], rate: float) -> None:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(2, steps), pct_start=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(loss())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay.step()
    model.eval()


def _batches(pixels: np.ndarray, labels: np.ndarray, batch: int, random: torch.Generator) -> Callable[[], Any]:
    clean, label = torch.from_numpy(pixels)[:, None] * 2 - 1, torch.from_numpy(labels)

    def take() -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.randint(len(label), (batch,), generator=random)
        return clean[rows], label[rows], torch.randn(batch, 1, *clean.shape[2:], generator=random)

    return take


def _start(pixels: np.ndarray, labels: np.ndarray, seed: int) -> tuple[torch.Generator, int]:
    if len(pixels) == 0 or len(pixels) != len(labels):
        raise UserError(
            f"generator: {len(pixels)} pictures and {len(labels)} labels; give as many of each, at least one"
        )
    torch.manual_seed(seed)  # modules draw their first weights, and their dropout, from the global stream
    return torch.Generator().manual_seed(seed), pixels.shape[1]


def train_ddpm(pixels: Pixels, labels: Labels, classes: int, spend: Spend, seed: int) -> Diffusion:
    """A DDPM (Ho et al., 2020) on a UNet with class embeddings.

    Raises:
        UserError: no pictures, or not as many labels.
    """
    random, side = _start(pixels, labels, seed)
    model, schedule = _unet(side, classes, spend.width), _schedule(spend.solver)
    take = _batches(pixels, labels, spend.batch, random)

    def loss() -> Tensor:
        clean, label, noise = take()
        step = torch.randint(TRAIN_STEPS, (len(label),), generator=random)
        return F.mse_loss(model(schedule.add_noise(clean, noise, step), step, class_labels=label).sample, clean)

    _optimise(model, spend.ddpm, loss, 2e-3)
    return Diffusion(model, spend.solver, side)


def distill(teacher: Diffusion, pixels: Pixels, labels: Labels, spend: Spend, seed: int) -> Diffusion:
    """The few-step twin: one of its DDIM steps learns to land where ``solver / few`` steps of the teacher do.

    Progressive distillation (Salimans and Ho, 2022, algorithm 2): the target is the clean picture which one step would
    have to predict.

    Raises:
        UserError: no pictures, or not as many labels.
    """
    random, side = _start(pixels, labels, seed)
    student = copy.deepcopy(teacher.model)
    fine, skip = _schedule(teacher.steps), teacher.steps // spend.few
    kept = torch.cat([fine.alphas_cumprod[fine.timesteps], fine.final_alpha_cumprod[None]])
    take = _batches(pixels, labels, spend.batch, random)

    def loss() -> Tensor:
        clean, label, noise = take()
        first = skip * int(torch.randint(spend.few, (1,), generator=random))
        start = fine.add_noise(clean, noise, fine.timesteps[first].expand(len(label)))
        now = start
        with torch.no_grad():
            for step in fine.timesteps[first : first + skip]:
                now = fine.step(teacher.model(now, step, class_labels=label).sample, step, now).prev_sample
            (a, s), (b, t) = ((kept[i].sqrt(), (1 - kept[i]).sqrt()) for i in (first, first + skip))
            target = ((now - t / s * start) / (b - t / s * a)).clamp(-1, 1)
        return F.mse_loss(student(start, fine.timesteps[first], class_labels=label).sample, target)

    _optimise(student, spend.distill, loss, 1e-3)
    return Diffusion(student, spend.few, side)


def _train_flow(
    pixels: np.ndarray, labels: np.ndarray, model: Any, spend: Spend, steps: int, random: torch.Generator, half: bool
) -> None:
    take = _batches(pixels, labels, spend.batch, random)

    def loss() -> Tensor:
        clean, label, noise = take()
        time = torch.rand(len(label), generator=random)
        mixed = torch.lerp(clean, noise, time[:, None, None, None])
        if half:
            # the hint is a little noisy: the first stage's pictures are not perfect either
            small = F.avg_pool2d(clean, 2)
            small = small + 0.1 * torch.randn(small.shape, generator=random)
            mixed = torch.cat([mixed, F.interpolate(small, size=clean.shape[-1], mode="bilinear")], dim=1)
        return F.mse_loss(model(mixed, timestep=time * TRAIN_STEPS, class_labels=label).sample, clean)

    _optimise(model, steps, loss, 2e-3)


def train_flow(pixels: Pixels, labels: Labels, classes: int, spend: Spend, seed: int) -> Flow:
    """A diffusion transformer by flow matching. The side must be even.

    Raises:
        UserError: no pictures, not as many labels, or an odd side.
    """
    random, side = _start(pixels, labels, seed)
    _even(side)
    model = _transformer(side, classes, spend.heads, channels=1, patch=2)
    _train_flow(pixels, labels, model, spend, spend.flow, random, half=False)
    return Flow(model, spend.solver, side)


def train_cascade(pixels: Pixels, labels: Labels, classes: int, spend: Spend, seed: int) -> Flow:
    """Two stages: pictures of half the side, then their doubling. The side must be even.

    Raises:
        UserError: no pictures, not as many labels, or an odd side.
    """
    random, side = _start(pixels, labels, seed)
    _even(side)
    small = F.avg_pool2d(torch.from_numpy(pixels)[:, None], 2)[:, 0].numpy()
    first = _transformer(side // 2, classes, spend.heads, channels=1, patch=1)
    _train_flow(small, labels, first, spend, spend.cascade, random, half=False)
    second = _transformer(side, classes, spend.heads, channels=2, patch=2)
    _train_flow(pixels, labels, second, spend, spend.cascade, random, half=True)
    return Flow(second, spend.solver, side, below=Flow(first, spend.solver, side // 2))


def _even(side: int) -> None:
    if side % 2:
        raise UserError(f"generator: pictures of {side} x {side}; the transformer cuts patches of 2, give an even side")
