"""The state of every sample over a training: from losses to difficulty and strength, and who was chosen how often.

Arrays by sample index, the same in every process. Knows no model. Source: SAKD, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from burnish.distill.difficulty import Values, blend, difficulty, strength
from burnish.distill.recipe import SakdRecipe
from burnish.distill.records import States
from burnish.distill.rules import DIVERSE, FRESH, Selection, needs_difficulty

ADAPTIVE = ("inverse", "inverse_beta", "official")
"""Strengths that are made of difficulty."""


@dataclass(frozen=True)
class Wanted:
    """What a recipe's rules look at: nothing else is measured or paid for.

    Attributes:
        losses: distillation losses of all samples, at each evaluation.
        features: of the teacher.
        trust: the teacher's probability of each label.
        every_epoch: choose anew each epoch, not each evaluation.
        training_losses: losses seen in training.
    """

    losses: bool
    features: bool
    trust: bool
    every_epoch: bool
    training_losses: bool


def wanted_by(recipe: SakdRecipe) -> Wanted:
    """What the rules of a recipe look at."""
    kind, mode = recipe.selection.kind, recipe.difficulty.strength
    losses = mode in ADAPTIVE or needs_difficulty(recipe.selection)
    return Wanted(
        losses=losses,
        features=kind in DIVERSE and recipe.selection.diversity > 0,
        trust=mode == "trust" or kind == "trust_pool",
        every_epoch=kind in FRESH,
        training_losses=kind == "infobatch" or (losses and recipe.evaluation == "history"),
    )


class SampleStates:
    """States of ``samples`` samples; features ``width`` wide, 0 where no rule looks at them."""

    def __init__(self, samples: int, width: int) -> None:
        self.difficulty: Values = np.zeros(samples, np.float32)
        self.strength: Values = np.full(samples, 0.5, np.float32)
        self.counts = np.zeros(samples, np.int64)
        self.features: Float32[np.ndarray, "samples features"] = np.zeros((samples, width), np.float32)
        self.losses: Values = np.full(samples, np.nan, np.float32)
        self.trust: Values = np.zeros(samples, np.float32)
        self.judgements = 0
        self.sightings = 0

    def record(self) -> States:
        """As rules take them."""
        return States(self.difficulty, self.strength, self.counts, self.features, self.losses)

    def judge(
        self,
        losses: Values | None,
        features: Float32[np.ndarray, "samples features"] | None,
        trust: Values | None,
        rate: float,
        recipe: SakdRecipe,
    ) -> None:
        """Take in what an evaluation found.

        Args:
            losses: distillation losses of all samples; none where they are not wanted, or nothing was seen yet.
            features: of the teacher; none where they are not wanted, or frames were exchanged: then they stay.
            trust: the teacher's probability of each label, if it is wanted.
            rate: of the interruption.
            recipe: the rules.

        Raises:
            UserError: a loss that is no number.
        """
        rules = recipe.difficulty
        if losses is not None:
            self.difficulty = difficulty(losses, self.counts, rules.normaliser, rules.rarity)
        if trust is not None:
            self.trust = trust
        if rules.strength != "constant" and (trust if rules.strength == "trust" else losses) is not None:
            before = self.strength if self.judgements else None
            self.strength = strength(before, self.difficulty, self.trust, rate, rules)
            self.judgements += 1
        if features is not None:
            self.features = blend(self.features, features, rules.history) if self.sightings else features
            self.sightings += 1

    def remembered_losses(self) -> Values | None:
        """Losses seen in training; a sample that was in none has the median of those that were. None if none was."""
        seen = np.isfinite(self.losses)
        if not seen.any():
            return None
        found: Values = np.where(seen, self.losses, np.median(self.losses[seen])).astype(np.float32)
        return found

    def choose(self, selection: Selection) -> None:
        """Count what was chosen."""
        self.counts[selection.indices] += 1

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {
            "difficulty": self.difficulty,
            "strength": self.strength,
            "counts": self.counts,
            "features": self.features,
            "losses": self.losses,
            "trust": self.trust,
            "judgements": self.judgements,
            "sightings": self.sightings,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.difficulty, self.strength = state["difficulty"], state["strength"]
        self.counts, self.features = state["counts"], state["features"]
        self.losses, self.trust = state["losses"], state["trust"]
        self.judgements, self.sightings = int(state["judgements"]), int(state["sightings"])
