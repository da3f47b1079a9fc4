"""What can be had in the study's world by a captioner without a fault, before anything is measured; exact.

Such a captioner sees all there is and writes a partial caption of it, drawn anew each time: every thing is kept with
the world's probability, and one at least. All shares are of things, over scenes of 2, 3 and 4 of them in equal parts.
"""

from __future__ import annotations

from math import comb

from burnish.testbeds.scenes import KEPT, SHAPE_WORLD

SIZES = tuple(range(SHAPE_WORLD.fewest, SHAPE_WORLD.most + 1))
"""Things of a scene."""


def kept_counts(things: int) -> list[float]:
    """Chance that a caption of a scene names none, one, two ... of its things.

    >>> [round(each, 2) for each in kept_counts(2)]
    [0.0, 0.64, 0.36]
    """
    chances = [comb(things, kept) * KEPT**kept * (1 - KEPT) ** (things - kept) for kept in range(things + 1)]
    return [0.0, chances[0] + chances[1], *chances[2:]]


def caption_recall() -> float:
    """Share of the things that a partial caption names: of the supervised texts, and of every sampled answer.

    >>> round(caption_recall(), 3)
    0.628
    """
    named = sum(kept * chance for things in SIZES for kept, chance in enumerate(kept_counts(things)))
    return named / sum(SIZES)


def greedy_recall() -> float:
    """Share that the likeliest word each time names: it ends once the end is likelier than any one thing more.

    >>> round(greedy_recall(), 3)
    0.444
    """
    named = 0
    for things in SIZES:
        chances = kept_counts(things)
        for kept in range(1, things + 1):
            end = chances[kept] / sum(chances[kept:])
            if kept == things or end > (1 - end) / (things - kept):
                break
        named += kept
    return named / sum(SIZES)


def voted_recall(views: int, threshold: int) -> float:
    """Share of the things that so many of the views' answers name, where each sees the whole picture.

    >>> round(voted_recall(4, 1), 3), round(voted_recall(4, 2), 3)
    (0.979, 0.85)
    """
    agreed = 0.0
    for things in SIZES:
        chance = sum(kept * each for kept, each in enumerate(kept_counts(things))) / things
        agreed += things * sum(
            comb(views, votes) * chance**votes * (1 - chance) ** (views - votes)
            for votes in range(threshold, views + 1)
        )
    return agreed / sum(SIZES)
