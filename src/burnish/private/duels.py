"""The best single prompt and the ensemble under the same attacks, and each under what was made against the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from burnish.private.attacks.search import Attacked, AttackPlan, Victim, attack
from burnish.private.encoders import Encoder
from burnish.private.fitting import Fitted
from burnish.private.heads import Heads, aggregate_scores
from burnish.private.prompts import Prompt

Near = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class Duel:
    """One test text under attack.

    Attributes:
        single: attack on the best single prompt.
        ensemble: attack on the ensemble, by one who knows it.
        ensemble_on_single: the ensemble's scores of the text that was made against the single prompt.
        single_on_ensemble: the other way round.
    """

    single: Attacked
    ensemble: Attacked
    ensemble_on_single: Float[np.ndarray, " classes"]
    single_on_ensemble: Float[np.ndarray, " classes"]


def victim_of(encoder: Encoder, prompts: Sequence[Prompt], heads: Heads) -> Victim:
    """A classifier that can be asked; every text is put into every prompt, at the price of one query."""

    def scores(texts: Sequence[str]) -> Float[np.ndarray, "texts classes"]:
        return aggregate_scores(heads, encoder.represent(list(texts), prompts).vectors)

    return scores


def duel(
    encoder: Encoder, fitted: Fitted, text: str, label: int, plan: AttackPlan, rng: np.random.Generator, near: Near
) -> Duel:
    """Attack both with the same allowance and the same draws.

    Args:
        encoder: the client's model.
        fitted: both classifiers.
        text: a test text.
        label: its class.
        plan: what the attacker may do to each.
        rng: one seed is drawn from it for both.
        near: words near a word.
    """
    one = victim_of(encoder, [fitted.prompts[fitted.single]], fitted.one)
    many = victim_of(encoder, [fitted.prompts[at] for at in fitted.chosen], fitted.many)
    seed = int(rng.integers(2**63))
    single, ensemble = (attack(each, text, label, plan, np.random.default_rng(seed), near) for each in (one, many))
    return Duel(single, ensemble, many([single.text])[0], one([ensemble.text])[0])
