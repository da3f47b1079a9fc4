"""The HTTP endpoint, as both sides see it: JSON with base64 PNGs in, numbers out. Shared by the client and the
server."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Annotated

import numpy as np
from jaxtyping import UInt8
from pydantic import BaseModel, ConfigDict, Field

from burnish.prove.suspects.settings import Answer

PATH = "/v1/answers"
PIXELS = 64 << 20  # larger pictures are refused by the server before they are decoded
Png = Annotated[str, Field(description="A PNG file, grey or RGB, 8 bits a channel, in base64.")]


class Question(BaseModel):
    """What a client asks."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    answer: Answer
    """What is wanted for every image."""
    images: list[Png] = Field(min_length=1, max_length=4096)
    """One batch; all of one size."""


class Reply(BaseModel):
    """What a server answers: the field that was asked for, one entry an image, in the order of the images."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    labels: list[int] | None = None
    """Index of the predicted class."""
    logits: list[list[float]] | None = None
    """One number a class, before the softmax."""
    embeddings: list[list[float]] | None = None
    """One vector, of the same size for all."""


def to_png(image: UInt8[np.ndarray, "height width channels"]) -> str:
    """A picture as base64 PNG; lossless."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def from_png(text: str) -> UInt8[np.ndarray, "height width channels"]:
    """The picture in a base64 PNG.

    Raises:
        ValueError: not base64, not a PNG, too large, or neither grey nor RGB.
    """
    from PIL import Image

    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("not base64") from None
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            if image.mode not in ("L", "RGB"):
                raise ValueError(f"a PNG of mode {image.mode}; wanted grey or RGB with 8 bits a channel")
            pixels = np.array(image)
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError):
        raise ValueError("not a PNG") from None
    return pixels[..., None] if pixels.ndim == 2 else pixels
