"""How much of the suspect's training set was mine? Inverse calibration on shadows trained on known mixtures. Pure
numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from burnish.core.errors import UserError

GRID = np.linspace(0.0, 1.0, 201)


@dataclass(frozen=True)
class Fraction:
    """Estimated share of the training images that came from my generator, with its interval, all in 0..1."""

    estimate: float
    low: float
    high: float


def estimate_fraction(
    scores: Float[np.ndarray, " n"], fractions: Float[np.ndarray, " n"], value: float, *, level: float = 0.95
) -> Fraction | None:
    """Invert the calibration curve of mixture shadows: which fractions would give a score like ``value``?

    The curve joins the mean scores of the known fractions (made monotone from below); the interval holds every fraction
    whose prediction interval (Student's t, pooled spread) contains ``value``. None where no fraction's does: the
    suspect is not like any mixture, and nothing can be said of its share.

    Raises:
        UserError: fewer than two known fractions, or one model for each: nothing says how far they spread.
    """
    from scipy import stats

    known, place, count = np.unique(fractions, return_inverse=True, return_counts=True)
    free = len(scores) - len(known)
    if len(known) < 2 or free < 1:
        raise UserError("mixtures: need shadows of at least two known fractions, and more than one of some")
    means = np.bincount(place, scores) / count
    spread = float(np.sqrt(((scores - means[place]) ** 2).sum() / free))
    curve = np.interp(GRID, known, np.maximum.accumulate(means))
    width = stats.t.ppf((1 + level) / 2, free) * spread * np.sqrt(1 + np.interp(GRID, known, 1 / count))
    distance = np.abs(curve - value)
    estimate = float(GRID[np.argmin(distance)])
    inside = GRID[distance <= width]
    if len(inside) == 0:
        return None
    return Fraction(estimate, float(min(inside[0], estimate)), float(max(inside[-1], estimate)))
