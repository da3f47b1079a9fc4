"""From texts and candidate prompts to heads: representations of every part, the best single prompt, the ensemble.

The test part is represented here and looked at nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from burnish.private.attacks.edits import noisy
from burnish.private.encoders import Encoder
from burnish.private.heads import Heads, Representations, calibrated, chosen_prompts, fit_heads, heads_of, prompt_logits
from burnish.private.prompts import Prompt
from burnish.private.recipe import EnsembleSettings, HeadSettings
from burnish.private.selection import select_prompts, weights_by_right
from burnish.private.texts import Parts


@dataclass(frozen=True)
class Seen:
    """Every part in every candidate prompt.

    Attributes:
        train, validation, test: as they are.
        noisy: validation texts with random edits.
        words: directions of the prompts' words.
        empty: an empty text.
        cut: share of all texts that were too long for the model.
    """

    train: Float[np.ndarray, "train prompts width"]
    validation: Float[np.ndarray, "validation prompts width"]
    test: Float[np.ndarray, "test prompts width"]
    noisy: Float[np.ndarray, "validation prompts width"]
    words: Float[np.ndarray, "prompts classes width"]
    empty: Float[np.ndarray, "1 prompts width"]
    cut: float


@dataclass(frozen=True)
class Fitted:
    """What was chosen on the validation part.

    Attributes:
        prompts: candidates.
        single: the best alone, by the rule that the ensemble's first is chosen by.
        chosen: the ensemble's, in the order of its heads.
        one: head of the best single prompt.
        many: heads of the ensemble.
        all: heads of every candidate.
        each: share of clean validation texts that each candidate gets right.
    """

    prompts: tuple[Prompt, ...]
    single: int
    chosen: tuple[int, ...]
    one: Heads
    many: Heads
    all: Heads
    each: Float[np.ndarray, " prompts"]


def represent(
    encoder: Encoder, parts: Parts, prompts: Sequence[Prompt], noise: float, rng: np.random.Generator
) -> Seen:
    """All of it, once.

    Raises:
        UserError: a template that leaves no room for a text.
        BurnishError: a vector that is not finite.
    """
    edited = [noisy(text, noise, rng) for text in parts.validation.texts]
    groups = [parts.train.texts, parts.validation.texts, parts.test.texts, edited, [""]]
    found = [encoder.represent(list(texts), prompts) for texts in groups]
    train, validation, test, other, empty = (each.vectors for each in found)
    words = np.stack([encoder.word_vectors(prompt.words) for prompt in prompts])
    cut = np.concatenate([each.cut for each in found[:3]])
    return Seen(train, validation, test, other, words, empty, float(cut.mean()))


def fit(
    seen: Seen,
    train: Int64[np.ndarray, " train"],
    validation: Int64[np.ndarray, " validation"],
    classes: tuple[str, ...],
    prompts: Sequence[Prompt],
    head: HeadSettings,
    ensemble: EnsembleSettings,
) -> Fitted:
    """Heads of every candidate, then the choice.

    Args:
        seen: representations.
        train, validation: labels.
        classes: names.
        prompts: candidates.
        head: how heads are made.
        ensemble: how prompts are chosen.

    Raises:
        UserError: a class without a text to fit on, or more prompts asked for than there are.
    """
    weights, biases = _raw_heads(seen, train, classes, head)
    all_prompts = heads_of(weights, biases, classes, ensemble.aggregate)
    clean, other = (prompt_logits(all_prompts, each) for each in (seen.validation, seen.noisy))
    chosen = select_prompts(clean, other, validation, ensemble.prompts, ensemble.diversity)
    single = chosen[0]
    many = chosen_prompts(all_prompts, chosen)
    if ensemble.aggregate == "weighted":
        shares = weights_by_right(clean[:, chosen], other[:, chosen], validation)
        many = heads_of(many.weights, many.biases, classes, "weighted", shares)
    one = heads_of(all_prompts.weights[[single]], all_prompts.biases[[single]], classes)
    if head.bound == "calibrated":
        known = np.concatenate([seen.train, seen.validation, seen.noisy])
        many, one = (
            calibrated(heads, known[:, places], head.margin)
            for heads, places in ((many, list(chosen)), (one, [single]))
        )
    each = (clean.argmax(2) == validation[:, None]).mean(0)
    return Fitted(tuple(prompts), single, tuple(chosen), one, many, all_prompts, each)


def _raw_heads(
    seen: Seen, labels: Int64[np.ndarray, " train"], classes: tuple[str, ...], head: HeadSettings
) -> tuple[Float[np.ndarray, "prompts classes width"], Float[np.ndarray, "prompts classes"]]:
    directions = seen.words - seen.words.mean(1, keepdims=True)
    if head.kind == "fitted":
        return fit_heads(seen.train, labels, classes, directions, head.ridge)
    # what the words say to an empty text is no word about the text (Zhao et al., ICML 2021)
    return directions, -np.einsum("pw,pcw->pc", seen.empty[0], directions)


def of_prompts(representations: Representations, places: Sequence[int]) -> Float[np.ndarray, "texts chosen width"]:
    """The representations in some of the candidates, in their order."""
    return representations[:, list(places)]
