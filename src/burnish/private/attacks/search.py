"""Greedy search for edits that turn an answer, with counted queries (the way of TextFooler, Jin et al., AAAI 2020).

The attacker sees scores, which is more than the service ever gives: what holds against it holds against one who sees
labels. A query is one text put to one classifier, an ensemble or a single prompt alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from burnish.private.attacks.edits import EditKind, variants, words_of

Victim = Callable[[Sequence[str]], Float[np.ndarray, "texts classes"]]
"""Scores of some texts."""


@dataclass(frozen=True)
class AttackPlan:
    """What an attacker may do.

    Attributes:
        kinds: of edits.
        budget: queries to spend on a text, the first look at it included.
        share: of a text's words that may be changed (rounded up).
        each: edits of a kind tried on a word.
        reach: words from the beginning of a text that may be touched, and of which ``share`` is taken: he who attacks
            knows how much the encoder reads.
    """

    kinds: tuple[EditKind, ...] = ("swap", "delete", "typo", "homoglyph", "neighbour")
    budget: int = 60
    share: float = 0.2
    each: int = 2
    reach: int = 512


@dataclass(frozen=True)
class Attacked:
    """What became of one text.

    Attributes:
        text: after the edits.
        before: scores of the text as it was, to the victim that was attacked.
        after: of the edited text, likewise.
        queries: spent.
        changed: words that were changed.
        turned: the victim was right before, and is wrong now.
    """

    text: str
    before: Float[np.ndarray, " classes"]
    after: Float[np.ndarray, " classes"]
    queries: int
    changed: int
    turned: bool


def lead(scores: Float[np.ndarray, "texts classes"], label: int) -> Float[np.ndarray, " texts"]:
    """The label's score less the best other one's; below 0 the answer is wrong, at 0 a class before it may win."""
    others = np.delete(scores, label, axis=1)
    return np.asarray(scores[:, label] - others.max(1))


def attack(
    victim: Victim,
    text: str,
    label: int,
    plan: AttackPlan,
    rng: np.random.Generator,
    neighbours: Callable[[str], Sequence[str]] | None = None,
) -> Attacked:
    """Edit a text until the victim errs, or queries or words run out.

    First the words are ranked by what leaving each out does to the label's lead (a third of the queries at most, spread
    over the text); then, the most important first, each gets the edit that lowers the lead most, if any does.

    Args:
        victim: is asked.
        text: whose answer is to be turned.
        label: the right class.
        plan: what is allowed.
        rng: draws edits.
        neighbours: of a word, for edits of that kind.
    """
    before = victim([text])[0]
    best, leading, spent = text, float(lead(before[None], label)[0]), 1
    if int(before.argmax()) != label:
        return Attacked(text, before, before, spent, 0, turned=False)
    spans = words_of(text)[: plan.reach]
    after, changed = before, 0
    ranked = max(0, min(len(spans), (plan.budget - spent) // 3))
    order = _ranked(victim, text, label, spans, ranked)
    spent += ranked
    moved = {at: spans[at] for at in range(len(spans))}
    for at in order:
        left = plan.budget - spent
        if left <= 0 or changed >= math.ceil(plan.share * len(spans)):
            break
        start, end = moved[at]
        tries = variants(best[start:end], plan.kinds, plan.each, rng, neighbours)[:left]
        if not tries:
            continue
        texts = [best[:start] + word + best[end:] for word in tries]
        scores = victim(texts)
        spent += len(texts)
        leads = lead(scores, label)
        pick = int(leads.argmin())
        if leads[pick] >= leading:
            continue
        shift = len(tries[pick]) - (end - start)
        moved = {place: (a + shift * (a >= end), b + shift * (a >= end)) for place, (a, b) in moved.items()}
        best, after, leading, changed = texts[pick], scores[pick], float(leads[pick]), changed + 1
        if int(after.argmax()) != label:
            return Attacked(best, before, after, spent, changed, turned=True)
    return Attacked(best, before, after, spent, changed, turned=False)


def _ranked(victim: Victim, text: str, label: int, spans: Sequence[tuple[int, int]], queries: int) -> list[int]:
    """Words, the most important first; those that there was no query for come last, in their order."""
    if queries == 0:
        return list(range(len(spans)))
    asked = sorted(set(np.linspace(0, len(spans) - 1, queries).round().astype(int).tolist()))
    texts = [text[: spans[at][0]] + text[spans[at][1] :] for at in asked]
    leads = lead(victim(texts), label)
    order = [asked[place] for place in np.argsort(leads, kind="stable")]
    return order + [at for at in range(len(spans)) if at not in set(asked)]
