"""Who sees whom, and where a token stands: one mask rule and one rule of positions, for training, caches and drawing.

The rule (MINT, section 3; the hand examples are in the tests): token q sees token k if both are of one document, k is
not after q or both are of one picture's block, and k is not of a noisy block other than q's own. Tables are built once
a layout. Knows torch and the records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast, no_type_check

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from burnish.core.errors import UserError
from burnish.generate.records import KINDS, Kind, Layout, Segment


@dataclass(frozen=True)
class Table:
    """What the rules know of every token of a row, in reading order.

    Attributes:
        segment: place of its segment in the layout.
        document: number of its document.
        noisy: whether it is being drawn.
        picture: whether it is a patch.
        drawing: which of the row's noisy pictures it is of; 0 for all others.
        anchor: the token that its position is read from: itself, or the first token of its picture's first copy.
        start: first token of its document.
        advance: by how much the position rises after it.
        column: of a text token its place among the row's text; 0 for all others.
    """

    segment: Int[Tensor, " length"]
    document: Int[Tensor, " length"]
    noisy: Bool[Tensor, " length"]
    picture: Bool[Tensor, " length"]
    drawing: Int[Tensor, " length"]
    anchor: Int[Tensor, " length"]
    start: Int[Tensor, " length"]
    advance: Int[Tensor, " length"]
    column: Int[Tensor, " length"]


@lru_cache(maxsize=128)
def table(layout: Layout) -> Table:
    """The table of a layout."""
    rows: dict[str, list[int]] = {name: [] for name in Table.__dataclass_fields__}
    first: dict[tuple[int, int], int] = {}
    starts: dict[int, int] = {}
    texts = drawings = 0
    for place, segment in enumerate(layout.segments):
        here = len(rows["segment"])
        key = (segment.document, -1 if segment.image is None else segment.image)
        fresh = segment.image is not None and key not in first
        starts.setdefault(segment.document, here)
        if fresh:
            first[key] = here
        for token in range(segment.length):
            text = segment.image is None
            rows["segment"].append(place)
            rows["document"].append(segment.document)
            rows["noisy"].append(segment.kind == "noisy")
            rows["picture"].append(not text)
            rows["drawing"].append(drawings if segment.kind == "noisy" else 0)
            rows["anchor"].append(here + token if text else first[key])
            rows["start"].append(starts[segment.document])
            rows["advance"].append(int(text or (fresh and token == 0)))
            rows["column"].append(texts + token if text else 0)
        texts += segment.length if segment.kind == "text" else 0
        drawings += segment.kind == "noisy"
    return Table(
        **{
            name: torch.tensor(values, dtype=torch.bool if name in {"noisy", "picture"} else torch.long)
            for name, values in rows.items()
        }
    )


def kind_order(routing: Mapping[Kind, int]) -> tuple[Kind, ...]:
    """The kinds, those of one expert next to each other: the order in which a row lies in memory."""
    return tuple(sorted(KINDS, key=lambda kind: (routing[kind], KINDS.index(kind))))


@lru_cache(maxsize=128)
def storage(layout: Layout, kinds: tuple[Kind, ...]) -> Int[Tensor, " length"]:
    """Reading place of every token, kind by kind: how a row lies in memory."""
    starts = [0]
    for segment in layout.segments:
        starts.append(starts[-1] + segment.length)
    return torch.tensor(
        [
            token
            for kind in kinds
            for place in layout.of(kind)
            for token in range(starts[place], starts[place] + layout.segments[place].length)
        ],
        dtype=torch.long,
    )


def rule(known: Table, device: torch.device | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    """The mask rule of a layout, over reading places of queries and keys that broadcast against each other."""
    segment, picture = known.segment.to(device), known.picture.to(device)
    noisy, document = known.noisy.to(device), known.document.to(device)

    @no_type_check  # flex_attention compiles it
    def allowed(query: Tensor, key: Tensor) -> Tensor:
        same = segment[query] == segment[key]
        before = (key <= query) | (same & picture[query])
        return before & ~(noisy[key] & ~same) & (document[query] == document[key])

    return cast("Callable[[Tensor, Tensor], Tensor]", allowed)


def dense_mask(layout: Layout) -> Bool[Tensor, "length length"]:
    """The mask in reading order: rows are queries, columns are keys."""
    places = torch.arange(len(table(layout).segment))
    return rule(table(layout))(places[:, None], places[None, :])


@lru_cache(maxsize=128)
def is_causal(layout: Layout) -> bool:
    """Whether the mask is plainly causal: one document of text."""
    return all(segment.kind == "text" and segment.document == 0 for segment in layout.segments)


def row_mask(
    layout: Layout,
    queries: Int[Tensor, " queries"],
    keys: Int[Tensor, " keys"],
    real: Bool[Tensor, "batch text"] | None,
    hidden: Bool[Tensor, "batch noisies segments"] | None,
) -> Bool[Tensor, "rows 1 queries keys"]:
    """The mask between some tokens of a row; ``rows`` is 1 unless padding or dropped conditions make rows differ.

    Args:
        layout: of the whole row, cached tokens included.
        queries, keys: reading places.
        real, hidden: see ``Batch``; of the whole row. A padded token sees itself, so that no query sees nothing.
    """
    known = table(layout)
    device = queries.device
    mask = rule(known, device)(queries[:, None], keys[None, :])[None, None]
    if real is not None:
        text = ~known.picture[keys.cpu()].to(device)
        column = known.column[keys.cpu()].to(device)
        padding = text & ~real[:, column]
        mask = mask & (~padding[:, None, None, :] | (queries[:, None] == keys[None, :]))
    if hidden is not None and hidden.shape[1]:
        drawing, noisy = known.drawing[queries.cpu()].to(device), known.noisy[queries.cpu()].to(device)
        segment = known.segment[keys.cpu()].to(device)
        unseen = hidden[:, drawing][:, :, segment] & noisy[:, None]
        mask = mask & ~unseen[:, None]
    return mask


def positions(layout: Layout, real: Bool[Tensor, "batch text"] | None = None) -> Int[Tensor, "rows length"]:
    """Position of every token, in reading order: text counts on, a picture is one place for all its patches and
    copies, padding counts nothing, a document starts at 0. ``rows`` is 1 without padding."""
    known = table(layout)
    advance = known.advance[None]
    if real is not None:
        advance = advance * (known.picture | real.cpu()[:, known.column])
    before = advance.cumsum(-1) - advance
    return before[:, known.anchor] - before[:, known.start]


def pack(layouts: Sequence[Layout]) -> Layout:
    """Samples as documents of one row, in order."""
    segments: list[Segment] = []
    document = -1
    for layout in layouts:
        known: int | None = None
        for segment in layout.segments:
            document += segment.document != known
            known = segment.document
            segments.append(replace(segment, document=document))
    return Layout(tuple(segments))


def fill(sizes: Sequence[Mapping[Kind, int]], limits: Mapping[Kind, int]) -> list[tuple[int, ...]]:
    """Which samples go into one row together: first fit by the scarcest room, so that rows are alike in every kind.

    Args:
        sizes: tokens of each kind, a sample.
        limits: tokens of each kind that a row holds.

    Returns:
        Rows as sorted places of samples; every sample is in exactly one.

    Raises:
        UserError: a sample that no row holds.
    """
    rows: list[tuple[list[int], dict[Kind, int]]] = []
    shares = [max(size.get(kind, 0) / limit for kind, limit in limits.items() if limit) for size in sizes]
    for place in sorted(range(len(sizes)), key=lambda place: (-shares[place], place)):
        size = sizes[place]
        for kind in KINDS:
            if size.get(kind, 0) > limits.get(kind, 0):
                raise UserError(
                    f"packing: sample {place} has {size[kind]} {kind} tokens, a row holds {limits.get(kind, 0)}; "
                    "raise the limit or leave the sample out"
                )
        for members, room in rows:
            if all(size.get(kind, 0) <= room[kind] for kind in KINDS):
                members.append(place)
                break
        else:
            members, room = [place], {kind: limits.get(kind, 0) for kind in KINDS}
            rows.append((members, room))
        for kind in KINDS:
            room[kind] -= size.get(kind, 0)
    return sorted(tuple(sorted(members)) for members, _ in rows)
