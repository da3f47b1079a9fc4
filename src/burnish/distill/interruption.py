"""Temporal interruption: some frames of a clip are dropped, or half of them change places with the other half.

A plan says for each slot which slot's content it gets; it is drawn from the sample's own random numbers, so a sample is
interrupted the same way in any batch and after a resume. Pictures have no time: there patches take the place of frames.
Pure. Source: SAKD, section 3 and appendix; the patches are ours.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from burnish.core.errors import UserError
from burnish.distill.settings import InterruptionSettings, RateCourse

DROPPED = -1
"""In a plan: this slot is empty."""


def interruption_rate(done: float, settings: InterruptionSettings) -> float:
    """beta, never above the threshold.

    >>> round(interruption_rate(0.5, InterruptionSettings()), 4)
    0.4641

    Args:
        done: share of the training that is over, (epoch - 1) / epochs: at the first epoch 0, nothing is interrupted.
        settings: course and threshold.
    """
    return min(_course(done, settings.course, settings.power), settings.threshold)


def _course(done: float, course: RateCourse, power: float) -> float:
    if course == "poly":
        return float(1 - (1 - done) ** power)
    return done if course == "linear" else (1 - math.cos(math.pi * done)) / 2


def plan_interruption(
    sample: str, evaluation: int, slots: int, rate: float, threshold: float = 0.5, seed: int = 0
) -> Int64[np.ndarray, " slots"]:
    """Which slot each slot gets its content from.

    Below the threshold floor(rate x slots) random ones are empty. From it on a random half of the slots exchanges with
    the other half, pair by pair: doing it twice gives the clip back. Of an odd number one slot stays.

    Args:
        sample: id.
        evaluation: number of the pass over the set.
        slots: frames of a clip, or patches of a picture.
        rate: of :func:`interruption_rate`.
        threshold: from which on contents change places.
        seed: of the run.
    """
    key = int.from_bytes(hashlib.sha256(f"{seed} {evaluation} {sample}".encode()).digest()[:16], "big")
    order = np.random.Generator(np.random.Philox(key=key)).permutation(slots)
    plan = np.arange(slots, dtype=np.int64)
    if rate < threshold:
        plan[order[: math.floor(rate * slots)]] = DROPPED
        return plan
    half = slots // 2
    first, second = order[:half], order[half : 2 * half]
    plan[first], plan[second] = second, first
    return plan


def interrupt_frames(
    clips: Float[Tensor, "batch time channels height width"], plans: Int64[Tensor, "batch time"]
) -> Float[Tensor, "batch time channels height width"]:
    """Clips with their frames dropped (zero: mean grey, where they are normalised) or exchanged.

    Args:
        clips: as the model takes them.
        plans: of :func:`plan_interruption`, one a clip.
    """
    taken = torch.take_along_dim(clips, plans.clamp_min(0)[:, :, None, None, None], dim=1)
    return taken * (plans != DROPPED)[:, :, None, None, None]


def interrupt_patches(
    images: Float[Tensor, "batch channels height width"], plans: Int64[Tensor, "batch patches"], side: int
) -> Float[Tensor, "batch channels height width"]:
    """Pictures with square patches dropped or exchanged; patches are counted row by row.

    Args:
        images: as the model takes them.
        plans: of :func:`plan_interruption`, (height / side) x (width / side) slots.
        side: pixels of a patch.

    Raises:
        UserError: patches of that side do not fill the picture.
    """
    batch, channels, height, width = images.shape
    if height % side or width % side:
        raise UserError(f"interruption: patches of {side} px do not fill pictures of {height} x {width}")
    rows, columns = height // side, width // side
    if plans.shape[1] != rows * columns:
        raise UserError(f"interruption: plans of {plans.shape[1]} patches for pictures of {rows * columns}")
    patches = images.reshape(batch, channels, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
    changed = interrupt_frames(patches.reshape(batch, rows * columns, channels, side, side), plans)
    return changed.reshape(batch, rows, columns, channels, side, side).permute(0, 3, 1, 4, 2, 5).reshape(images.shape)
