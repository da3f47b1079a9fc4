"""Streams taken a few at a time."""

from collections.abc import Iterator

import pytest

from burnish.core.streams import batched


def test_nothing_is_lost_and_nothing_is_read_ahead() -> None:
    read: list[int] = []

    def stream() -> Iterator[int]:
        for number in range(5):
            read.append(number)
            yield number

    taken = batched(stream(), 2)
    assert next(taken) == [0, 1]
    assert read == [0, 1]
    assert list(taken) == [[2, 3], [4]]
    assert list(batched([], 3)) == []
    with pytest.raises(ValueError, match="batches of 0"):
        next(batched([1], 0))
