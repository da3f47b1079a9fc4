"""What is known of each sample: how hard its teacher is to follow, how much it should, how often it was chosen.

All of it is arrays over the whole set, pure. Source: SAKD, section 3 (difficulty, strength, selection probability).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64
from scipy.stats import rankdata

from burnish.core.errors import UserError
from burnish.distill.settings import DifficultySettings, Normaliser, Rarity

Values = Float32[np.ndarray, " samples"]


def selection_probability(counts: Int64[np.ndarray, " samples"]) -> Values:
    """p_i = (1 / (s_i + 1)) / sum_j 1 / (s_j + 1), of how often each was chosen.

    >>> (7 * selection_probability(np.array([0, 1, 3]))).round(5).tolist()
    [4.0, 2.0, 1.0]
    """
    rare = 1 / (counts.astype(np.float64) + 1)
    shares: np.ndarray = (rare / rare.sum()).astype(np.float32)
    return shares


def normalise(values: Values, normaliser: Normaliser) -> Values:
    """Values over a set as numbers from 0 to 1.

    Args:
        values: of each sample.
        normaliser: ``min_max``; or ``rank``: mean ranks, from 0 to 1. Equal values, all of them, are 0.
    """
    if len(values) == 0 or values.min() == values.max():
        return np.zeros_like(values)
    wide = values.astype(np.float64)
    if normaliser == "rank":
        wide = rankdata(wide)
    spread: np.ndarray = ((wide - wide.min()) / (wide.max() - wide.min())).astype(np.float32)
    return spread


def difficulty(losses: Values, counts: Int64[np.ndarray, " samples"], normaliser: Normaliser, rarity: Rarity) -> Values:
    """d_i: the distillation loss on the interrupted sample, times p_i where rarity counts twice, over the set.

    Args:
        losses: of the frozen student against the frozen teacher.
        counts: how often each was chosen.
        normaliser: of :func:`normalise`.
        rarity: of :class:`~burnish.distill.settings.DifficultySettings`.

    Raises:
        UserError: a loss that is no number, with the place of the first.
    """
    if len(bad := np.flatnonzero(~np.isfinite(losses))):
        raise UserError(
            f"difficulty: the loss of sample {bad[0]} is {losses[bad[0]]}; look at its file and the teacher"
        )
    raw = losses * selection_probability(counts) if rarity == "twice" else losses
    return normalise(raw.astype(np.float32), normaliser)


def strength(before: Values | None, hard: Values, trust: Values, rate: float, settings: DifficultySettings) -> Values:
    """alpha_i: the share of the distillation loss in a sample's loss.

    The first time g(d); then lambda alpha_i + (1 - lambda) g(d), where the kinds with beta multiply g by the rate.

    Args:
        before: strengths of the evaluation before; none at the first.
        hard: difficulties.
        trust: the teacher's probability of each label.
        rate: of the interruption.
        settings: which g, and lambda.
    """
    if settings.strength == "constant":
        return np.full_like(hard, 0.5)
    target = {"inverse": 1 - hard, "inverse_beta": 1 - hard, "official": hard, "trust": trust}[settings.strength]
    if before is None:
        return target.astype(np.float32)
    if settings.strength in ("inverse_beta", "official"):
        target = np.float32(rate) * target
    return blend(before, target, settings.history)


def blend(before: np.ndarray, new: np.ndarray, history: float) -> np.ndarray:
    """lambda before + (1 - lambda) new: strengths and features move so."""
    return (history * before + (1 - history) * new).astype(np.float32)


def quality(hard: Values, counts: Int64[np.ndarray, " samples"], rarity: Rarity) -> Values:
    """q_i of a selection, above 0: ease 1 - d_i, times 1 / (s_i + 1) where rarity counts there.

    The hardest sample of a set has ease 0 and could never be chosen; it gets what is a thousandth of the easiest.
    """
    ease = np.maximum(1 - hard, 1e-3)
    found: np.ndarray = (ease if rarity == "none" else ease / (counts + 1)).astype(np.float32)
    return found
