"""Views of clips: cut, turned over, their light and colour changed; all frames of a clip alike.

A view's parameters are a function of (seed, sample id, view number) and of the settings. They are drawn for each sample
and applied to the batch; no step adds up over pixels in floating point, so a view is the same bit for bit in any batch.
What a teacher said of it may be kept. Knows kornia, on whatever device the clips are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from burnish.core.errors import UserError
from burnish.core.packages import Need, not_installed
from burnish.distill.recipe import AugmentSettings

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601, as kornia has it."""


@dataclass(frozen=True)
class View:
    """How one clip is changed.

    Attributes:
        top: of what is cut out, as a share of the height that is left over.
        left: likewise, of the width.
        height: as a share of the frame's.
        width: likewise.
        flip: left and right exchanged.
        brightness: factor.
        contrast: factor of the distance from the clip's mean grey.
        saturation: 0 grey, 1 as it is.
    """

    top: float
    left: float
    height: float
    width: float
    flip: bool
    brightness: float
    contrast: float
    saturation: float


def plan_view(sample: str, view: int, settings: AugmentSettings, seed: int = 0) -> View:
    """The parameters of one view.

    Args:
        sample: id.
        view: number, from 0.
        settings: what may be changed, how strongly.
        seed: of the run.
    """
    key = int.from_bytes(hashlib.sha256(f"{seed} {view} {sample}".encode()).digest()[:16], "big")
    u = [float(each) for each in np.random.Generator(np.random.Philox(key=key)).random(8)]
    area = settings.crop + (1 - settings.crop) * u[0]
    # an aspect of at most 4:3 either way, as far as the area lets it fit the frame
    ratio = min(4 / 3, 1 / area) ** (2 * u[1] - 1)
    jitter = [1 + settings.jitter * (2 * each - 1) for each in u[5:]]
    return View(
        u[2],
        u[3],
        min(1.0, math.sqrt(area / ratio)),
        min(1.0, math.sqrt(area * ratio)),
        settings.flip and u[4] < 0.5,
        *jitter,
    )


def make_view(
    pixels: UInt8[Tensor, "batch time height width 3"],
    samples: Sequence[str],
    view: int,
    settings: AugmentSettings,
    seed: int = 0,
) -> Float[Tensor, "batch time 3 height width"]:
    """A view of each clip; with the default settings the clip as it is.

    Args:
        pixels: on the device that the view is made on.
        samples: id of each clip.
        view: number, from 0, below ``settings.views``.
        settings: what is changed, how strongly.
        seed: of the run.

    Returns:
        Values in [0, 1], in the size of the clips.

    Raises:
        UserError: not as many ids as clips; kornia is not installed.
    """
    if len(samples) != len(pixels):
        raise UserError(f"views: {len(pixels)} clips and {len(samples)} ids")
    clips = pixels.permute(0, 1, 4, 2, 3).float().div_(255)
    if not settings.varies:
        return clips
    plans = [plan_view(sample, view, settings, seed) for sample in samples]
    if settings.jitter > 0:
        clips = _lit(clips, pixels, plans)
    if settings.crop < 1:
        clips = _cut(clips, plans)
    if settings.flip:
        turned = torch.tensor([plan.flip for plan in plans], device=clips.device)
        mirrored: Tensor = _kornia().geometry.hflip(clips)
        clips = torch.where(turned[:, None, None, None, None], mirrored, clips)
    return clips


def _lit(
    clips: Float[Tensor, "batch time 3 height width"],
    pixels: UInt8[Tensor, "batch time height width 3"],
    plans: Sequence[View],
) -> Float[Tensor, "batch time 3 height width"]:
    """Brightness, then contrast, then saturation, each cut off at [0, 1]."""
    enhance = _kornia().enhance
    batch, time, _, height, width = clips.shape
    brightness, contrast, saturation = (
        torch.tensor([getattr(plan, name) for plan in plans], dtype=clips.dtype, device=clips.device)
        for name in ("brightness", "contrast", "saturation")
    )
    # sums of whole numbers: the same in any order, which those of a mean over floats are not
    sums = pixels.sum(dim=(1, 2, 3), dtype=torch.int64).double() / (255 * time * height * width)
    mean = (sums[:, 0] * LUMA[0] + sums[:, 1] * LUMA[1] + sums[:, 2] * LUMA[2]).to(clips.dtype) * brightness
    frames = clips.transpose(1, 2).reshape(batch, 3, time * height, width)  # one tall picture a clip
    frames = enhance.adjust_brightness_accumulative(frames, brightness)
    factor, middle = contrast[:, None, None, None], mean[:, None, None, None]
    frames = (frames * factor + middle * (1 - factor)).clamp(0, 1)
    lit: Tensor = enhance.adjust_saturation_with_gray_subtraction(frames, saturation)
    return lit.reshape(batch, 3, time, height, width).transpose(1, 2)


def _cut(
    clips: Float[Tensor, "batch time 3 height width"], plans: Sequence[View]
) -> Float[Tensor, "batch time 3 height width"]:
    """What is cut out, enlarged to the whole frame; pixel centres at the edges stay there."""
    batch, time, _, height, width = clips.shape
    down = _places([plan.top for plan in plans], [plan.height for plan in plans], height, clips)
    across = _places([plan.left for plan in plans], [plan.width for plan in plans], width, clips)
    frames = clips.reshape(batch, time * 3, height, width)  # one place is looked up once for all frames
    cut: Tensor = _kornia().geometry.remap(
        frames,
        across[:, None, :].expand(batch, height, width),
        down[:, :, None].expand(batch, height, width),
        padding_mode="border",
        align_corners=True,
    )
    return cut.clamp(0, 1).reshape(clips.shape)


def _places(starts: Sequence[float], shares: Sequence[float], size: int, like: Tensor) -> Float[Tensor, "batch size"]:
    """Where each pixel of a line comes from, in pixels."""
    lasting = [(size - 1) * share for share in shares]
    first = torch.tensor([start * (size - 1 - last) for start, last in zip(starts, lasting, strict=True)])
    step = torch.tensor(lasting) / max(1, size - 1)
    places: Tensor = first[:, None] + step[:, None] * torch.arange(size)
    return places.to(like)


def _kornia() -> Any:
    try:
        import kornia
    except ModuleNotFoundError:
        raise not_installed("augment", Need(("kornia",), "distill")) from None
    return kornia
