"""A model's own drafts as rows for ``reflect``: what it draws of training prompts, and where that is not as planned.

Defects made by moving pixels are not those that a model makes; its own drafts are, and where pictures can be read by
other means than the model their faults need no person to mark them. Knows the artist's face and plans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from burnish.generate.plan import Box, Plan
from burnish.generate.plan_diff import diff
from burnish.generate.steps.state import Artist, Heat, Picture
from burnish.generate.training.defects import pixels_of
from burnish.generate.training.samples import Sample

Marker = Callable[[Sample, Picture], Heat]
"""Marks where a draft of a sample is not what it should be."""


def own_drafts(
    artist: Artist, samples: Sequence[Sample], marker: Marker, seed: int, planned: bool = True
) -> list[Sample]:
    """One draft of each sample, with its faults as the heat that is wanted of reflection.

    Args:
        artist: the model as it is.
        samples: of the training, never of a test.
        marker: says where a draft is wrong: :func:`faults` of what a reader of pictures finds, where there is one.
        seed: of the noise.
        planned: draw by the samples' plans; else from the prompts alone.
    """
    plans = [sample.plan if planned else None for sample in samples]
    seeds = np.random.SeedSequence([seed, 14]).generate_state(len(samples)).tolist()
    pictures = artist.draw([sample.prompt for sample in samples], plans, seeds)
    return [
        replace(sample, row=f"draft of {sample.row}", image=picture, heat=marker(sample, picture))
        for sample, picture in zip(samples, pictures, strict=True)
    ]


def faults(asked: Plan, drawn: Plan, grid: tuple[int, int]) -> Heat:
    """1 in the patches where a plan is not kept, 0 elsewhere: of what is missing, where it was asked for; of what is
    there unasked, where it is; of what was moved, both.

    Args:
        asked: the plan.
        drawn: what was found in the picture.
        grid: rows and columns of patches.
    """
    found = diff(asked, drawn)
    wrong = [*found.missing, *found.extra, *(unit for pair in (*found.moved, *found.changed) for unit in pair)]
    return heat_of([unit.box for unit in wrong if unit.box is not None], grid)


def heat_of(boxes: Sequence[Box], grid: tuple[int, int]) -> Heat:
    """1 in every patch that a box covers by half or more of its rounded sides, one at least; 0 elsewhere."""
    heat = np.zeros(grid, dtype=np.float32)
    for box in boxes:
        top, left, bottom, right = pixels_of(box, grid)
        heat[top:bottom, left:right] = 1
    return heat
