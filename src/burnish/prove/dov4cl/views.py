"""The views of images that an audit shows to a model: M global and N local crops of each, as 8-bit pictures.

View v of image i in draw r is a function of (seed, kind of view, r, i, v) alone: however the images are batched,
whichever are asked for, it is the same picture bit by bit, so that an answer paid for once is found again.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from burnish.prove.contrastive.augment import NUMBERS, random_views
from burnish.prove.dov4cl.recipe import PipelineSettings

KINDS = ("global", "local")
CACHED = 1 << 18
"""Numbers of a batch of views on a processor: 1 MB."""


def make_views(
    pixels: UInt8[np.ndarray, "n height width channels"],
    index: Int[np.ndarray, " n"],
    settings: PipelineSettings,
    kind: Literal["global", "local"],
    seed: int,
    draw: int = 0,
) -> UInt8[np.ndarray, "n views rows columns channels"]:
    """All views of one kind of some images.

    Args:
        pixels: 8-bit images, one or three channels.
        index: number of each image in its whole set, which names its random numbers.
        settings: the pipeline.
        kind: which views.
        seed: of the audit.
        draw: a repetition has views of its own.
    """
    count = settings.global_views if kind == "global" else settings.local_views
    view = settings.global_view if kind == "global" else settings.local_view
    height, width = view_size(settings, kind, pixels.shape[1], pixels.shape[2])
    uniforms = torch.from_numpy(numbers(seed, KINDS.index(kind), draw, index, count)).flatten(0, 1)
    images = torch.from_numpy(np.ascontiguousarray(pixels)).to(settings.device).permute(0, 3, 1, 2).float() / 255
    shown = np.empty((len(pixels) * count, height, width, pixels.shape[3]), dtype=np.uint8)
    # on a processor, a few pictures at a time stay in its cache: twice as fast
    step = max(1, CACHED // (count * height * width * pixels.shape[3])) if images.device.type == "cpu" else len(images)
    for start in range(0, len(images), step):
        part = images[start : start + step]
        rows = slice(start * count, (start + len(part)) * count)
        views = random_views(part, uniforms[rows], view, (height, width))
        shown[rows] = views.mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return shown.reshape(len(pixels), count, height, width, pixels.shape[3])


def view_size(settings: PipelineSettings, kind: Literal["global", "local"], height: int, width: int) -> tuple[int, int]:
    """Height and width of a view of an image of this size."""
    if kind == "local" and settings.local_size == "half":
        return max(1, height // 2), max(1, width // 2)
    return height, width


def numbers(
    seed: int, kind: int, draw: int, index: Int[np.ndarray, " n"], views: int
) -> Float[np.ndarray, "n views numbers"]:
    """Uniform numbers of the views, float32: image i takes the i-th block of one counter-based stream.

    The stream is walked once from the first to the last image wanted, without a loop over images.
    """
    if len(index) == 0:
        return np.empty((0, views, NUMBERS), dtype=np.float32)
    first, last = int(index.min()), int(index.max())
    block = views * NUMBERS
    bits = np.random.Philox(np.random.SeedSequence([seed, kind, draw]))
    bits.advance(first * block // 4)  # Philox makes four numbers a count; a block is a multiple of four
    stream = np.random.Generator(bits).random((last - first + 1, views, NUMBERS)).astype(np.float32)
    # float32 rounds the largest doubles up to 1
    return np.asarray(np.minimum(stream[index - first], np.float32(1 - 2**-24)))
