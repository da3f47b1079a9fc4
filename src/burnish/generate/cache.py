"""What was read once is not read again: keys and values of a row so far, and passes that only add to it.

A cache is never changed: adding gives a new one, and both share what they have in common. So branches (several
drawings of one prompt, the conditions of guidance, a correction after a draft) need no copies. Text never sees noise,
so a picture that is being drawn leaves nothing behind. Knows the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.core.errors import UserError
from burnish.generate.attention import Mask
from burnish.generate.layers import Past, Reading
from burnish.generate.model import UnifiedModel
from burnish.generate.records import Batch, Layout, Outputs, Segment
from burnish.generate.sequence import positions, row_mask, storage


@dataclass(frozen=True)
class Cache:
    """Rows that were read.

    Attributes:
        layout: of what was read; one document, nothing noisy.
        order: reading place of every key, as they lie in memory.
        pasts: keys and values, a layer.
        real: see ``Batch``; none where all text is real.
        outputs: what the model said of the tokens that were added last.
    """

    layout: Layout
    order: Int[Tensor, " past"]
    pasts: tuple[Past, ...]
    real: Bool[Tensor, "batch text"] | None
    outputs: Outputs

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.pasts[0].keys)

    def next_image(self) -> int:
        """A number that no picture has."""
        return 1 + max((segment.image for segment in self.layout.segments if segment.image is not None), default=-1)


def extend(model: UnifiedModel, cache: Cache | None, batch: Batch, join: bool = False) -> Cache:
    """Read more text and clean pictures, after what was read.

    Args:
        model: that read the cache.
        cache: what was read; none at the beginning.
        batch: the new segments alone.
        join: text that goes on the last segment, not a segment of its own (a token that was just written).

    Raises:
        UserError: a noisy picture (it leaves nothing to keep), another document, or other rows.
    """
    if batch.layout.tokens("noisy") or any(segment.document for segment in batch.layout.segments):
        raise UserError("cache: holds text and clean pictures of one document; noisy ones are drawn after it")
    if cache is not None and cache.rows != len(batch.tokens):
        raise UserError(f"cache: holds {cache.rows} rows, {len(batch.tokens)} were given")
    layout = batch.layout if cache is None else _joined(cache.layout, batch.layout, join)
    real = _together(cache, batch)
    order = storage(batch.layout, model.kinds).to(batch.tokens.device)
    keys = order
    if cache is not None:
        order = order + len(cache.order)
        keys = torch.cat([cache.order, order])
    reading = _reading(model, layout, order, keys, real, None)
    states, news = model.read(batch, reading, None if cache is None else cache.pasts)
    pasts = news if cache is None else tuple(old.then(new) for old, new in zip(cache.pasts, news, strict=True))
    return Cache(layout, keys, pasts, real, model.heads(states, batch))


def _joined(before: Layout, new: Layout, join: bool) -> Layout:
    segments = list(new.segments)
    last = before.segments[-1]
    if not join or last.kind != "text" or segments[0].kind != "text":
        return Layout((*before.segments, *segments))
    grown = replace(last, length=last.length + segments[0].length)
    return Layout((*before.segments[:-1], grown, *segments[1:]))


def _together(cache: Cache | None, batch: Batch) -> Bool[Tensor, "batch text"] | None:
    if cache is None:
        return batch.real
    if cache.real is None and batch.real is None:
        return None
    before = torch.ones(cache.rows, cache.layout.tokens("text"), dtype=torch.bool, device=batch.tokens.device)
    new = torch.ones_like(batch.tokens, dtype=torch.bool) if batch.real is None else batch.real
    return torch.cat([before if cache.real is None else cache.real, new], dim=1)


def _reading(
    model: UnifiedModel,
    layout: Layout,
    order: Tensor,
    keys: Tensor,
    real: Tensor | None,
    hidden: Tensor | None,
) -> Reading:
    places = positions(layout, real)[:, order.cpu()].to(order.device)
    return model.reading(places, Mask(row_mask(layout, order, keys, real, hidden)), "sdpa")


@dataclass(frozen=True)
class Easel:
    """A place to draw after a cache, the same at every step: positions and mask are worked out once.

    Attributes:
        cache: what the pictures see.
        layout: of the pictures alone.
        reading: of a pass over them.
    """

    cache: Cache
    layout: Layout
    reading: Reading


def easel(
    model: UnifiedModel,
    cache: Cache,
    count: int,
    image: int,
    hidden: Bool[Tensor, "batch noisies segments"] | None = None,
) -> Easel:
    """Prepare ``count`` noisy copies of one picture after a cache: they do not see each other.

    Args:
        model: that read the cache.
        cache: the prompt, the plan, pictures seen before.
        count: copies: one a branch of guidance.
        image: the picture's number; text that follows it sees the clean copy of this number.
        hidden: segments of the cache that a copy must not see.
    """
    layout = Layout(tuple(Segment("noisy", model.config.patches, image) for _ in range(count)))
    joint = Layout((*cache.layout.segments, *layout.segments))
    order = storage(layout, model.kinds).to(cache.order.device) + len(cache.order)
    if hidden is not None:
        hidden = torch.cat([hidden, torch.zeros_like(hidden[:, :, :1]).expand(-1, -1, count)], dim=2)
    reading = _reading(model, joint, order, torch.cat([cache.order, order]), cache.real, hidden)
    return Easel(cache, layout, reading)


def denoise(
    model: UnifiedModel,
    place: Easel,
    noisy: Float[Tensor, "batch noisies patches dim"],
    times: Float[Tensor, "batch noisies"],
) -> Float[Tensor, "batch noisies patches dim"]:
    """The pictures without noise, as the model sees them. Only noisy tokens are computed."""
    rows = len(noisy)
    batch = Batch(
        layout=place.layout,
        tokens=torch.zeros(rows, 0, dtype=torch.long, device=noisy.device),
        clean=noisy[:, :0],
        noisy=noisy,
        times=times,
    )
    states, _ = model.read(batch, place.reading, place.cache.pasts)
    return model.heads(states, batch).estimates
