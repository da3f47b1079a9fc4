"""Tensors into files: which shard each one goes to, and where its bytes start. Knows names and sizes, no content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from burnish.merge.safetensors_file import ITEM_SIZE, make_header


class Placeable(Protocol):
    """A tensor that will be written."""

    @property
    def name(self) -> str:
        """Its name in the file."""

    @property
    def dtype(self) -> str:
        """The format's code."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""


T = TypeVar("T", bound=Placeable)


@dataclass(frozen=True)
class Filled(Generic[T]):
    """One output file.

    Attributes:
        name: of the file.
        header: its first bytes.
        items: its tensors, in the order of their bytes.
        offsets: where each one starts, from the start of the file.
    """

    name: str
    header: bytes
    items: tuple[T, ...]
    offsets: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return len(self.header) + sum(item.nbytes for item in self.items)


def fill_shards(items: Sequence[T], shard_size: int, stem: str = "model") -> list[Filled[T]]:
    """Fill files in order, each up to `shard_size` bytes of tensors (one larger tensor has a file of its own)."""
    bins: list[list[T]] = [[]]
    filled = 0
    for item in items:
        if bins[-1] and filled + item.nbytes > shard_size:
            bins.append([])
            filled = 0
        bins[-1].append(item)
        filled += item.nbytes
    made = []
    for index, content in enumerate(bins):
        # The format has no padding between tensors: widest first keeps every tensor aligned.
        content.sort(key=lambda item: -ITEM_SIZE[item.dtype])
        header, offsets = make_header([(item.name, item.dtype, item.shape) for item in content])
        name = f"{stem}.safetensors" if len(bins) == 1 else f"{stem}-{index + 1:05d}-of-{len(bins):05d}.safetensors"
        made.append(Filled(name, header, tuple(content), tuple(offsets)))
    return made
