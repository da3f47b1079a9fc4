"""Collections of small pictures as bytes, for encoders that train in seconds: digits, halved MNIST, emoji, clip art."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from burnish.testbeds.data import load_digits, load_mnist, load_pictures

SIDE = 16
"""Pixels of a side of the coloured collections."""


def collection(name: str) -> UInt8[np.ndarray, "n side side channels"]:
    """All pictures of a collection.

    Args:
        name: ``digits`` (8 pixels, grey), ``mnist`` (14 pixels, grey), or pictures of ``burnish data`` (16 pixels,
            RGB).

    Raises:
        UserError: an unknown collection, or a package that it comes in is missing.
    """
    if name == "digits":
        return np.asarray(load_digits().pixels[..., None] * 255).round().astype(np.uint8)
    if name == "mnist":
        halved: np.ndarray = load_mnist().pixels.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
        return (halved[..., None] * 255).round().astype(np.uint8)
    return np.stack([_small(picture.path) for picture in load_pictures(name)])


def _small(path: Path) -> UInt8[np.ndarray, "side side 3"]:
    """A picture on white."""
    from PIL import Image

    with Image.open(path) as file:
        picture = file.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(white, picture).convert("RGB")
    return np.asarray(flat.resize((SIDE, SIDE), Image.Resampling.BOX))
