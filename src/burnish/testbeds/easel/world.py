"""Pictures of a few coloured things in the cells of a grid, their truth exactly known. Knows numpy.

Four shapes in six colours on a dark ground, 32 x 32 pixels of 4 x 4 cells; each shape is 6 pixels wide and stands one
pixel to the right or below where it would, or not, so that two never touch. Real pictures (emoji and stamps on coloured
cards) make a world of the same form, see :mod:`burnish.testbeds.easel.sprites`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

Box = tuple[float, float, float, float]
COLOURS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.93, 0.20, 0.22),
    "green": (0.20, 0.86, 0.38),
    "blue": (0.22, 0.45, 0.98),
    "yellow": (1.00, 0.85, 0.20),
    "purple": (0.72, 0.30, 0.95),
    "white": (0.96, 0.96, 0.94),
}
GROUND = (0.07, 0.08, 0.11)
INK = 0.55
"""Of the brightest channel, in 0..1. The palette's colours exceed it by far, the ground by no means."""
WIDTHS: Mapping[str, tuple[int, ...]] = {
    "circle": (4, 6, 6, 6, 6, 4),
    "square": (6, 6, 6, 6, 6, 6),
    "triangle": (2, 2, 4, 4, 6, 6),
    "cross": (2, 2, 6, 6, 2, 2),
}
"""Inked pixels of each row of a shape, in the middle of it."""
PLURALS: Mapping[str, str] = {"cross": "crosses"}
"""Where it is more than the name and an s."""


@dataclass(frozen=True)
class Thing:
    """One thing of a picture.

    Attributes:
        name: "circle".
        colour: "red".
        row: of its cell, from 0 at the top.
        column: from 0 at the left.
    """

    name: str
    colour: str
    row: int
    column: int

    def box(self, grid: int) -> Box:
        """Its cell as shares of the picture's sides: left, top, right, bottom."""
        return self.column / grid, self.row / grid, (self.column + 1) / grid, (self.row + 1) / grid


@dataclass(frozen=True)
class Looks:
    """How each thing looks in each colour.

    Attributes:
        pixels: in 0..1, on the ground.
        inked: which pixels' brightest channel exceeds :data:`INK`: not the ground, nor what is dark in a picture.
        which: name and colour of each.
    """

    pixels: Float32[np.ndarray, "looks side side 3"]
    inked: Bool[np.ndarray, "looks side side"]
    which: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class World:
    """What pictures are made of.

    Attributes:
        looks: of the things.
        grid: cells of a side.
        cell: pixels of a cell's side, at least two more than a look's: one keeps neighbours apart, one is to move in.
        held_out: pairs of name and colour that pictures for training never show.
        held_out_counts: names and how many of them likewise.
    """

    looks: Looks
    grid: int = 4
    cell: int = 8
    held_out: tuple[tuple[str, str], ...] = ()
    held_out_counts: tuple[tuple[str, int], ...] = ()

    @property
    def side(self) -> int:
        """Pixels of a picture's side."""
        return self.grid * self.cell

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the things, each once."""
        return tuple(dict.fromkeys(name for name, _ in self.looks.which))

    @cached_property
    def colours(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(dict.fromkeys(colour for _, colour in self.looks.which))

    def wording(self) -> dict[str, Any]:
        """Settings of a :class:`burnish.generate.plan.Wording` for plans of this world."""
        return {
            "names": list(self.names),
            "attributes": {"colour": list(self.colours)},
            "grid": [self.grid, self.grid],
            "most": MOST_THINGS,
            "most_count": 1,
        }


MOST_THINGS = 6


def plural(name: str) -> str:
    """ "circles", "crosses"."""
    return PLURALS.get(name, f"{name}s")


def shape_looks(
    names: Sequence[str] = tuple(WIDTHS), colours: Mapping[str, tuple[float, float, float]] = COLOURS
) -> Looks:
    """The looks of shapes, each in each colour."""
    middle = np.abs(np.arange(6) - 2.5)
    inked = np.stack([middle[None, :] < np.array(WIDTHS[name])[:, None] / 2 for name in names for _ in colours])
    ink = np.array([colour for _ in names for colour in colours.values()], dtype=np.float32)
    pixels = np.where(inked[..., None], ink[:, None, None], np.array(GROUND, dtype=np.float32)).astype(np.float32)
    return Looks(pixels, inked, tuple((name, colour) for name in names for colour in colours))


SHAPE_WORLD = World(
    shape_looks(),
    held_out=(("circle", "white"), ("square", "purple"), ("triangle", "blue"), ("cross", "yellow")),
    held_out_counts=(("circle", 3), ("triangle", 4)),
)


def render(things: Sequence[Thing], world: World, rng: np.random.Generator) -> UInt8[np.ndarray, "side side 3"]:
    """A picture of things; each stands at its cell's corner, or one pixel off it.

    Args:
        things: at most one in a cell.
        world: which has their looks.
        rng: of the pixel.

    Raises:
        ValueError: two things in one cell, a cell that is not there, or a thing without a look.
    """
    cells = [(thing.row, thing.column) for thing in things]
    if len(set(cells)) < len(cells) or not all(0 <= at < world.grid for cell in cells for at in cell):
        raise ValueError(f"cells {cells}: one twice, or beyond a grid of {world.grid} x {world.grid}")
    canvas = np.empty((world.side, world.side, 3), dtype=np.float32)
    canvas[:] = GROUND
    size = world.looks.pixels.shape[1]
    for thing, (down, right) in zip(things, rng.integers(2, size=(len(things), 2)).tolist(), strict=True):
        top, left = thing.row * world.cell + down, thing.column * world.cell + right
        look = world.looks.which.index((thing.name, thing.colour))
        canvas[top : top + size, left : left + size] = world.looks.pixels[look]
    return np.rint(255 * canvas).astype(np.uint8)
