"""The one face of all codecs, and how a picture is cut into patches. Knows torch only."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from burnish.core.errors import UserError


@runtime_checkable
class Codec(Protocol):
    """Pictures to patches and back.

    Attributes:
        size: height and width of the pictures, in pixels.
        grid: rows and columns of patches.
        patch_dim: numbers a patch.
    """

    size: tuple[int, int]
    grid: tuple[int, int]
    patch_dim: int

    def encode(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch patches dim"]:
        """Patches of pictures in -1..1, about as wide as standard normal noise.

        Raises:
            UserError: pictures of another size.
        """
        ...

    def decode(self, patches: Float[Tensor, "batch patches dim"]) -> Float[Tensor, "batch 3 height width"]:
        """Pictures in -1..1."""
        ...

    def to_dict(self) -> dict[str, object]:
        """What a folder's configuration says of it."""
        ...


def cut(planes: Float[Tensor, "batch channels height width"], patch: int) -> Float[Tensor, "batch patches dim"]:
    """Squares of ``patch`` by ``patch``, row by row; a patch's numbers are channel by channel."""
    tiles = planes.unfold(2, patch, patch).unfold(3, patch, patch)
    return tiles.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def joined(
    patches: Float[Tensor, "batch patches dim"], grid: tuple[int, int], patch: int
) -> Float[Tensor, "batch channels height width"]:
    """The planes that :func:`cut` cut."""
    rows, columns = grid
    tiles = patches.reshape(len(patches), rows, columns, -1, patch, patch)
    return tiles.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def check_size(pictures: Tensor, size: tuple[int, int]) -> None:
    """Pictures are of a codec's size.

    Raises:
        UserError: they are not.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3 or tuple(pictures.shape[2:]) != size:
        raise UserError(
            f"pictures: shape {tuple(pictures.shape)}; this codec takes [n, 3, {size[0]}, {size[1]}]: RGB of "
            f"{size[1]} x {size[0]} pixels"
        )


def check_grid(size: tuple[int, int], square: int, codec: str) -> tuple[int, int]:
    """Rows and columns of squares that fill a picture.

    Raises:
        UserError: they do not fill it.
    """
    if size[0] % square or size[1] % square or min(size) < square:
        raise UserError(f"codec.size: {size[0]} x {size[1]} is not made of whole patches of {square} pixels ({codec})")
    return size[0] // square, size[1] // square


def from_bytes(pictures: UInt8[np.ndarray, "n height width 3"]) -> Float[Tensor, "n 3 height width"]:
    """Bytes to -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_bytes(pictures: Float[Tensor, "n 3 height width"]) -> UInt8[np.ndarray, "n height width 3"]:
    """-1..1 to bytes; what lies beyond is cut off."""
    levels = ((pictures.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().numpy()
