"""How holistic and how truthful texts are, measured offline against what is known of each picture.

All meters are whole counts that add up, so a figure is the same in whatever batches the texts were made. A share of
nothing is 0. Knows texts and annotations; knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

from burnish.align.facts import Fact, Reading, Thing


@dataclass(frozen=True)
class Counts:
    """Counts that add up, field by field: those of a set are the sum of those of its texts, in any order."""

    def __add__(self, other: Self) -> Self:
        sums: list[Any] = [getattr(self, each.name) + getattr(other, each.name) for each in fields(self)]
        return type(self)(*sums)


def share(part: int, whole: int) -> float:
    """A part of a whole; 0 of nothing."""
    return part / whole if whole else 0.0


def harmonic_mean(precision: float, recall: float) -> float:
    """F1; 0 where both are."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@dataclass(frozen=True)
class Matches(Counts):
    """Facts named against facts that are so.

    Attributes:
        right: named and so.
        named: named, each once a text.
        true: so.
    """

    right: int = 0
    named: int = 0
    true: int = 0

    @property
    def recall(self) -> float:
        """Share of what is so that is named: how holistic the texts are."""
        return share(self.right, self.true)

    @property
    def precision(self) -> float:
        """Share of what is named that is so."""
        return share(self.right, self.named)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return harmonic_mean(self.precision, self.recall)


@dataclass(frozen=True)
class Described(Counts):
    """One or more descriptions against what is in their pictures.

    Attributes:
        texts: how many.
        entities: things that are there.
        attributes: attributes of things, each with its thing.
        mentions: of things, repetitions included.
        right_mentions: those whose thing is there and has all the attributes that are said of it.
        absent_mentions: those whose thing is not there (hallucinated objects).
        absent_texts: texts with such a mention.
        repeated: mentions that say nothing new.
        words: of the texts.
    """

    texts: int = 0
    entities: Matches = Matches()
    attributes: Matches = Matches()
    mentions: int = 0
    right_mentions: int = 0
    absent_mentions: int = 0
    absent_texts: int = 0
    repeated: int = 0
    words: int = 0

    @property
    def facts(self) -> Matches:
        """Entities and attributes together."""
        return self.entities + self.attributes

    @property
    def mention_precision(self) -> float:
        """Share of mentions that are right."""
        return share(self.right_mentions, self.mentions)

    @property
    def chair_i(self) -> float:
        """Share of mentions whose thing is not there.

        Source: Rohrbach et al. 2018, "Object hallucination in image captioning", CHAIR_i; ours reads "no dog" as none.
        """
        return share(self.absent_mentions, self.mentions)

    @property
    def chair_s(self) -> float:
        """Share of texts with a thing that is not there. Source: the same, CHAIR_s."""
        return share(self.absent_texts, self.texts)

    @property
    def length(self) -> float:
        """Words a text."""
        return share(self.words, self.texts)

    @property
    def facts_per_word(self) -> float:
        """Distinct facts, true or not, a word: falls when texts grow without saying more."""
        return share(self.facts.named, self.words)


def describe(reading: Reading, truth: Iterable[Thing]) -> Described:
    """One text against its picture; add them up for a set (``sum(found, Described())``).

    Args:
        reading: of the text.
        truth: all things in the picture. One that has none in the vocabulary is missed by any text.
    """
    things = tuple(truth)
    true = frozenset[Fact]().union(*(thing.facts for thing in things))
    present = {thing.entity for thing in things}
    absent = sum(thing.entity not in present for thing in reading.claimed)
    return Described(
        texts=1,
        entities=_matches(reading.facts, true, attributes=False),
        attributes=_matches(reading.facts, true, attributes=True),
        mentions=len(reading.claimed),
        right_mentions=sum(any(named.facts <= thing.facts for thing in things) for named in reading.claimed),
        absent_mentions=absent,
        absent_texts=int(absent > 0),
        repeated=reading.repeated,
        words=len(reading.words),
    )


def _matches(named: frozenset[Fact], true: frozenset[Fact], *, attributes: bool) -> Matches:
    own, other = ({fact for fact in facts if bool(fact.attribute) is attributes} for facts in (named, true))
    return Matches(len(own & other), len(own), len(other))
