"""Pictures on disk: read into a model's size, written whole or not at all. Knows Pillow."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from burnish.core.errors import UserError
from burnish.core.files import write_atomic
from burnish.generate.steps.state import Picture

MODES = ("RGB", "L", "P", "1", "RGBA", "LA")
"""Eight bits a channel: what can be said in RGB without loss."""


@dataclass(frozen=True)
class Packed:
    """A picture within a larger file, such as a tar.

    Attributes:
        path: of that file.
        start: bytes before the picture.
        length: its bytes.
        name: for messages.
    """

    path: Path
    start: int
    length: int
    name: str

    def __str__(self) -> str:
        return f"{self.path}: {self.name}"

    def open(self) -> io.BytesIO:
        """Its bytes."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return io.BytesIO(file.read(self.length))


def read_picture(path: Path | Packed, size: tuple[int, int], *, resize: bool = False) -> Picture:
    """A picture of a model's size.

    Args:
        path: of any format that Pillow reads; or a place in a larger file.
        size: height and width, in pixels.
        resize: bring another size to this one; otherwise it is refused.

    Raises:
        UserError: no such file, no picture, see-through or of more than eight bits a channel, or another size.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path.open() if isinstance(path, Packed) else path) as file:
            file.load()
            picture = file.copy()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a picture") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a picture that can be read ({error})") from None
    if picture.mode not in MODES:
        raise UserError(f"{path}: is of mode {picture.mode}; save it as RGB of eight bits a channel")
    if picture.has_transparency_data and min(np.asarray(picture.convert("RGBA"))[..., 3].ravel()) < 255:
        raise UserError(f"{path}: is see-through in places; put it on a ground and save it as RGB")
    picture = picture.convert("RGB")
    height, width = size
    if (picture.height, picture.width) != size:
        if not resize:
            raise UserError(
                f"{path}: is {picture.width} x {picture.height}; this model takes {width} x {height} pixels",
                arguments=("resize",),
            )
        picture = picture.resize((width, height), Image.Resampling.BOX)
    return np.asarray(picture)


def write_picture(path: Path, picture: Picture) -> Path:
    """Write a PNG.

    Raises:
        BurnishError: the disk is full or the folder cannot be written.
    """
    from PIL import Image

    memory = io.BytesIO()
    Image.fromarray(picture).save(memory, "PNG")
    return write_atomic(path, memory.getvalue())
