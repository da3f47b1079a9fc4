"""One attention over the tokens of all experts, by three back ends that read the same rule.

``sdpa`` takes the mask as booleans (and none where it is plainly causal), ``flex`` takes the rule itself and skips
whole blocks (for long rows on a GPU; torch has no backward of it on a CPU), ``eager`` writes the softmax out and is
what the two are tested against. Knows torch and the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast, no_type_check

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from burnish.generate.records import Batch, Kind, Layout
from burnish.generate.sequence import is_causal, positions, row_mask, rule, storage, table

Backend = Literal["sdpa", "flex", "eager"]


@dataclass(frozen=True)
class Mask:
    """Who sees whom, in the form that a back end takes.

    Attributes:
        dense: [rows, 1, queries, keys], true where seen; none where plainly causal, or for ``flex``.
        block: a ``BlockMask`` of ``flex``.
    """

    dense: Bool[Tensor, "rows 1 queries keys"] | None = None
    block: Any = None


def batch_mask(batch: Batch, kinds: tuple[Kind, ...], backend: Backend) -> Mask:
    """The mask of whole rows as they lie in memory; kept by layout where rows do not differ."""
    device = batch.tokens.device
    if batch.real is None and batch.hidden is None:
        return _kept(batch.layout, kinds, backend, device)
    order = storage(batch.layout, kinds).to(device)
    if backend == "flex":
        return _block(batch.layout, order, batch.real, batch.hidden)
    return Mask(row_mask(batch.layout, order, order, batch.real, batch.hidden))


@lru_cache(maxsize=64)
def _kept(layout: Layout, kinds: tuple[Kind, ...], backend: Backend, device: torch.device) -> Mask:
    if is_causal(layout) and backend != "flex":
        return Mask()
    order = storage(layout, kinds).to(device)
    if backend == "flex":
        return _block(layout, order, None, None)
    return Mask(row_mask(layout, order, order, None, None))


def _block(layout: Layout, order: Tensor, real: Tensor | None, hidden: Tensor | None) -> Mask:
    from torch.nn.attention.flex_attention import create_block_mask

    known = table(layout)
    allowed = rule(known, order.device)
    columns, text = known.column[order.cpu()].to(order.device), ~known.picture[order.cpu()].to(order.device)
    drawing, noisy = known.drawing[order.cpu()].to(order.device), known.noisy[order.cpu()].to(order.device)
    segments = known.segment[order.cpu()].to(order.device)

    # torch compiles this and counts its arguments: a checker of shapes around it would be in the way.
    @no_type_check
    def seen(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        answer = allowed(order[query], order[key])
        if real is not None and real.shape[1]:
            answer = answer & (~text[key] | real[row, columns[key]] | (query == key))
        if hidden is not None and hidden.shape[1]:
            answer = answer & ~(noisy[query] & hidden[row, drawing[query], segments[key]])
        return answer

    rows = next((len(rows) for rows in (real, hidden) if rows is not None), None)
    length = len(order)
    return Mask(block=create_block_mask(seen, rows, None, length, length, device=str(order.device)))


def batch_positions(batch: Batch, kinds: tuple[Kind, ...]) -> Tensor:
    """Positions of whole rows as they lie in memory: [rows, length]."""
    if batch.real is None:
        return _kept_positions(batch.layout, kinds, batch.tokens.device)
    return positions(batch.layout, batch.real).to(batch.tokens.device)[:, storage(batch.layout, kinds)]


@lru_cache(maxsize=64)
def _kept_positions(layout: Layout, kinds: tuple[Kind, ...], device: torch.device) -> Tensor:
    return positions(layout)[:, storage(layout, kinds)].to(device)


def attend(
    query: Float[Tensor, "batch heads queries size"],
    key: Float[Tensor, "batch key_heads keys size"],
    value: Float[Tensor, "batch key_heads keys size"],
    mask: Mask,
    backend: Backend,
) -> Float[Tensor, "batch heads queries size"]:
    """Softmax attention; several query heads may share a key head."""
    grouped = query.shape[1] != key.shape[1]
    if mask.block is not None:
        return cast(Tensor, _flex(query.is_cuda)(query, key, value, block_mask=mask.block, enable_gqa=grouped))
    if backend == "eager":
        return _eager(query, key, value, mask)
    causal = mask.dense is None and query.shape[2] > 1
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask.dense, is_causal=causal, enable_gqa=grouped)


@lru_cache(maxsize=2)
def _flex(compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if compiled else flex_attention


def _eager(query: Tensor, key: Tensor, value: Tensor, mask: Mask) -> Tensor:
    shared = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    length = scores.shape[-1]
    dense = (
        torch.ones(length, length, dtype=torch.bool, device=query.device).tril() if mask.dense is None else mask.dense
    )
    weights: Tensor = scores.masked_fill(~dense, float("-inf")).softmax(-1)
    return weights @ value
