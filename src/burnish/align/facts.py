"""What texts say is there: facts, how far two answers agree, what views agree on, and what they speak against.

A fact is that a thing is there or has an attribute; :func:`burnish.align.reading.read` finds them in a text. Votes are
the offline twin of a model's summary: deterministic, and each fact can be traced to the views that named it. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from burnish.core.errors import UserError

Polarity = Literal["yes", "no"]


@dataclass(frozen=True, order=True)
class Fact:
    """A thing that is there, or an attribute that it has.

    Attributes:
        entity: canonical name of the thing.
        attribute: canonical name; empty: the thing is there.
    """

    entity: str
    attribute: str = ""

    def __str__(self) -> str:
        return f"{self.attribute} {self.entity}".strip()


@dataclass(frozen=True)
class Thing:
    """A thing with what is known of it: of an annotation, or named in a text.

    Attributes:
        entity: canonical name.
        attributes: canonical names, sorted.
    """

    entity: str
    attributes: tuple[str, ...] = ()

    @property
    def facts(self) -> frozenset[Fact]:
        """That it is there, and each attribute."""
        return frozenset([Fact(self.entity), *(Fact(self.entity, attribute) for attribute in self.attributes)])

    def __str__(self) -> str:
        return " ".join([*self.attributes, self.entity])


@dataclass(frozen=True)
class Mention:
    """A thing where a text names it.

    Attributes:
        thing: what is named.
        start: its first character, attributes before it included.
        end: after its last.
        denied: the text says that it is not there, or is not so.
    """

    thing: Thing
    start: int
    end: int
    denied: bool = False


@dataclass(frozen=True)
class Reading:
    """A text and what it says.

    Attributes:
        text: as written.
        mentions: in their order.
        words: in lower case, without punctuation and left-over tokens.
        polarity: whether it begins with yes or no.
    """

    text: str
    mentions: tuple[Mention, ...]
    words: tuple[str, ...]
    polarity: Polarity | None

    @cached_property
    def claimed(self) -> tuple[Thing, ...]:
        """What it says is there, in order, repetitions included."""
        return tuple(mention.thing for mention in self.mentions if not mention.denied)

    @cached_property
    def facts(self) -> frozenset[Fact]:
        """What it says is so."""
        return frozenset(fact for thing in self.claimed for fact in thing.facts)

    @cached_property
    def denials(self) -> frozenset[Fact]:
        """What it says is not so: of "no red dog" the red dog, not the dog."""
        denied = (mention.thing for mention in self.mentions if mention.denied)
        return frozenset(
            fact
            for thing in denied
            for fact in ([Fact(thing.entity, each) for each in thing.attributes] or [Fact(thing.entity)])
        )

    @cached_property
    def statements(self) -> frozenset[tuple[Fact, bool] | Polarity]:
        """Facts, denials (with false), and the yes or no at the beginning."""
        said = [(fact, True) for fact in self.facts] + [(fact, False) for fact in self.denials]
        return frozenset([*said, *([self.polarity] if self.polarity else [])])

    @cached_property
    def repeated(self) -> int:
        """Mentions that say nothing which those before them had not said."""
        known: set[Fact] = set()
        count = 0
        for thing in self.claimed:
            count += thing.facts <= known
            known |= thing.facts
        return count


def agreement(first: Reading, second: Reading) -> float:
    """How much two answers say the same, in [0, 1]: twice the shared facts over all facts (Dice); symmetric.

    A denial is a fact of its own, and so is a yes at the beginning, or a no. Of answers without any fact the words are
    compared. An empty answer agrees with nothing, a yes with no no.
    """
    if not first.words or not second.words or {first.polarity, second.polarity} == {"yes", "no"}:
        return 0.0
    if first.facts or second.facts or first.denials or second.denials:
        own, other = first.statements, second.statements
        return 2 * len(own & other) / (len(own) + len(other))
    counts, others = Counter(first.words), Counter(second.words)
    return 2 * (counts & others).total() / (counts.total() + others.total())


def support(candidate: Reading, views: Iterable[Reading]) -> float:
    """Mean agreement of a text with the views' answers; 0 where there are none."""
    found = [agreement(candidate, view) for view in views]
    return sum(found) / len(found) if found else 0.0


@dataclass(frozen=True)
class Vote:
    """What views agree on.

    Attributes:
        counts: how many views name each fact, in the order of first mention.
        denials: how many deny it.
        threshold: how many must name it.
        agreed: the facts that enough views name, and more than deny them, in the same order.
        fell_back: no fact had enough; ``agreed`` are those of the thing that most views name, of equals the first.
    """

    counts: Mapping[Fact, int]
    denials: Mapping[Fact, int]
    threshold: int
    agreed: tuple[Fact, ...]
    fell_back: bool


def vote(views: Sequence[Reading], threshold: int) -> Vote:
    """Count the views that name each fact.

    An attribute is agreed only with its thing, which is named at least as often.

    Args:
        views: the readings of their answers. A view votes once for a fact, however often it names it.
        threshold: m of m-of-k.

    Raises:
        UserError: a threshold below 1.
    """
    if threshold < 1:
        raise UserError(f"vote: a threshold of {threshold}; wanted at least 1")
    order = dict.fromkeys(fact for view in views for thing in view.claimed for fact in _in_order(thing))
    counts = {fact: sum(fact in view.facts for view in views) for fact in order}
    denials = dict(sorted(Counter(fact for view in views for fact in view.denials).items()))
    ahead = {fact: count for fact, count in counts.items() if count > denials.get(fact, 0)}
    ahead = {fact: count for fact, count in ahead.items() if Fact(fact.entity) in ahead}  # a thing may be denied alone
    agreed = tuple(fact for fact, count in ahead.items() if count >= threshold)
    if agreed or not ahead:
        return Vote(counts, denials, threshold, agreed, fell_back=False)
    things = [thing for view in views for thing in view.claimed if thing.facts <= ahead.keys()]
    things = things or [Thing(fact.entity) for fact in ahead]
    most = max(things, key=lambda thing: min(ahead[fact] for fact in thing.facts))
    return Vote(counts, denials, threshold, tuple(_in_order(most)), fell_back=True)


def _in_order(thing: Thing) -> list[Fact]:
    return [Fact(thing.entity), *(Fact(thing.entity, attribute) for attribute in thing.attributes)]


def merge(views: Sequence[Reading], agreed: Iterable[Fact]) -> tuple[Thing, ...]:
    """The things of the views, each with what is agreed of it; what another thing says as well is left out.

    Instances stay apart: of "red circle, blue circle" two things come out, of "big red circle" one.

    Args:
        views: whose mentions are merged, in this order.
        agreed: of :func:`vote`.
    """
    kept = frozenset(agreed)
    reduced = dict.fromkeys(
        Thing(thing.entity, tuple(each for each in thing.attributes if Fact(thing.entity, each) in kept))
        for view in views
        for thing in view.claimed
        if Fact(thing.entity) in kept
    )
    return tuple(thing for thing in reduced if not any(thing.facts < other.facts for other in reduced))


def contradicted(candidate: Reading, views: Sequence[Reading], kinds: Mapping[str, str]) -> tuple[Fact, ...]:
    """The candidate's facts that more than half of the views speak against, sorted.

    A view speaks against a fact that it denies, and against an attribute of a thing to which it gives others of that
    kind but not this one ("blue circle" against "red circle").

    Args:
        candidate: a winner.
        views: the readings of their answers.
        kinds: the kind of each attribute, of :class:`burnish.align.reading.Vocabulary`.
    """

    def against(view: Reading, fact: Fact) -> bool:
        if fact in view.facts:
            return False
        if fact in view.denials or Fact(fact.entity) in view.denials - view.facts:
            return True
        kind = kinds.get(fact.attribute)
        return kind is not None and any(
            other.entity == fact.entity and kinds.get(other.attribute) == kind for other in view.facts
        )

    return tuple(
        sorted(fact for fact in candidate.facts if 2 * sum(against(view, fact) for view in views) > len(views))
    )
