"""Text and pictures in turn: read one, read the other, write text, all rows at once, on one cache.

Nothing is required of the order: a model that never asks for a picture, or a row that never stops, is an answer to the
caller and no error here. Knows the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.generate.cache import Cache, extend
from burnish.generate.model import UnifiedModel
from burnish.generate.records import Batch, Layout, Segment


def see(
    model: UnifiedModel,
    cache: Cache | None,
    picture: Float[Tensor, "batch patches dim"],
    image: int | None = None,
    masked: Bool[Tensor, "batch patches"] | None = None,
) -> Cache:
    """Read a clean picture after what was read: ``outputs.heat`` of the new cache is its heat-map.

    Args:
        model: that read the cache.
        cache: none: the picture comes first.
        picture: patches, in the codec's units.
        image: its number: that of the drawing it came from, or none for a new one.
        masked: patches that the model is not shown.
    """
    number = image if image is not None else 0 if cache is None else cache.next_image()
    rows, patches, _ = picture.shape
    batch = Batch(
        layout=Layout((Segment("clean", patches, number),)),
        tokens=torch.zeros(rows, 0, dtype=torch.long, device=picture.device),
        clean=picture[:, None],
        noisy=picture[:, None][:, :0],
        times=picture.new_zeros(rows, 0),
        masked=None if masked is None else masked[:, None],
    )
    with torch.no_grad():
        return extend(model, cache, batch)


def read_text(
    model: UnifiedModel,
    cache: Cache | None,
    tokens: Int[Tensor, "batch text"],
    real: Bool[Tensor, "batch text"] | None = None,
    join: bool = False,
) -> Cache:
    """Read text after what was read: a segment of its own, or more of the last one (``join``)."""
    dtype = model.patch_in.weight.dtype
    empty = torch.zeros(len(tokens), 0, model.config.patches, model.config.patch_dim, dtype=dtype, device=tokens.device)
    batch = Batch(
        Layout((Segment("text", tokens.shape[1]),)), tokens, empty, empty, empty.new_zeros(len(tokens), 0), real
    )
    with torch.no_grad():
        return extend(model, cache, batch, join)


Choose = Callable[[Float[Tensor, "batch vocab"], list[list[int]]], Int[Tensor, " batch"]]
"""Next token of every row, from its logits and from what each row wrote so far."""


def greedy(logits: Float[Tensor, "batch vocab"], _written: list[list[int]]) -> Int[Tensor, " batch"]:
    """The likeliest token."""
    return logits.argmax(-1)


@dataclass(frozen=True)
class Written:
    """Text that the model wrote.

    Attributes:
        tokens: of each row, without the stop.
        stopped: false for a row that reached the limit first.
        cache: with the text read, stops included.
    """

    tokens: tuple[tuple[int, ...], ...]
    stopped: tuple[bool, ...]
    cache: Cache


def write(
    model: UnifiedModel,
    cache: Cache | None,
    start: Int[Tensor, "batch text"],
    stop: int,
    limit: int,
    choose: Choose = greedy,
    real: Bool[Tensor, "batch text"] | None = None,
) -> Written:
    """Write text after what was read, all rows at once; a row that is done waits as padding.

    Args:
        model: that read the cache.
        cache: none at the beginning.
        start: what the text begins with; together with what is written it is one segment.
        stop: token that ends a row.
        limit: tokens at most, stop included.
        choose: how a token is taken: greedy, drawn, or held to a grammar.
        real: of ``start``: false for padding, which must come first.
    """
    cache = read_text(model, cache, start, real)
    rows: list[list[int]] = [[] for _ in start]
    going = torch.ones(len(start), dtype=torch.bool, device=start.device)
    for _ in range(limit):
        chosen = choose(cache.outputs.text_logits[:, -1], rows)
        cache = read_text(model, cache, chosen[:, None], None if bool(going.all()) else going[:, None], join=True)
        for row, token, alive in zip(rows, chosen.tolist(), going.tolist(), strict=True):
            if alive and token != stop:
                row.append(token)
        going = going & (chosen != stop)
        if not bool(going.any()):
            break
    return Written(tuple(map(tuple, rows)), tuple((~going).tolist()), cache)
