"""What a user may set about a codec. Knows pydantic only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from burnish.core.recipe import Settings


class CodecSettings(Settings):
    """What turns pictures into patches."""

    kind: Literal["pixel", "latent"] = "pixel"
    """`pixel`: squares of pixels; `latent`: squares of an autoencoder's latents."""
    size: tuple[int, int] = (32, 32)
    """Height and width of every picture, in pixels."""
    patch: int = Field(default=8, ge=1)
    """Side of a square: pixels of `pixel`, latents of `latent` (2 in the paper)."""
    spread: float = Field(default=1.0, gt=0)
    """Of `pixel`: what -1..1 is divided by."""
    source: str | None = None
    """Of `latent`: folder or hub id of an AutoencoderKL or AutoencoderTiny (or of a pipeline that has one)."""
