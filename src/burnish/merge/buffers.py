"""Memory that is used again. Knows sizes and a limit; it is what keeps a merge of any size small.

Fresh pages cost a fault and a zeroing each; a merge that allocated per tensor would spend more on them than on
arithmetic.
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
_HUGE_PAGE = 1 << 21


class BufferPool:
    """One mapping that ranges are lent from, the lowest free one first, so that the same pages serve again and again.

    Args:
        budget: bytes that may be lent or reserved at one time; no loan may be larger.
    """

    def __init__(self, budget: int) -> None:
        self._budget = max(budget, 1)
        # Private, since shared memory gets no huge pages. What is never touched is never made.
        memory = mmap.mmap(-1, self._budget + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        self._memory: Bytes = np.frombuffer(memory, dtype=np.uint8)
        self._lent: list[tuple[int, int]] = []
        self._reserved = 0
        self._changed = threading.Condition()

    @contextmanager
    def borrow(self, nbytes: int, reserve: int = 0) -> Iterator[Bytes]:
        """`nbytes` of memory; `reserve` counts what the borrower allocates by itself beside it."""
        with self._changed:
            while (start := self._gap(nbytes, reserve)) is None:
                self._changed.wait()
            place = (start, start + nbytes)
            self._lent = sorted([*self._lent, place])
            self._reserved += reserve
        try:
            yield self._memory[start : start + nbytes]
        finally:
            with self._changed:
                self._lent.remove(place)
                self._reserved -= reserve
                self._changed.notify_all()

    def _gap(self, nbytes: int, reserve: int) -> int | None:
        """The lowest free place, or `None` while the budget is used up."""
        used = self._reserved + sum(end - start for start, end in self._lent)
        if self._lent and used + nbytes + reserve > self._budget:
            return None
        position = 0
        for start, end in self._lent:
            if start - position >= nbytes:
                return position
            position = aligned(end)
        return position if position + nbytes <= self._memory.size else None


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
