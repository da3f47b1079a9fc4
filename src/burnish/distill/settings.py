"""What a user may set about interruption, difficulty, strength and selection. Knows pydantic only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from burnish.core.recipe import Settings

RateCourse = Literal["poly", "linear", "cosine"]
Normaliser = Literal["min_max", "rank"]
StrengthKind = Literal["inverse", "inverse_beta", "official", "trust", "constant"]
Rarity = Literal["twice", "quality", "none"]


class InterruptionSettings(Settings):
    """How a clip (or a picture, in patches) is disturbed when its difficulty is measured."""

    course: RateCourse = "poly"
    """How the rate rises over the training: `poly` 1 - (1 - t)^.9, `linear` t, `cosine` (1 - cos(pi t)) / 2."""
    power: float = Field(default=0.9, gt=0)
    """Exponent of `poly`."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """eta: below this rate frames are dropped, from it on half of them change places; the rate stays at it."""
    grid: int = Field(default=4, ge=2)
    """Pictures have no frames: they are cut into this many by this many patches."""


class DifficultySettings(Settings):
    """What difficulty and strength are made of."""

    normaliser: Normaliser = "min_max"
    """Over the set: `min_max` as published (one outlier rules it), or `rank`."""
    rarity: Rarity = "twice"
    """Where the probability 1 / (times selected + 1) counts: in the difficulty and in the selection's quality, as
    published; in the quality alone; nowhere."""
    strength: StrengthKind = "inverse"
    """Share of the distillation loss, from difficulty d: `inverse` 1 - d; `inverse_beta` that times the rate, as the
    text has it; `official` d times the rate, as the released code has it; `trust` the teacher's probability of the
    label; `constant` .5 for all: the base loss as it is."""
    history: float = Field(default=0.1, ge=0, lt=1)
    """lambda: weight of the strength, and of the features, before."""


class SelectionSettings(Settings):
    """Which samples are trained on until the next evaluation."""

    share: float = Field(default=0.1, gt=0, le=1)
    """r: of the samples (the paper: .1 for videos, .5 for ImageNet)."""
    kind: Literal[
        "map",
        "perturbed",
        "stochastic",
        "dpp",
        "random",
        "random_every",
        "fixed",
        "easy",
        "hard",
        "trust_pool",
        "infobatch",
    ] = "perturbed"
    """Greedy on ease and diversity (`map`), the same with noise (`perturbed`) or on random candidates (`stochastic`),
    an exact draw of a k-DPP, or a simple rule."""
    diversity: float = Field(default=0.5, ge=0, le=1)
    """gamma: 0 chooses by ease alone, 1 by diversity alone."""
    ridge: float = Field(default=0.1, gt=0)
    """eps of log det(eps I + F'F): more samples than features have no determinant without it."""
    noise: float = Field(default=1.0, ge=0, le=5)
    """Of `perturbed`: deviation of the Gumbel noise on the log of the quality."""
    by_class: bool = False
    """Choose within each class, the same share of each."""
