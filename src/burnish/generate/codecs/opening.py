"""From what a recipe says, or a model's configuration, to a codec. Knows the codecs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from burnish.core.errors import UserError
from burnish.generate.codecs.face import Codec
from burnish.generate.codecs.latent import LatentCodec, load_autoencoder
from burnish.generate.codecs.pixel import PixelCodec
from burnish.generate.codecs.settings import CodecSettings

SUBFOLDER = "codec"
"""Where a model's folder holds its autoencoder."""


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
