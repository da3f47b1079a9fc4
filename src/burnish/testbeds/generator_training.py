"""The generators of ``generators.py`` trained from scratch, each by its own loss. Models are diffusers'."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from burnish.core.errors import UserError
from burnish.testbeds.generators import TRAIN_STEPS, Diffusion, Flow, Labels, Pixels, Spend, ddim_schedule


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
    model, schedule = _unet(side, classes, spend.width), ddim_schedule(spend.solver)
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
    fine, skip = ddim_schedule(teacher.steps), teacher.steps // spend.few
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
