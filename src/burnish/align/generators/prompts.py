"""Prompts as one row of numbers each, pictures in them; which of them begin alike; each picture read once.

Knows processors that give one entry a picture (LLaVA, DeepSeek-VL and their like), through what they return.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from PIL import Image
from torch import Tensor

from burnish.core.errors import UserError
from burnish.dialogue.input_check import image_token_id
from burnish.dialogue.models import ChatModel

Keys = Int64[np.ndarray, " _tokens"]
"""A prompt: of each token its id, or, where a picture's feature stands, -1 less that feature's row."""

LEAST_SAVED = 64
"""A shared beginning is read on its own if that spares at least so many tokens; a pass of its own costs time, too."""


@dataclass(frozen=True)
class Prompts:
    """Prompts as the language model gets them.

    Attributes:
        keys: of each prompt.
        features: what the vision part made of the pictures, all of the first, then all of the second; none without.
        pictures: how many.
    """

    keys: tuple[Keys, ...]
    features: Float[Tensor, "places width"] | None = None
    pictures: int = 0


@dataclass(frozen=True)
class Beginning:
    """What some prompts begin with.

    Attributes:
        members: which prompts.
        end: how many tokens.
    """

    members: tuple[int, ...]
    end: int


def encode_prompts(
    chat: ChatModel, texts: Sequence[str], images: Sequence[Image.Image] | None, names: Sequence[str] = ()
) -> Prompts:
    """Tokens of rendered prompts, and the features of their pictures, those of the same name once.

    Args:
        chat: the model.
        texts: of :meth:`burnish.dialogue.models.ChatModel.render`.
        images: one a prompt; none for prompts without.
        names: of the pictures (:func:`burnish.align.records.picture_hash`).

    Raises:
        UserError: the processor refuses them, gives other than one entry a picture, or other places than features.
    """
    found = chat.encode(texts, None if images is None else [[image] for image in images])
    # beginnings are compared on the processor, where the tokenizer had them
    ids, kept = found["input_ids"].cpu().numpy(), found["attention_mask"].cpu().numpy().astype(bool)
    rows = [row[own].astype(np.int64) for row, own in zip(ids, kept, strict=True)]
    if images is None:
        return Prompts(tuple(rows))
    pixels = found.get("pixel_values")
    if pixels is None or pixels.ndim != 4 or len(pixels) != len(texts):
        raise UserError(f"{chat.name}: its processor gives other than one entry of pixels a picture")
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    first = [names.index(name) for name in order]
    features = _features(chat.model, pixels[first])
    places = len(features) // len(order)
    mark = image_token_id(chat)
    for row, name in zip(rows, names, strict=True):
        marked = row == mark
        if marked.sum() != places:
            raise UserError(
                f"{chat.name}: a picture fills {places} tokens, and its prompt holds {marked.sum()}; processor and "
                "model do not fit"
            )
        row[marked] = -1 - (order[name] * places + np.arange(places))
    return Prompts(tuple(rows), features, len(order))


def _features(model: Any, pixels: Float[Tensor, "pictures 3 height width"]) -> Float[Tensor, "places width"]:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    found = inner.model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output
    rows = torch.cat(list(found)) if isinstance(found, list | tuple) else found.flatten(0, -2)
    if len(rows) % len(pixels):
        raise UserError("the vision part gives pictures of one size different numbers of features")
    return rows


def embedded(
    model: Any, keys: Int[Tensor, "rows tokens"], features: Float[Tensor, "places width"] | None
) -> Float[Tensor, "rows tokens width"]:
    """What the language model reads: embeddings of tokens, and features where pictures stand."""
    found: Tensor = model.get_input_embeddings()(keys.clamp(min=0))
    if features is None:
        return found
    shown = features[(-1 - keys).clamp(min=0)].to(found)
    return torch.where((keys < 0)[..., None], shown, found)


def beginnings(
    keys: Sequence[Keys], groups: Iterable[Hashable], begun: Sequence[int], least: int = LEAST_SAVED
) -> list[Beginning]:
    """What the prompts of each group have in common from their start, where reading it once is worth a pass.

    The last token is never among it: what follows a prompt is read off there.

    Args:
        keys: the prompts; no two are equal.
        groups: to which each belongs.
        begun: how many tokens of each are read already, the same for all of a group.
        least: how many tokens the groups together must save.
    """
    members: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    found = [
        Beginning(tuple(numbers), end)
        for numbers in members.values()
        if len(numbers) > 1 and (end := _common([keys[number] for number in numbers])) > begun[numbers[0]]
    ]
    saved = sum((each.end - begun[each.members[0]]) * (len(each.members) - 1) for each in found)
    return found if saved >= least else []


def _common(rows: Sequence[Keys]) -> int:
    shortest = min(map(len, rows)) - 1
    same = np.logical_and.reduce([row[:shortest] == rows[0][:shortest] for row in rows])
    return shortest if bool(same.all()) else int(same.argmin())
