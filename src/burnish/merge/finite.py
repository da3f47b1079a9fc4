"""Is there a NaN or an infinity among these bits? One pass over exponents, fast enough to look at every input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from burnish.merge.kernels import machine

# Bits without the sign at and above which a number is no number.
_LIMITS = {"BF16": (np.uint16, 0x7F80), "F16": (np.uint16, 0x7C00), "F32": (np.uint32, 0x7F800000)}


def all_finite(data: NDArray[np.uint8], dtype: str) -> bool:
    """Whether no element of raw tensor bytes is NaN or infinite.

    Args:
        data: the bytes.
        dtype: the format's code; integers are always finite.
    """
    if dtype not in _LIMITS or not data.size:
        return True
    word, limit = _LIMITS[dtype]
    mask = word(0x7FFF if word is np.uint16 else 0x7FFFFFFF)
    found = np.zeros(1, word)
    machine.call("largest", data.view(word), mask, found)
    return int(found[0]) < limit
