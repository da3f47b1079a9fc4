"""Which prompts make the ensemble: right alone, right under noise, wrong on different texts. Pure; validation only."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

from burnish.core.errors import UserError

Logits = Float[np.ndarray, "texts prompts classes"]


def select_prompts(
    clean: Logits, noisy: Logits, labels: Int64[np.ndarray, " texts"], count: int, diversity: float = 0.5
) -> list[int]:
    """Prompts of an ensemble, chosen one after the other.

    The first is right most often, clean and noisy texts together: alone it is the best single prompt by the same rule,
    on the same texts. Each next one makes most of: the share that the mean
    of the chosen prompts' logits gets right (clean and noisy), plus ``diversity`` times how often the new prompt and
    those before it disagree. Of equals the first.

    Args:
        clean: logits of validation texts.
        noisy: of the same texts with random edits.
        labels: of the texts.
        count: prompts to choose.
        diversity: 0 looks at what the ensemble gets right alone.

    Raises:
        UserError: more prompts are asked for than there are.
    """
    prompts = clean.shape[1]
    refuse_count(count, prompts)
    both, truth = np.concatenate([clean, noisy]), np.concatenate([labels, labels])
    said = both.argmax(2)
    # [prompts, prompts]: share of texts on which two disagree
    apart = (said[:, :, None] != said[:, None, :]).mean(0)
    chosen: list[int] = []
    while len(chosen) < count:
        worth = np.full(prompts, -np.inf)
        for new in set(range(prompts)) - set(chosen):
            together = both[:, [*chosen, new]].mean(1).argmax(1) == truth
            worth[new] = together.mean() + (diversity * apart[new, chosen].mean() if chosen else 0.0)
        chosen.append(int(worth.argmax()))
    return chosen


def refuse_count(count: int, prompts: int) -> None:
    """Refuse to choose more prompts than there are.

    Raises:
        UserError: says how many there are.
    """
    if count > prompts:
        raise UserError(
            f"ensemble.prompts: {count} of {prompts} candidates; give more templates or words, or ask for fewer"
        )


def weights_by_right(
    clean: Logits, noisy: Logits, labels: Int64[np.ndarray, " texts"]
) -> Float[np.ndarray, " prompts"]:
    """Weights of prompts for a weighted mean: how much more often than chance each is right, clean and noisy; equal
    ones where none is."""
    share = np.stack([_right(each, labels).mean(0) for each in (clean, noisy)]).mean(0)
    above = np.maximum(share - 1 / clean.shape[2], 0)
    return above / above.sum() if above.sum() > 0 else np.full(len(above), 1 / len(above))


def _right(logits: Logits, labels: Int64[np.ndarray, " texts"]) -> np.ndarray:
    return np.asarray(logits.argmax(2) == labels[:, None])
