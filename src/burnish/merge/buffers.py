"""Memory that is used again. Knows sizes and a limit; it is what keeps a merge of any size small.

Fresh pages cost a fault and a zeroing each; a merge that allocated per tensor would spend more on them than on arithmetic.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_ALIGNMENT = 64


class BufferPool:
    """Blocks of bytes lent out one at a time, never more than `budget` in all (but always one).

    Args:
        budget: bytes that may be lent or reserved at one time.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._free: list[Bytes] = []
        self._lent = 0
        self._changed = threading.Condition()

    @contextmanager
    def lend(self, nbytes: int, reserve: int = 0) -> Iterator[Bytes]:
        """A block of at least `nbytes`; `reserve` counts what the borrower allocates by itself beside it."""
        with self._changed:
            # A step larger than the budget runs alone rather than never.
            self._changed.wait_for(lambda: not self._lent or self._lent + nbytes + reserve <= self._budget)
            block = self._take(nbytes)
            charge = block.size + reserve
            self._lent += charge
        try:
            yield block
        finally:
            with self._changed:
                self._lent -= charge
                self._free.append(block)
                self._changed.notify_all()

    def _take(self, nbytes: int) -> Bytes:
        fitting = [index for index, block in enumerate(self._free) if nbytes <= block.size <= 2 * nbytes + (1 << 22)]
        if fitting:
            return self._free.pop(min(fitting, key=lambda index: self._free[index].size))
        size = max(nbytes, 1)
        kept = sum(block.size for block in self._free)
        while self._free and self._lent + kept + size > self._budget:
            kept -= self._free.pop(0).size
        memory = mmap.mmap(-1, size)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(memory, dtype=np.uint8)


def carve(block: Bytes, sizes: list[int]) -> list[Bytes]:
    """Pieces of a block, each starting on a cache line."""
    pieces, start = [], 0
    for size in sizes:
        pieces.append(block[start : start + size])
        start += aligned(size)
    return pieces


def aligned(size: int) -> int:
    """`size` rounded up to a cache line."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT
