"""Keys and values of paths that share their beginnings: every node keeps its own slice, a batch is gathered of them.

Knows tensors and, of transformers, the layers of a cache; knows no model and no search. A slice is found under the
tokens of its step and of all before it, so equal steps share one, and what a path is called does not matter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from burnish.reason.rftt.generators.protocol import Proposal

Ids = tuple[int, ...]
Chain = tuple[Ids, ...]
"""The tokens of a path, cut where its nodes begin: the prompt, the first step, the second."""


@dataclass(frozen=True)
class Slice:
    """What a model has computed for the tokens of one node.

    Attributes:
        ids: the tokens.
        keys: of every layer.
        values: of every layer.
        proposal: what may follow the node's last token; none where it was not asked for.
    """

    ids: Ids
    keys: Float[Tensor, "layers heads tokens key_width"]
    values: Float[Tensor, "layers heads tokens value_width"]
    proposal: Proposal | None = None

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.keys.nbytes + self.values.nbytes


def names_of(chain: Chain) -> list[int]:
    """A name for each node of a path, out of its tokens and all before."""
    found, name = [], 0
    for ids in chain:
        name = hash((name, ids))
        found.append(name)
    return found


class PrefixCache:
    """Slices up to so many bytes; the one that was longest not used goes first, a node before what it follows.

    Args:
        budget: the most bytes of keys and values that it holds.

    Attributes:
        held: bytes now.
        peak: the most that it ever held.
        dropped: slices given up, or never taken in, for want of room.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.held = self.peak = self.dropped = 0
        self._slices: OrderedDict[int, Slice] = OrderedDict()

    def get(self, name: int, ids: Ids) -> Slice | None:
        """The slice of a node, if it is held."""
        found = self._slices.get(name)
        return found if found is not None and found.ids == ids else None

    def keep(self, path: Sequence[tuple[int, Slice]]) -> None:
        """Take in the slices of a path, first node first, or mark them as used now."""
        for name, piece in reversed(path):  # what comes later in the path is older, and goes before
            old = self._slices.pop(name, None)
            self.held -= old.nbytes if old is not None else 0
            while self._slices and self.held + piece.nbytes > self.budget:
                self.held -= self._slices.popitem(last=False)[1].nbytes
                self.dropped += 1
            if self.held + piece.nbytes > self.budget:
                self.dropped += 1
                continue
            self._slices[name] = piece
            self.held += piece.nbytes
            self.peak = max(self.peak, self.held)

    def clear(self) -> None:
        """Forget all."""
        self._slices.clear()
        self.held = 0


class Room:
    """Memory for the keys and values of a batch, used again by the next; what it held before is not wiped."""

    def __init__(self) -> None:
        self._flat: list[Tensor] = []

    def take(self, shapes: Sequence[tuple[int, ...]], like: Tensor) -> list[Tensor]:
        """Tensors of these shapes, with any finite content."""
        sizes = [torch.Size(shape).numel() for shape in shapes]
        if len(self._flat) != len(shapes) or any(
            flat.numel() < size for flat, size in zip(self._flat, sizes, strict=True)
        ):
            self._flat = []  # before the new ones are there
            self._flat = [like.new_zeros(size + size // 4) for size in sizes]
        return [flat[:size].view(shape) for flat, size, shape in zip(self._flat, sizes, shapes, strict=True)]


@dataclass(frozen=True)
class CacheShape:
    """What every layer's keys and values look like."""

    layers: int
    heads: int
    key_width: int
    value_width: int


class Batch:
    """Paths side by side, padded on the left, with room to go on: a cache for a model's forward pass.

    Args:
        paths: the slices of each row, first node first; a row may have none.
        room: tokens that will follow.
        shape: of the model's keys and values.
        memory: where to put them.
        like: a tensor of the kind and on the device of the keys and values.
    """

    def __init__(
        self, paths: Sequence[Sequence[Slice]], room: int, shape: CacheShape, memory: Room, like: Tensor
    ) -> None:
        lengths = [sum(len(piece.ids) for piece in path) for path in paths]
        self.width, rows = max(lengths), len(paths)
        capacity = self.width + room
        self.keys, self.values = memory.take(
            [(shape.layers, rows, shape.heads, capacity, width) for width in (shape.key_width, shape.value_width)],
            like,
        )
        self.lengths = torch.tensor(lengths, device=like.device)
        self.mask = torch.ones(rows, capacity, dtype=torch.long, device=like.device)
        self.mask[:, : self.width] = (
            torch.arange(self.width, device=like.device) >= (self.width - self.lengths)[:, None]
        )
        for row, (path, length) in enumerate(zip(paths, lengths, strict=True)):
            at = self.width - length
            self.keys[:, row, :, :at] = self.values[:, row, :, :at] = 0
            for piece in path:
                end = at + len(piece.ids)
                self.keys[:, row, :, at:end], self.values[:, row, :, at:end] = piece.keys, piece.values
                at = end
        self.filled = self.width
        self._cache: Any = None

    def inputs(self, fed: Int[Tensor, "rows new"], skipped: Int[Tensor, " rows"] | None = None) -> dict[str, Any]:
        """What a model's forward pass needs to read tokens after those that are there.

        Args:
            fed: the tokens.
            skipped: how many at the start of each row are padding; none where all count.
        """
        new = fed.shape[1]
        if self._cache is None:
            layers = zip(self.keys, self.values, strict=True)
            self._cache = Cache(layers=[_InPlace(keys, values, self.filled) for keys, values in layers])
        positions = self.lengths[:, None] + torch.arange(new, device=fed.device)
        if skipped is not None:
            columns = slice(self.filled, self.filled + new)
            self.mask[:, columns] = torch.arange(new, device=fed.device) >= skipped[:, None]
            positions = (positions - skipped[:, None]).clamp(min=0)
        self.filled += new
        self.lengths = self.lengths + new - (0 if skipped is None else skipped)
        return {
            "input_ids": fed,
            "attention_mask": self.mask[:, : self.filled],
            "position_ids": positions,
            "cache": self._cache,
            "use_cache": True,
        }

    def cut(self, row: int, start: int, ids: Ids) -> Slice:
        """A copy of what stands from column ``start`` on, for tokens that were read there."""
        columns = slice(start, start + len(ids))
        return Slice(ids, self.keys[:, row, :, columns].clone(), self.values[:, row, :, columns].clone())

    def only(self, rows: Int[Tensor, " kept"]) -> None:
        """Leave out all other rows."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.lengths, self.mask = self.lengths[rows], self.mask[rows]
        self._cache = None


class _InPlace(DynamicLayer):
    """A layer of a cache in memory that has room: a token is written into it, not the whole copied for it."""

    def __init__(self, keys: Tensor, values: Tensor, filled: int) -> None:
        super().__init__()
        self._room = (keys, values)
        self.keys, self.values = keys[:, :, :filled], values[:, :, :filled]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        for memory, new in zip(self._room, (key_states, value_states), strict=True):
            memory[:, :, start:end] = new
        self.keys, self.values = (memory[:, :, :end] for memory in self._room)
        return self.keys, self.values
