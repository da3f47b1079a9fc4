"""What is in a picture, exactly, and whether it is what a prompt or a plan asks for. Knows numpy and scipy.

Pixels whose brightest channel exceeds .55 are ink, and ink that touches (diagonally too) is a blob. Where in a blob
some look fits best, by root mean square over the look's square, there it stands, if it covers at least .7 of the union
with the ink there; the ink is taken away, and what remains is looked at in the same way. A blob that is like no look is
a thing without a name, which no prompt asks for. Stricter than GenEval: a thing more than asked for is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from burnish.testbeds.easel.prompts import Ask, parse_prompt, related
from burnish.testbeds.easel.world import GROUND, INK, Box, Looks, Thing, World

LEAST_OVERLAP = 0.7
FARTHEST = 0.3
"""Root mean square of the difference to a look, in 0..1, at most."""
SHADE = 0.2
"""Likewise of the difference of their mean colours, over the ink: a grey square is of none of the colours."""
SPECK = 4
"""Fewer pixels than this together are noise and no thing."""


@dataclass(frozen=True)
class Found:
    """What was found in a picture.

    Attributes:
        name: none if it is like nothing in this world.
        colour: likewise.
        row: of its centre, in cells from the top: 0.0 in the middle of the first row.
        column: from the left.
        box: around its ink, as shares of the picture's sides.
    """

    name: str | None
    colour: str | None
    row: float
    column: float
    box: Box


def find(picture: UInt8[np.ndarray, "side side 3"], world: World) -> list[Found]:
    """The things in a picture, from the top left on.

    Raises:
        ValueError: the picture is not of this world's size.
    """
    from scipy import ndimage

    if picture.shape != (world.side, world.side, 3):
        raise ValueError(f"a picture of {picture.shape}; this world's are {world.side} x {world.side} x 3")
    size, edge = world.looks.pixels.shape[1], world.looks.pixels.shape[1] + 1
    # A margin of ground on all sides, so that every square around a look lies inside.
    pixels = np.full((world.side + 2 * edge, world.side + 2 * edge, 3), GROUND, dtype=np.float32)
    pixels[edge:-edge, edge:-edge] = picture.astype(np.float32) / 255
    ink = np.pad(picture.max(axis=-1) > 255 * INK, edge)
    found: list[Found] = []
    while True:
        marks, _ = ndimage.label(ink, structure=np.ones((3, 3)))
        areas = np.bincount(marks.ravel())
        blobs = [number for number in range(1, len(areas)) if areas[number] >= SPECK]
        if not blobs:
            return sorted(found, key=lambda one: (round(one.row), round(one.column)))
        for number in blobs:
            blob = marks == number
            rows, columns = ndimage.find_objects(marks)[number - 1]
            fit = _best_fit(pixels, blob, rows, columns, world.looks)
            if fit is None:
                found.append(_found(None, (columns.start, rows.start, columns.stop, rows.stop), edge, world))
                ink &= ~blob
                continue
            look, top, left = fit
            found.append(_found(world.looks.which[look], (left, top, left + size, top + size), edge, world))
            # With a ring of one pixel: a frayed edge is no thing of its own.
            ink[top - 1 : top + size + 1, left - 1 : left + size + 1] &= ~blob[
                top - 1 : top + size + 1, left - 1 : left + size + 1
            ]


def _best_fit(
    pixels: np.ndarray, blob: np.ndarray, rows: slice, columns: slice, looks: Looks
) -> tuple[int, int, int] | None:
    """The look most like something in a blob, with its top and left; none if it is not like it enough."""
    size = looks.pixels.shape[1]
    best = (np.inf, 0, 0, 0)
    for top in range(rows.start - 1, max(rows.start + 1, rows.stop - size + 1) + 1):
        for left in range(columns.start - 1, max(columns.start + 1, columns.stop - size + 1) + 1):
            window = pixels[top : top + size, left : left + size]
            distance = ((looks.pixels - window) ** 2).mean(axis=(1, 2, 3))
            best = min(best, (float(distance.min()), int(distance.argmin()), top, left))
    squared, look, top, left = best
    shared = blob[top : top + size, left : left + size] & looks.inked[look]
    both = shared.sum()
    there = blob[top - 1 : top + size + 1, left - 1 : left + size + 1].sum()
    union = there + looks.inked[look].sum() - both
    if both < LEAST_OVERLAP * union or squared > FARTHEST**2:
        return None
    shade = (pixels[top : top + size, left : left + size] - looks.pixels[look])[shared].mean(axis=0)
    return (look, top, left) if (shade**2).mean() <= SHADE**2 else None


def _found(which: tuple[str, str] | None, edges: tuple[int, int, int, int], margin: int, world: World) -> Found:
    left, top, right, bottom = (min(max(each - margin, 0), world.side) for each in edges)
    name, colour = which or (None, None)
    row, column = ((low + high) / 2 / world.cell - 0.5 for low, high in ((top, bottom), (left, right)))
    box = (left / world.side, top / world.side, right / world.side, bottom / world.side)
    return Found(name, colour, row, column, box)


def fulfils(found: Sequence[Found], ask: Ask) -> bool:
    """Whether exactly what was asked for is there, and in the relation asked for. Groups differ in their names."""
    parts = [[one for one in found if one.name == group.name] for group in ask.groups]
    exact = all(
        len(part) == group.count and all(group.colour in (None, one.colour) for one in part)
        for part, group in zip(parts, ask.groups, strict=True)
    )
    if not exact or len(found) != sum(group.count for group in ask.groups):
        return False
    if ask.relation is None:
        return True
    first, second = ([(one.row, one.column) for one in part] for part in parts)
    return related(first, second, ask.relation)


def judge(prompt: str, picture: UInt8[np.ndarray, "side side 3"], world: World) -> bool:
    """Whether a picture shows exactly what a prompt asks for.

    Raises:
        ValueError: not a prompt of this world, or a picture of another size.
    """
    return fulfils(find(picture, world), parse_prompt(prompt, world))


def shows(found: Sequence[Found], things: Sequence[Thing]) -> bool:
    """Whether a picture shows a plan: these things in these cells, and nothing else."""
    seen = [(one.name, one.colour, round(one.row), round(one.column)) for one in found]
    asked = [(thing.name, thing.colour, thing.row, thing.column) for thing in things]
    return sorted(seen, key=str) == sorted(asked, key=str)


def as_rows(found: Sequence[Found]) -> list[dict[str, object]]:
    """What was found as rows of a layout: ``name``, ``attributes``, ``box``; what has no name is called "something"."""
    return [
        {
            "name": one.name or "something",
            "attributes": [] if one.colour is None else [one.colour],
            "box": list(one.box),
        }
        for one in found
    ]
