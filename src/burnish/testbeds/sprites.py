"""Scenes of real pictures: emoji (Noto) and stamps (Tux Paint, many cut-out photographs). Knows numpy and Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from burnish.core.errors import UserError
from burnish.testbeds.data import Picture, load_pictures
from burnish.testbeds.scenes import World

EMOJI = ("automobile", "banana", "crown", "key", "rocket", "snail", "sunflower", "umbrella")
STAMPS = ("frog", "owl", "lion", "strawberry", "zebra", "carrot", "pineapple", "penguin")
"""Names of things; a stamp's caption is the name after its article."""
CELL = 16


def sprite_world(emoji: Path | None = None, stamps: Path | None = None) -> World:
    """Sixteen things on a grid of three by three, two to five in a scene.

    Args:
        emoji: a folder of emoji pictures instead of the packaged ones.
        stamps: likewise.

    Raises:
        UserError: a picture is missing there, or neither data nor the tool that fetches it is there.
    """
    drawn = load_sprites(EMOJI, STAMPS, CELL, emoji, stamps)
    things = tuple((name, ()) for name in (*EMOJI, *STAMPS))
    return World(things, np.stack(drawn), grid=3, cell=CELL, fewest=2, most=5)


def load_sprites(
    of_emoji: Sequence[str], of_stamps: Sequence[str], side: int, emoji: Path | None = None, stamps: Path | None = None
) -> list[Float32[np.ndarray, "side side 4"]]:
    """RGBA in 0..1 of things by name, each picture's shape kept.

    Args:
        of_emoji: emoji's names.
        of_stamps: stamps' names, their captions without the article.
        side: pixels.
        emoji: a folder of emoji pictures instead of the packaged ones.
        stamps: likewise.

    Raises:
        UserError: a picture is missing there, or neither data nor the tool that fetches it is there.
    """
    drawn = [_sprite(_named(load_pictures("emoji", emoji), name, name), side) for name in of_emoji]
    for name in of_stamps:
        caption = f"{'An' if name[0] in 'aeiou' else 'A'} {name}."
        drawn.append(_sprite(_named(load_pictures("stamps", stamps), caption, name), side))
    return drawn


def _named(pictures: list[Picture], caption: str, name: str) -> Picture:
    found = next((picture for picture in pictures if picture.caption == caption), None)
    if found is None:
        raise UserError(f"sprites: no picture captioned `{caption}` for the thing `{name}`; get the data anew")
    return found


def _sprite(picture: Picture, side: int) -> np.ndarray:
    opened = Image.open(picture.path).convert("RGBA")
    opened = opened.crop(opened.getbbox())  # most stamps have wide margins without ink
    opened.thumbnail((side, side), Image.Resampling.BOX)
    cell = Image.new("RGBA", (side, side))
    cell.paste(opened, ((side - opened.width) // 2, (side - opened.height) // 2))
    return np.asarray(cell, dtype=np.float32) / 255
