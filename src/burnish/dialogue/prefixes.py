"""Keys and values of prompts that share their beginnings: slices of them, and batches gathered of slices.

Knows tensors and, of transformers, models and the layers of their caches; knows no conversation and no search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from burnish.dialogue.generation import accepts, reading

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Slice:
    """What a model has computed for some tokens that follow others.

    Attributes:
        ids: the tokens.
        keys: of every layer.
        values: of every layer.
    """

    ids: Ids
    keys: Float[Tensor, "layers heads tokens key_width"]
    values: Float[Tensor, "layers heads tokens value_width"]

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.keys.nbytes + self.values.nbytes


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
        """Go on with these rows, in this order; one may come several times."""
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


def why_not_reusable(model: Any) -> str:
    """Why a model's prefixes cannot be cut apart and joined again, in words; empty if they can.

    They can where every layer keeps the keys and values of all tokens, of one shape. A sliding window drops some, and
    linear attention only keeps their sum.
    """
    if not accepts(model, "position_ids"):
        return (
            f"{type(model).__name__} does not say where a token stands, so rows of different lengths cannot be joined"
        )
    cache = DynamicCache(config=model.config)
    others = {type(layer).__name__ for layer in cache.layers if type(layer) is not DynamicLayer}
    if others or not cache.layers:
        return f"{type(model).__name__} has layers that do not keep every token ({', '.join(sorted(others)) or 'all'})"
    if len({shape for shape, _ in probe_cache(model)}) > 1:
        return f"{type(model).__name__} has layers with keys or values of different shapes"
    return ""


def probe_cache(model: Any) -> list[tuple[CacheShape, Tensor]]:
    """What each layer keeps of one token: its shape, and an empty tensor of its kind."""
    cache = DynamicCache(config=model.config)
    with reading(model):
        model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device), cache=cache, use_cache=True)
    return [
        (
            CacheShape(len(cache.layers), layer.keys.shape[1], layer.keys.shape[3], layer.values.shape[3]),
            layer.keys.new_empty(0),
        )
        for layer in cache.layers
    ]
