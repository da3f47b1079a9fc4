"""Pictures that are in two sets at once, by their bytes or nearly: a test between overlapping sets means nothing."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from burnish.core.errors import UserError
from burnish.prove.images import ImageSet, digests, resized, with_channels

SIDE, NEAR = 16, 2.0
"""Near duplicates: mean absolute difference of the small grey pictures of at most 2 of 255 levels, as after
recompression."""
ROWS = 256


def refuse_overlap(first: ImageSet, second: ImageSet, names: tuple[str, str]) -> None:
    """Refuse two sets with a picture in common.

    Args:
        first: pictures.
        second: pictures.
        names: what to call the sets.

    Raises:
        UserError: a picture is in both, byte by byte or nearly; one of them is named, and how many there are.
    """
    known = dict(zip(digests(first.pixels), first.names, strict=True))
    equal = [
        (known[digest], name)
        for digest, name in zip(digests(second.pixels), second.names, strict=True)
        if digest in known
    ]
    kind = "the same picture as"
    if not equal:
        kind = "nearly the same picture as"
        equal = [(first.names[i], second.names[j]) for i, j in near_duplicates(first.pixels, second.pixels)]
    if equal:
        left, right = equal[0]
        more = f" (and {len(equal) - 1} more)" if len(equal) > 1 else ""
        raise UserError(f"{names[1]}: {right} is {kind} {left} of {names[0]}{more}; a picture may be in one set only")


def near_duplicates(
    first: UInt8[np.ndarray, "n height width channels"], second: UInt8[np.ndarray, "m rows columns channels2"]
) -> list[tuple[int, int]]:
    """Pairs (place in first, place in second) whose small grey pictures hardly differ; flat pictures are never
    alike."""
    left, right = _small(first), _small(second)
    textured = right.std(axis=1) > NEAR
    found = []
    for start in range(0, len(left), ROWS):
        # bounds by means, so that only pairs of like brightness are compared pixel by pixel
        block = left[start : start + ROWS]
        close = np.argwhere((np.abs(block.mean(1)[:, None] - right.mean(1)) <= NEAR) & textured)
        for part in np.array_split(close, max(1, len(close) // 100_000)):
            gap = np.abs(block[part[:, 0]] - right[part[:, 1]]).mean(axis=1)
            found += [(start + int(i), int(j)) for i, j in part[gap <= NEAR]]
    return found


def _small(pixels: np.ndarray) -> np.ndarray:
    side = min(SIDE, *pixels.shape[1:3])
    grey = with_channels(resized(pixels, side, side), 1)
    return grey.reshape(len(pixels), -1).astype(np.float32)
