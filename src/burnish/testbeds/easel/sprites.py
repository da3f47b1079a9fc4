"""The easel with real pictures: emoji (Noto) and stamps (Tux Paint, many cut-out photographs) on coloured cards.

"A red frog" is a frog on a red card: its colour is exact, and the picture on it is real. Knows numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from burnish.testbeds.easel.sources import TEST, TRAINING, rows
from burnish.testbeds.easel.world import COLOURS, INK, Looks, World
from burnish.testbeds.sprites import load_sprites

EMOJI = ("rocket", "snail", "sunflower", "crown")
STAMPS = ("frog", "lion", "carrot", "penguin")
"""Names of things; a stamp's caption is the name after its article. None begins with a vowel, for prompts say "a"."""
CARD, INSET = 14, 1
"""Pixels of a card's side, and of its rim on each side of the picture."""
CELL = 16


def sprite_world(emoji: Path | None = None, stamps: Path | None = None) -> World:
    """Eight things on cards of six colours, 64 x 64 pixels of 4 x 4 cells.

    Args:
        emoji: a folder of emoji pictures instead of the packaged ones.
        stamps: likewise.

    Raises:
        UserError: a picture is missing there, or neither data nor the tool that fetches it is there.
    """
    drawn = load_sprites(EMOJI, STAMPS, CARD - 2 * INSET, emoji, stamps)
    names = (*EMOJI, *STAMPS)
    pixels = np.stack([_card(sprite, ink) for sprite in drawn for ink in COLOURS.values()])
    which = tuple((name, colour) for name in names for colour in COLOURS)
    held_out = tuple((name, tuple(COLOURS)[place % len(COLOURS)]) for place, name in enumerate(names))
    counts = (("rocket", 3), ("frog", 3))
    return World(Looks(pixels, pixels.max(axis=-1) > INK, which), cell=CELL, held_out=held_out, held_out_counts=counts)


def _card(sprite: np.ndarray, ink: tuple[float, float, float]) -> np.ndarray:
    """[card, card, 3]: the sprite on a colour."""
    card = np.empty((CARD, CARD, 3), dtype=np.float32)
    card[:] = ink
    inner = card[INSET:-INSET, INSET:-INSET]
    inner[:] = inner * (1 - sprite[..., 3:]) + sprite[..., :3] * sprite[..., 3:]
    return card


def training() -> Iterator[dict[str, Any]]:
    """Scenes to train on; a recipe names them ``burnish.testbeds.easel.sprites:training``."""
    yield from rows(8192, TRAINING, sprite_world())


def test() -> Iterator[dict[str, Any]]:
    """Other scenes; ``burnish.testbeds.easel.sprites:test``."""
    yield from rows(700, TEST, sprite_world())
