"""Pictures spoilt on purpose, with the patches where it shows, and masks of what is to be drawn anew.

The paper's four kinds of defect (incomplete, entangled, redundant, distorted), each made by moving pixels of boxes; its
own are marked by people or made with other models. Knows numpy.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

from burnish.generate.plan import Box, Plan
from burnish.generate.recipe import DefectSettings
from burnish.generate.steps.state import Mask, Picture

SEEN = 12
"""Levels of a byte by which a pixel must differ to be called spoilt."""


def spoilt(
    picture: Picture,
    plan: Plan | None,
    other: Picture,
    other_plan: Plan | None,
    grid: tuple[int, int],
    settings: DefectSettings,
    rng: np.random.Generator,
) -> tuple[Picture, Mask]:
    """A picture, faultless or with defects, and the patches that a defect changed.

    Args:
        picture: faultless.
        plan: whose boxes are where things are; without one a box is drawn at random.
        other: another picture, from which things come.
        other_plan: likewise.
        grid: rows and columns of patches.
        settings: how often, and how many.
        rng: of all choices.
    """
    found = picture.copy()
    if rng.random() < settings.share:
        for _ in range(int(rng.integers(1, settings.most + 1))):
            here = pixels_of(_choose(plan, grid, rng), picture.shape)
            kind = int(rng.integers(4))
            if kind == 0:  # incomplete: what stands elsewhere in this picture, often the ground, lies over it
                _paste(found, here, _window(picture, pixels_of(_free(plan, grid, rng), picture.shape)))
            elif kind == 1:  # entangled, or another thing in its place
                _paste(found, here, _window(other, pixels_of(_choose(other_plan, grid, rng), other.shape)))
            elif kind == 2:  # redundant: once more, where nothing is asked for
                _paste(found, pixels_of(_free(plan, grid, rng), picture.shape), _window(picture, here))
            else:  # distorted: rows moved against each other
                part = _window(found, here)
                for row in range(part.shape[0]):
                    part[row] = np.roll(part[row], int(rng.integers(part.shape[1])), axis=0)
                _paste(found, here, part)
    return found, changed(picture, found, grid)


def changed(one: Picture, two: Picture, grid: tuple[int, int]) -> Mask:
    """Patches in which any pixel differs visibly."""
    differs = (np.abs(one.astype(np.int16) - two) > SEEN).any(-1)
    rows, columns = grid
    height, width = differs.shape
    return np.asarray(differs.reshape(rows, height // rows, columns, width // columns).any((1, 3)))


def masked(
    plan: Plan | None, grid: tuple[int, int], settings: DefectSettings, rng: np.random.Generator
) -> Bool[np.ndarray, "rows columns"]:
    """Patches to draw anew: of some boxes of a plan, or a brush that wanders, each half of the time."""
    rows, columns = grid
    most = max(1, int(rng.integers(1, max(1, round(settings.masked * rows * columns)) + 1)))
    mask = np.zeros(grid, dtype=bool)
    boxes = [] if plan is None else [element.box for element in plan.elements if element.box is not None]
    if boxes and rng.random() < 0.5:
        for place in rng.permutation(len(boxes)):
            top, left, bottom, right = pixels_of(boxes[place], grid)
            mask[top:bottom, left:right] = True
            if mask.sum() >= most:
                break
        return mask
    row, column = int(rng.integers(rows)), int(rng.integers(columns))
    mask[row, column] = True
    for _ in range(4 * most):
        if mask.sum() >= most:
            break
        down, right = ((0, 1), (0, -1), (1, 0), (-1, 0))[int(rng.integers(4))]
        row, column = min(max(row + down, 0), rows - 1), min(max(column + right, 0), columns - 1)
        mask[row, column] = True
    return mask


def pixels_of(box: Box, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of a box in a grid of this height and width; one cell at least."""
    height, width = shape[:2]
    left, right = (round(share * width) for share in (box[0], box[2]))
    top, bottom = (round(share * height) for share in (box[1], box[3]))
    top, left = min(top, height - 1), min(left, width - 1)
    return top, left, max(bottom, top + 1), max(right, left + 1)


def _choose(plan: Plan | None, grid: tuple[int, int], rng: np.random.Generator) -> Box:
    boxes = [] if plan is None else [element.box for element in plan.elements if element.box is not None]
    return boxes[int(rng.integers(len(boxes)))] if boxes else _cell(grid, int(rng.integers(grid[0] * grid[1])))


def _free(plan: Plan | None, grid: tuple[int, int], rng: np.random.Generator) -> Box:
    """A cell that no box of the plan touches; any where there is none."""
    taken = np.zeros(grid, dtype=bool)
    for element in () if plan is None else plan.elements:
        if element.box is not None:
            top, left, bottom, right = pixels_of(element.box, grid)
            taken[top:bottom, left:right] = True
    free = np.flatnonzero(~taken)
    return _cell(grid, int(free[int(rng.integers(len(free)))] if len(free) else rng.integers(taken.size)))


def _cell(grid: tuple[int, int], place: int) -> Box:
    row, column = divmod(place, grid[1])
    return column / grid[1], row / grid[0], (column + 1) / grid[1], (row + 1) / grid[0]


def _window(picture: Picture, edges: tuple[int, int, int, int]) -> UInt8[np.ndarray, "high wide 3"]:
    top, left, bottom, right = edges
    return picture[top:bottom, left:right].copy()


def _paste(picture: Picture, edges: tuple[int, int, int, int], part: UInt8[np.ndarray, "high wide 3"]) -> None:
    """Part of a picture over another, from the top left corner of a place; what does not fit is cut off."""
    top, left, _, _ = edges
    height = min(part.shape[0], picture.shape[0] - top)
    width = min(part.shape[1], picture.shape[1] - left)
    picture[top : top + height, left : left + width] = part[:height, :width]
