"""Does a suspect stay with its own labels, and what would a test find in a guilty model that stays no better? Pure.

A service may answer a part of its questions at random. Its labels then say less of where it comes from than those of a
shadow, which always answers alike: the power measured on shadows as they are is not the power against such a suspect.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def self_agreement(first: Int[np.ndarray, " k"], again: Int[np.ndarray, "k times"]) -> float:
    """Fleiss' kappa of a suspect's askings: how far it agrees with itself beyond chance; 1 where nothing changes.

    (P - C) / (1 - C), with P the mean share of pairs of askings that agree, and C the chance of it, the sum of squares
    of the labels' shares over all askings (Fleiss 1971).

    Args:
        first: labels of k pictures.
        again: those of the same pictures, each asked ``times`` more.
    """
    every = np.concatenate([first[:, None], again], axis=1)
    counts = (every[:, :, None] == np.unique(every)).sum(1)
    askings = every.shape[1]
    agreeing = float(((counts**2).sum(1) - askings).mean()) / (askings * (askings - 1))
    if agreeing == 1.0:
        return 1.0
    chance = float(((counts.sum(0) / counts.sum()) ** 2).sum())
    return float((agreeing - chance) / (1.0 - chance))


def as_inconsistent(labels: Int[np.ndarray, "m n"], wanted: float, rng: np.random.Generator) -> Int[np.ndarray, "m n"]:
    """Labels as a model would give them that agrees with itself only ``wanted`` beyond chance.

    Each stays with chance q = sqrt(wanted) and else is drawn from the labels of the same model: two askings are both
    its own with chance q^2, and agree by chance otherwise.
    """
    drawn = rng.permuted(labels, axis=1)
    return np.where(rng.random(labels.shape) < np.sqrt(max(wanted, 0.0)), labels, drawn)
