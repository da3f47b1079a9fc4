"""Streams taken a few at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` items in order, the last one of what is left: ``itertools.batched``, which needs Python 3.12.

    >>> list(batched("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]

    Raises:
        ValueError: a size below 1, which would end at once and lose everything.
    """
    if size < 1:
        raise ValueError(f"batches of {size}")
    waiting = iter(items)
    while batch := list(islice(waiting, size)):
        yield batch
