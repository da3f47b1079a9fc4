"""From what a recipe says, or a model's configuration, to a codec. Knows the codecs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from burnish.core.errors import UserError
from burnish.core.recipe import Settings
from burnish.generate.codecs.face import Codec
from burnish.generate.codecs.latent import LatentCodec, load_autoencoder
from burnish.generate.codecs.pixel import PixelCodec

SUBFOLDER = "codec"
"""Where a model's folder holds its autoencoder."""


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


def open_codec(settings: CodecSettings | Mapping[str, Any], home: Path | None = None) -> Codec:
    """The codec that settings name.

    Args:
        settings: of a recipe, or the ``codec`` of a model's configuration.
        home: the model's folder: an autoencoder that lies in it is taken from there.

    Raises:
        UserError: wrong settings, patches that do not fill a picture, or an autoencoder that cannot be read.
    """
    from burnish.core.models import resolve

    if not isinstance(settings, CodecSettings):
        try:
            settings = CodecSettings.model_validate(dict(settings))
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"codec.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if settings.kind == "pixel":
        return PixelCodec(settings.size, settings.patch, settings.spread)
    if home is not None and (home / SUBFOLDER).is_dir():
        return LatentCodec(load_autoencoder(home / SUBFOLDER), settings.size, settings.patch, SUBFOLDER)
    if settings.source is None:
        raise UserError("codec.source: not given; name the folder or hub id of an autoencoder")
    return LatentCodec(load_autoencoder(resolve(settings.source)), settings.size, settings.patch, settings.source)
