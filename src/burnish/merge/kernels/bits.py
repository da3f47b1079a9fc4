"""Elements of the compiled loops: bfloat16 and float32 as numbers and as bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.merge.kernels.native import compiled

Array = NDArray[Any]

MAGNITUDE = np.uint32(0x7FFFFFFF)
"""Bits of a float32 without its sign; as whole numbers they are ordered like the magnitudes."""


@compiled
def widen(word: Any, like: Array) -> np.float32:
    """The float32 value of an element: bfloat16 bits are its upper half, float32 is itself."""
    if like.itemsize == 2:
        return np.uint32(np.uint32(word) << np.uint32(16)).view(np.float32)
    return np.float32(word)


@compiled
def narrow(value: Any, like: Array) -> np.float32 | np.uint32:
    """Round to nearest, ties to even, to the element type of `like`; a NaN becomes torch's."""
    if like.itemsize == 2:
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(bits >> np.uint32(16)) & np.uint32(1)
        rounded = np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        return np.uint32(0x7FC0) if value != value else np.uint32(rounded)
    return np.float32(value)
