"""Pictures of an audit as one array of bytes, and the hash by which each is known. Knows Pillow; sends nothing
anywhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int, UInt8
from pydantic import Field

from burnish.core.errors import UserError, raised
from burnish.core.method import import_object
from burnish.core.recipe import Settings

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class ImageSet:
    """Pictures of one size.

    Attributes:
        pixels: bytes, channels last (1 grey, 3 RGB).
        names: where each came from; for messages.
        labels: index into ``classes``; none where the source has no classes.
        classes: names of the classes, in the order of the labels.
    """

    pixels: UInt8[np.ndarray, "n height width channels"]
    names: tuple[str, ...]
    labels: Int[np.ndarray, " n"] | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)


class ImageSettings(Settings):
    """Where pictures are and how they are brought to one form."""

    source: str
    """A folder of pictures, a folder with one sub-folder a class, or `module:function` that returns an ImageSet."""
    size: int | None = Field(default=None, ge=1)
    """Side in pixels: the middle square of each picture, resized (bilinear, antialiased); none takes pictures as they
    are."""
    channels: Literal[1, 3] = 3
    """1 grey, 3 RGB. Transparent pictures lie on white."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many pictures, taken in turn from each class; none takes all."""


def load_images(settings: ImageSettings) -> ImageSet:
    """Read a set of pictures.

    Raises:
        UserError: no such source, no pictures in it, one that cannot be read, or pictures of different sizes.
    """
    source = settings.source
    if Path(source).expanduser().is_dir():
        return _from_folder(Path(source).expanduser(), settings)
    if ":" in source and "/" not in source:
        return _shaped(_called(source), settings)
    raise UserError(f"{source}: no such folder of pictures (or write module:function)")


def digests(pixels: UInt8[np.ndarray, "n height width channels"]) -> list[bytes]:
    """SHA-256 of each picture's shape and bytes: 32 bytes that tell equal pictures from different ones."""
    shape = np.array(pixels.shape[1:], dtype="<u4").tobytes()
    return [hashlib.sha256(shape + picture.tobytes()).digest() for picture in pixels]


def resized(
    pixels: UInt8[np.ndarray, "n height width channels"], height: int, width: int
) -> UInt8[np.ndarray, "n new_height new_width channels"]:
    """Pictures stretched to another size (bilinear, antialiased); the same array where the size is right already."""
    if pixels.shape[1:3] == (height, width):
        return pixels
    from PIL import Image

    resample = Image.Resampling.BILINEAR
    planes = [
        np.stack(
            [np.asarray(Image.fromarray(plane).resize((width, height), resample)) for plane in np.moveaxis(p, 2, 0)], 2
        )
        for p in pixels
    ]
    return np.stack(planes)


def with_channels(
    pixels: UInt8[np.ndarray, "n height width channels"], channels: int
) -> UInt8[np.ndarray, "n height width new_channels"]:
    """Grey pictures repeated to RGB, or RGB ones made grey (ITU-R 601 luma), as ``channels`` (1 or 3) asks."""
    if pixels.shape[3] == channels:
        return pixels
    if pixels.shape[3] == 1:
        return np.repeat(pixels, channels, axis=3)
    luma = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(luma)[..., None].astype(np.uint8)


def _from_folder(folder: Path, settings: ImageSettings) -> ImageSet:
    loose = _pictures(folder)
    below = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    classes = {path.name: inside for path in below if (inside := _pictures(path))}
    # Left out in silence, an empty class would shift the labels of those after it.
    empty = next((path for path in below if classes and path.name not in classes), None)
    if empty:
        raise UserError(f"{empty}: a class without pictures; fill it or remove it")
    if loose and classes:
        raise UserError(
            f"{folder}: pictures beside class folders ({loose[0].name} and {next(iter(classes))}/); keep one or the "
            "other"
        )
    if not loose and not classes:
        raise UserError(f"{folder}: no pictures in it ({', '.join(sorted(SUFFIXES))})")
    # In turn from each class, so that a limit keeps all classes.
    listed = sorted(
        (place, label, path)
        for label, paths in enumerate(classes.values() if classes else [loose])
        for place, path in enumerate(paths)
    )[: settings.limit]
    pixels = [_read(path, settings) for _, _, path in listed]
    for (_, _, path), picture in zip(listed, pixels, strict=True):
        if picture.shape != pixels[0].shape:
            raise UserError(
                f"{path}: {_size(picture)} pixels, but {listed[0][2].name} has {_size(pixels[0])}; set `size` to bring "
                "them to one"
            )
    return ImageSet(
        np.stack(pixels),
        tuple(str(path) for _, _, path in listed),
        np.array([label for _, label, _ in listed], np.int64) if classes else None,
        tuple(classes),
    )


def _pictures(folder: Path) -> list[Path]:
    shown = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in shown if not path.is_dir() and path.suffix.lower() in SUFFIXES)


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


def _read(path: Path, settings: ImageSettings) -> UInt8[np.ndarray, "height width channels"]:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            elif image.mode in ("I", "F"):
                raise UserError(f"{path}: {image.mode} pixels have no known range; save it with 8 or 16 bits a channel")
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            image = image.convert("L" if settings.channels == 1 else "RGB")
            pixels = np.asarray(image)
    # Pillow's decoders raise whatever a damaged file leads them to.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as a picture ({str(error)[:120] or type(error).__name__})") from None
    pixels = pixels.reshape(*pixels.shape[:2], settings.channels)
    return pixels if settings.size is None else _square(pixels[None], settings.size)[0]


def _square(
    pixels: UInt8[np.ndarray, "n height width channels"], size: int
) -> UInt8[np.ndarray, "n size size channels"]:
    side = min(pixels.shape[1:3])
    top, left = (pixels.shape[1] - side) // 2, (pixels.shape[2] - side) // 2
    return resized(pixels[:, top : top + side, left : left + side], size, size)


def _called(reference: str) -> ImageSet:
    function = import_object(reference, "source")
    try:
        found = function()
    except Exception as error:  # the user's own code
        raise UserError(f"source: {reference} raised {raised(error)}") from error
    if not isinstance(found, ImageSet):
        raise UserError(f"source: {reference} returned {_kind(found)}, not a burnish.prove.images.ImageSet")
    return found


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def _shaped(found: ImageSet, settings: ImageSettings) -> ImageSet:
    pixels = np.asarray(found.pixels)
    if pixels.ndim != 4 or pixels.dtype != np.uint8 or pixels.shape[3] not in (1, 3) or not pixels.size:
        raise UserError(
            f"source: {settings.source} gave pixels of type {pixels.dtype} and shape {pixels.shape}; "
            "wanted uint8 [n, height, width, 1 or 3], at least one picture"
        )
    if len(found.names) != len(pixels) or (found.labels is not None and len(found.labels) != len(pixels)):
        raise UserError(f"source: {settings.source} gave {len(pixels)} pictures, but not as many names or labels")
    if found.labels is not None and not (int(found.labels.min()) >= 0 and int(found.labels.max()) < len(found.classes)):
        raise UserError(f"source: {settings.source}: a label lies outside its {len(found.classes)} classes")
    kept = np.sort(_in_turn(found.labels, len(pixels))[: settings.limit])
    pixels = with_channels(pixels[kept], settings.channels)
    if settings.size is not None:
        pixels = _square(pixels, settings.size)
    return ImageSet(
        pixels,
        tuple(found.names[index] for index in kept),
        None if found.labels is None else found.labels[kept],
        found.classes,
    )


def _in_turn(labels: np.ndarray | None, count: int) -> np.ndarray:
    """Indices with the first of every class before the second of any."""
    if labels is None:
        return np.arange(count)
    place = np.zeros(count, np.int64)
    for label in np.unique(labels):
        place[labels == label] = np.arange(int((labels == label).sum()))
    return np.lexsort((labels, place))
