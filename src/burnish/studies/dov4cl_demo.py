"""Pictures and two suspects for trying an ownership audit without a hub: handwritten digits, an encoder that was trained on
the public ones, and one that was not. A recipe names them as ``burnish.studies.dov4cl_demo:NAME``.

A suspect is trained the first time that it is asked (seconds) and kept in the user's cache.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.files import write_atomic
from burnish.core.paths import cache
from burnish.prove.images import ImageSet

SIZE, SEED = 100, 500
"""Pictures in each of the owner's sets; the seed of the split, none of the study's."""


def public() -> ImageSet:
    """100 digits of 14 x 14 pixels: what the owner published."""
    return _part(0, SIZE, "public")


def private() -> ImageSet:
    """100 more that nobody else ever had."""
    return _part(SIZE, 2 * SIZE, "private")


def others() -> ImageSet:
    """3,000 of the same kind, for shadow encoders."""
    return _part(3 * SIZE, 3 * SIZE + 3000, "other")


def thief(images: np.ndarray) -> np.ndarray:
    """Embeddings by an encoder that was trained on the public digits."""
    return _embed("thief", images)


def innocent(images: np.ndarray) -> np.ndarray:
    """Embeddings by an encoder that was trained on 100 digits which are neither public nor private, nor a shadow's."""
    return _embed("innocent", images)


def _part(start: int, stop: int, word: str) -> ImageSet:
    from burnish.studies.dov4cl_cell import collection

    pixels = collection("mnist")
    places = np.random.default_rng(SEED).permutation(len(pixels))[start:stop]
    return ImageSet(pixels[places], tuple(f"{word} digit {place}" for place in places))


def _embed(name: str, images: np.ndarray) -> np.ndarray:
    from burnish.core.parallel import one_thread
    from burnish.studies.dov4cl_cell import embed

    with one_thread():
        return embed(_suspect(name, cache() / "models" / "dov4cl-demo"), images)


@functools.cache
def _suspect(name: str, folder: Path) -> Any:
    from burnish.core.models import load_model
    from burnish.prove.contrastive.train import Training, train_encoder
    from burnish.studies.dov4cl_cell import train_settings

    images = public() if name == "thief" else _part(2 * SIZE, 3 * SIZE, "elsewhere")
    buffer = io.BytesIO()
    np.save(buffer, images.pixels)
    pixels = write_atomic(folder / f"{name}.npy", buffer.getvalue())
    return load_model(train_encoder(Training(train_settings("simclr", 500), pixels, SEED, folder / name)))
