"""POPE: is there a ... in the image? Probes of three splits from any annotated set, and their scorer.

Which answer counts as a yes is pinned to one rule: published figures come from two that disagree. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from burnish.align.facts import Polarity
from burnish.align.meters import Counts, harmonic_mean, share
from burnish.align.reading import normal_words, with_article
from burnish.core.errors import UserError

Split = Literal["random", "popular", "adversarial"]
SPLITS: tuple[Split, ...] = get_args(Split)
AnswerRule = Literal["first_sentence", "substring"]


@dataclass(frozen=True)
class Probe:
    """A question whether something is in a picture.

    Attributes:
        image: id of the picture.
        split: how its negatives are chosen.
        label: what is asked for.
        question: as asked.
        answer: the right one.
    """

    image: str
    split: Split
    label: str
    question: str
    answer: Polarity


def pope_probes(
    annotations: Mapping[str, Collection[str]],
    *,
    each: int = 3,
    least: int = 1,
    seed: int = 0,
    near: Mapping[str, Sequence[str]] | None = None,
    template: str = "Is there {} in the image?",
) -> list[Probe]:
    """POPE's three splits of a set: for each picture as many labels that are there as labels that are not.

    The positives of a picture are the same in all splits. Negatives are drawn evenly (``random``), are the most
    frequent in the set (``popular``), or those that most often stand in one picture with what is there
    (``adversarial``). Equals go by name. A picture's draws are its own: in any order and company
    of the same labels, it gets the same.

    Args:
        annotations: the labels of each picture, by its id.
        each: positives and negatives of a picture; fewer where it has fewer labels, or the set has.
        least: a picture with fewer labels is left out (POPE: more than 3, so 4).
        seed: of the draws.
        near: labels easily taken for another (other colours of a shape): asked for first by ``adversarial``.
        template: of the question; ``{}`` is the label with its article.

    Returns:
        By split, then by picture in the order given, positives first.

    Raises:
        UserError: nothing to ask: no picture has labels while others are lacking.

    Source: Li et al. 2023, "Evaluating object hallucination in large vision-language models" (POPE).
    """
    frequency = Counter(label for present in annotations.values() for label in set(present))
    together = Counter(
        (first, second) for present in annotations.values() for first in set(present) for second in set(present)
    )
    labels = sorted(frequency)
    probes: dict[Split, list[Probe]] = {split: [] for split in SPLITS}
    for image, found in annotations.items():
        present, absent = sorted(set(found)), [label for label in labels if label not in set(found)]
        count = min(each, len(present), len(absent))
        if len(present) < least or not count:
            continue
        # of its own id: its draws do not depend on the pictures before it
        rng = np.random.default_rng([seed, *image.encode()])
        positives = [present[place] for place in sorted(rng.permutation(len(present))[:count])]
        beside = {label: sum(together[label, other] for other in present) for label in absent}
        alike = {label for other in present for label in (near or {}).get(other, ())}
        negatives: dict[Split, list[str]] = {
            "random": [absent[place] for place in sorted(rng.permutation(len(absent))[:count])],
            "popular": sorted(absent, key=lambda label: -frequency[label])[:count],
            "adversarial": sorted(absent, key=lambda label: (label not in alike, -beside[label]))[:count],
        }
        for split in SPLITS:
            asked: list[tuple[str, Polarity]] = [(label, "yes") for label in positives]
            asked += [(label, "no") for label in negatives[split]]
            probes[split] += [
                Probe(image, split, label, template.format(with_article(label)), answer) for label, answer in asked
            ]
    made = [probe for split in SPLITS for probe in probes[split]]
    if not made:
        raise UserError("POPE: nothing to ask; no picture has enough labels while the set has others")
    return made


def pope_answer(text: str, rule: AnswerRule = "first_sentence") -> Polarity | None:
    """What an answer says; none if it is blank.

    >>> pope_answer("Yes, but not sure"), pope_answer("Yes, but not sure", "substring")
    ('no', 'yes')

    Args:
        text: the model's answer.
        rule: ``first_sentence``: no if its first sentence holds a "no" or "not", else yes. ``substring``: yes if it
            holds "yes" anywhere, else no.

    Source: ``first_sentence`` is the scorer of POPE and LLaVA, here in any case and with "isn't" as "is not", but a
        blank is no yes; ``substring`` is the other one in SHAPE's release.
    """
    if not normal_words(text):
        return None
    if rule == "substring":
        return "yes" if "yes" in text.lower() else "no"
    words = normal_words(text.strip().split(".")[0])
    return "no" if any(word in ("no", "not") or re.search("n['’]t$", word) for word in words) else "yes"


@dataclass(frozen=True)
class PopeScore(Counts):
    """Answers against what is there. A blank answer is wrong and says neither yes nor no.

    Attributes:
        tp: yes, and it is there.
        fp: yes, and it is not.
        tn: no, and it is not.
        fn: no, and it is there.
        blank_there: blank, and it is there.
        blank_absent: blank, and it is not.
    """

    tp: int = 0
    fp: int = 0
    tn: int = 0
    fn: int = 0
    blank_there: int = 0
    blank_absent: int = 0

    @property
    def asked(self) -> int:
        """Probes."""
        return self.tp + self.fp + self.tn + self.fn + self.blank_there + self.blank_absent

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return share(self.tp + self.tn, self.asked)

    @property
    def precision(self) -> float:
        """Share of yeses that are right."""
        return share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of what is there that is seen."""
        return share(self.tp, self.tp + self.fn + self.blank_there)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return harmonic_mean(self.precision, self.recall)

    @property
    def yes_rate(self) -> float:
        """Share of yeses; .5 is right."""
        return share(self.tp + self.fp, self.asked)


def score_pope(
    probes: Sequence[Probe], answers: Sequence[str], rule: AnswerRule = "first_sentence"
) -> dict[Split, PopeScore]:
    """The score of each split that was asked.

    Args:
        probes: as asked.
        answers: to each.
        rule: of :func:`pope_answer`.

    Raises:
        UserError: not as many answers as probes.
    """
    if len(probes) != len(answers):
        raise UserError(f"POPE: {len(probes)} probes and {len(answers)} answers")
    found = Counter(
        (probe.split, _cell(probe.answer, pope_answer(answer, rule)))
        for probe, answer in zip(probes, answers, strict=True)
    )
    asked = {probe.split for probe in probes}
    return {
        split: PopeScore(**{cell: count for (other, cell), count in found.items() if other == split})
        for split in SPLITS
        if split in asked
    }


def _cell(right: Polarity, said: Polarity | None) -> str:
    if said is None:
        return "blank_there" if right == "yes" else "blank_absent"
    return {("yes", "yes"): "tp", ("yes", "no"): "fp", ("no", "no"): "tn", ("no", "yes"): "fn"}[said, right]
