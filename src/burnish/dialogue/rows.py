"""One question with a checkable answer, and its pictures. Knows Pillow and numpy; knows no file layout and no model."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from burnish.core.errors import UserError

MOST_PIXELS = 2_359_296
"""The released recipe of Hint-GRPO shows models no picture larger than this."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of an EXIF orientation upright."""


@dataclass(frozen=True)
class Question:
    """A question, what a right answer must equal, and how one may get there.

    Attributes:
        question: the text, without image placeholders.
        answer: the reference answer.
        rationale: the reference reasoning as written; none where the data has none.
        steps: the reasoning in steps, where the data gives it so; none leaves the splitting to who needs steps.
        images: pictures in the order in which they are shown, opened or as paths.
        row: where it came from (``file:line``), for messages.
    """

    question: str
    answer: str
    rationale: str | None = None
    steps: tuple[str, ...] | None = None
    images: tuple[Image.Image | Path, ...] = ()
    row: str = ""


def open_picture(source: Image.Image | Path | bytes, where: str = "", most_pixels: int = MOST_PIXELS) -> Image.Image:
    """A picture in RGB, decoded, upright as its EXIF says, shrunk to at most ``most_pixels`` with its shape kept.

    Transparency lies on white.

    Args:
        source: a path, the bytes of a file, or an opened picture.
        where: what to call it in an error; a path is called by its own name.

    Raises:
        UserError: missing, not a picture, or cut off.
    """
    name = str(source) if isinstance(source, Path) else where or "picture"
    try:
        opened = source if isinstance(source, Image.Image) else Image.open(io.BytesIO(_bytes(source)))
        shrink = min(1.0, (most_pixels / max(1, opened.width * opened.height)) ** 0.5)
        size = max(1, int(opened.width * shrink)), max(1, int(opened.height * shrink))
        opened.draft("RGB", size)  # a large JPEG is decoded at a smaller scale
        if opened.mode.startswith("I;16"):  # Pillow would cut every value over 255 off
            picture = Image.fromarray((np.asarray(opened) / 257).round().astype(np.uint8)).convert("RGB")
        elif opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
            layer = opened.convert("RGBA")
            picture = Image.new("RGB", layer.size, "white")
            picture.paste(layer, mask=layer)
        else:
            picture = opened.convert("RGB")
        turn = _TURNS.get(orientation(opened))
    except FileNotFoundError:
        raise UserError(f"{name}: no such picture; check the image root") from None
    except UnidentifiedImageError:
        raise UserError(f"{name}: not a picture that can be read") from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{name}: the picture has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, as only a trap for "
            "memory has; shrink it"
        ) from None
    # Pillow's decoders raise whatever the damage leads them to, SyntaxError and struct.error among it.
    except Exception as error:  # noqa: BLE001 - see above
        raise UserError(f"{name}: the picture cannot be read ({error}); it is damaged or cut off") from None
    picture = picture if shrink == 1 else picture.resize(size, Image.Resampling.BICUBIC)
    if turn is not None:
        picture = picture.transpose(turn)
        picture.info.clear()  # with its EXIF: opened again, it must not be turned again
    return picture


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation of a picture, 1 to 8; 1, upright, where it has none that can be read. Decodes nothing."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1  # Pillow would decode the picture to look for one behind the pixels
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - damaged EXIF leads Pillow to anything; the picture itself may be whole
        return 1


def check_picture(source: Image.Image | Path | bytes, where: str = "") -> None:
    """Decode a picture, JPEGs at an eighth of their size, and forget it: what :func:`open_picture` would raise, now.

    Raises:
        UserError: missing, not a picture, or cut off.
    """
    # Decoding at a smaller scale would leave an opened picture small for good.
    open_picture(source.copy() if isinstance(source, Image.Image) else source, where, most_pixels=4096)


def _bytes(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()
