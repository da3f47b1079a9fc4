"""Which samples are trained on next: one function for every kind of rule, over the states of all samples. Pure.

Diverse kinds stand on :mod:`burnish.distill.selection` and :mod:`burnish.distill.dpp`; the simple ones are here.
Source: SAKD, section 3; InfoBatch (Qin et al. 2024) for ``infobatch``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from burnish.core.errors import UserError
from burnish.distill.difficulty import Values, quality
from burnish.distill.dpp import draw_k_dpp
from burnish.distill.records import States
from burnish.distill.selection import AT_ONCE, Features, Picks, greedy_subset, mix, perturbed, stochastic_subset
from burnish.distill.settings import Rarity, SelectionSettings

TRUSTED = 0.3
"""``trust_pool``: the least probability that the teacher gives the label of a sample in the pool."""
ANNEALED = 0.875
"""``infobatch``: from this share of the training on all samples are trained on, all of them alike."""
FRESH = ("random", "infobatch")
"""Kinds that choose anew every epoch; the others choose at each evaluation and keep it until the next."""
DIVERSE = ("map", "perturbed", "stochastic", "dpp")
"""Kinds that look at features."""


@dataclass(frozen=True)
class Selection:
    """What is trained on.

    Attributes:
        indices: of the samples, rising, each once.
        weights: of each one's loss; 1 everywhere but for ``infobatch``.
    """

    indices: Picks
    weights: Float32[np.ndarray, " picks"]


def needs_difficulty(settings: SelectionSettings) -> bool:
    """Whether the rule looks at difficulties, so that somebody must pay for measuring them."""
    return settings.kind in ("easy", "hard") or (settings.kind in DIVERSE and settings.diversity < 1)


def wanted(samples: int, share: float) -> int:
    """How many of so many: the share, rounded (a half up), and one at least.

    >>> wanted(25, 0.1), wanted(3, 0.1), wanted(7, 1.0)
    (3, 1, 7)
    """
    return min(samples, max(1, math.floor(share * samples + 0.5)))


def select(
    states: States,
    trust: Values,
    settings: SelectionSettings,
    labels: Int64[np.ndarray, " samples"],
    *,
    rng: np.random.Generator,
    rarity: Rarity = "twice",
    done: float = 0.0,
) -> Selection:
    """Choose :func:`wanted` samples of all, or (``by_class``) of each class.

    ``trust_pool`` chooses fewer where its pool is smaller, and ``infobatch`` as many as chance leaves: all whose last
    loss is not below the mean (or was never seen), and of the others the share, whose losses then count 1 / share: the
    expected gradient is that of the whole set; in the last eighth of the training it takes everything, as published.
    ``fixed`` chooses at random once, and then what was chosen before.

    Args:
        states: of all samples; its features may be a memory map, of any length (only their direction counts).
        trust: the teacher's probability of each label.
        settings: which rule, and how many.
        labels: class of each sample.
        rng: of the rules with chance in them.
        rarity: whether samples chosen before count less, see :class:`~burnish.distill.settings.DifficultySettings`.
        done: share of the training that is over, of its epochs or of its budget.

    Raises:
        UserError: no samples; a difficulty or a feature that is no number; a k-DPP beyond the rank of the features;
            a pool of trust that is empty.
    """
    if len(labels) == 0:
        raise UserError("selection: there are no samples; look at the data")
    if needs_difficulty(settings) and len(bad := np.flatnonzero(~np.isfinite(states.difficulty))):
        raise UserError(f"selection: the difficulty of sample {bad[0]} is no number; look at its file and the teacher")
    everything = np.arange(len(labels))
    blocks = [np.flatnonzero(labels == label) for label in np.unique(labels)] if settings.by_class else [everything]
    asked = _Asked(states, trust, settings, rng, rarity)
    if settings.kind == "infobatch":
        if done >= ANNEALED:
            return Selection(everything, np.ones(len(everything), np.float32))
        return _joined([_infobatch(block, asked) for block in blocks])
    chosen = [block[RULES[settings.kind](block, wanted(len(block), settings.share), asked)] for block in blocks]
    found = np.sort(np.concatenate(chosen)).astype(np.int64)
    if len(found) == 0:
        raise UserError(
            f"selection: the teacher gives no sample's label a probability above {TRUSTED}, so there is nothing to "
            "choose from; look at the order of the labels, or choose another kind than `trust_pool`"
        )
    return Selection(found, np.ones(len(found), np.float32))


@dataclass(frozen=True)
class _Asked:
    """What :func:`select` was asked, as its rules see it."""

    states: States
    trust: Values
    settings: SelectionSettings
    rng: np.random.Generator
    rarity: Rarity


Block = Int64[np.ndarray, " block"]
Rule = Callable[[Block, int, _Asked], Picks]
"""From the samples of a block, how many, and everything else, to places within the block."""


def _random(block: Block, count: int, asked: _Asked) -> Picks:
    return asked.rng.permutation(len(block))[:count]


def _fixed(block: Block, count: int, asked: _Asked) -> Picks:
    before: Bool[np.ndarray, " block"] = asked.states.counts[block] > 0
    return np.flatnonzero(before) if before.any() else _random(block, count, asked)


def _easy(block: Block, count: int, asked: _Asked) -> Picks:
    return np.argsort(asked.states.difficulty[block], kind="stable")[:count]


def _hard(block: Block, count: int, asked: _Asked) -> Picks:
    return np.argsort(-asked.states.difficulty[block], kind="stable")[:count]


def _trust_pool(block: Block, count: int, asked: _Asked) -> Picks:
    pool = np.flatnonzero(asked.trust[block] > TRUSTED)
    return asked.rng.permutation(pool)[:count]


def _diverse(block: Block, count: int, asked: _Asked) -> Picks:
    """Ease and diversity; at a diversity of 0 simply those of the best quality, with noise where the kind has it."""
    kind, gamma, ridge = asked.settings.kind, asked.settings.diversity, asked.settings.ridge
    ease = np.ones(len(block), np.float32)
    if gamma < 1:  # at 1 difficulties do not count, and need not have been measured
        ease = quality(asked.states.difficulty[block], asked.states.counts[block], asked.rarity)
    weights = mix(ease, gamma) if gamma > 0 else ease
    if kind == "perturbed":
        weights = perturbed(weights, asked.settings.noise, asked.rng)
    if gamma == 0:
        return np.argsort(-weights, kind="stable")[:count]
    features = asked.states.features
    if len(block) < len(features):
        features = features[block]
    weights = weights * _inverse_lengths(features)
    if kind == "stochastic":
        return stochastic_subset(features, weights, count, ridge, asked.rng)
    if kind == "dpp":
        return draw_k_dpp(np.asarray(features) * weights[:, None], count, asked.rng)
    return greedy_subset(features, weights, count, ridge)


def _inverse_lengths(features: Features) -> Values:
    """1 over the length of each row, read in parts; of a row of zeros 1: it stays one."""
    parts = [
        np.linalg.norm(np.asarray(features[start : start + AT_ONCE]), axis=1)
        for start in range(0, len(features), AT_ONCE)
    ]
    lengths = np.concatenate(parts)
    lengths[lengths == 0] = 1
    return (1 / lengths).astype(np.float32)


RULES: dict[str, Rule] = {
    **dict.fromkeys(DIVERSE, _diverse),
    "random": _random,
    "random_every": _random,
    "fixed": _fixed,
    "easy": _easy,
    "hard": _hard,
    "trust_pool": _trust_pool,
}


def _infobatch(block: Block, asked: _Asked) -> Selection:
    losses, share = asked.states.losses[block], asked.settings.share
    seen = np.isfinite(losses)
    below = seen & (losses < losses[seen].mean() if seen.any() else False)
    kept = ~below | (asked.rng.random(len(block)) < share)
    weights = np.where(below, 1 / share, 1.0)[kept]
    return Selection(block[kept].astype(np.int64), weights.astype(np.float32))


def _joined(parts: Sequence[Selection]) -> Selection:
    indices = np.concatenate([part.indices for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    order = np.argsort(indices)
    return Selection(indices[order], weights[order])
