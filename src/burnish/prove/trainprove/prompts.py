"""Prompts for a class, as the paper's text and its released code use them. Words and whole numbers only, no model.

Source: TrainProVe (CVPR 2025), section 4.1, corrected from the released code: shadow sets take ``class``, validation
sets ``photo``; the mixture of strategies makes the *suspects'* training sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from burnish.core.errors import UserError, nearest

DOMAINS = (
    "photo",
    "drawing",
    "painting",
    "sketch",
    "collage",
    "poster",
    "digital art image",
    "rock drawing",
    "stick figure",
    "3D rendering",
)
Strategy = Literal["name", "class", "photo", "domain", "random_guidance", "gloss", "suspect"]


class Prompt(NamedTuple):
    """Text for a text-to-image model, and its guidance scale (``None``: the pipeline's own default)."""

    text: str
    guidance: float | None = None


def class_prompts(
    strategy: Strategy, name: str, count: int, rng: np.random.Generator, *, gloss: str = ""
) -> list[Prompt]:
    """``count`` prompts for the class ``name``.

    Args:
        strategy: ``name`` the bare name; ``class`` "a NAME" (shadow sets); ``photo`` "a photo of a NAME" (validation
            sets);
            ``domain`` "a DOMAIN of a NAME" over the ten domains in turn; ``random_guidance`` "an image of a NAME" at
            one whole guidance 1..5 drawn for the class; ``gloss`` "NAME, GLOSS" at guidance 2; ``suspect`` the first,
            the fourth and the fifth in equal parts, as the suspects' sets were made.
        name: of the class.
        count: how many.
        rng: draws the guidance.
        gloss: the definition that ``gloss`` adds.

    Raises:
        UserError: an unknown strategy, or a missing gloss.
    """
    match strategy:
        case "name":
            return [Prompt(name)] * count
        case "class":
            return [Prompt(f"a {name}")] * count
        case "photo":
            return [Prompt(f"a photo of a {name}")] * count
        case "domain":
            return [Prompt(f"a {DOMAINS[index % len(DOMAINS)]} of a {name}") for index in range(count)]
        case "random_guidance":
            return [Prompt(f"an image of a {name}", float(rng.integers(1, 6)))] * count
        case "gloss":
            if not gloss:
                raise UserError(f"gloss: the class `{name}` has none; strategy `gloss` needs a definition for each")
            return [Prompt(f"{name}, {gloss}", 2.0)] * count
        case "suspect":
            parts: Sequence[Strategy] = ("name", "domain", "random_guidance")
            sizes = [len(part) for part in np.array_split(np.arange(count), len(parts))]
            return [
                each for part, size in zip(parts, sizes, strict=True) for each in class_prompts(part, name, size, rng)
            ]
    raise UserError(f"strategy: `{strategy}` is unknown; {nearest(str(strategy), get_args(Strategy))}")
