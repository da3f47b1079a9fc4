"""What a text says is there: mentions of things with their attributes, read against a vocabulary; agreement and votes.

A reading is rules, not a model: the words of a vocabulary, attributes before their thing ("a small, red circle") or
after it ("the circle is red"), negation ("no dog", "the circle is not red"). It is deterministic, and what it cannot
see it does not report. Words outside the vocabulary are no facts. Knows text only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from burnish.core.errors import UserError

Polarity = Literal["yes", "no"]

_TOKEN = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")
_COPULAS = frozenset("is are was were looks look appears appear seems seem".split())
_SOFTENERS = frozenset("all both very mostly also quite rather really bright light dark".split())
_RELATIVES = frozenset("that which who".split())
_NEGATIONS = frozenset("no not without neither nor never cannot".split())
_SPECIAL = re.compile(r"<[^<>\s]{1,40}>")
"""Stop tokens and the like that a decoder left in."""


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
class Vocabulary:
    """The words that name things and attributes.

    Attributes:
        entities: words or phrases for each thing, by its canonical name, in the singular. The name itself counts.
        attributes: likewise, by kind (``colour``, ``size``) and name. One thing has one attribute of a kind at most as
            far as contradictions go.

    Raises:
        UserError: one word for two things.
    """

    entities: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.phrases

    @cached_property
    def phrases(self) -> dict[tuple[str, ...], tuple[str, str]]:
        """Kind (empty for things) and canonical name by the words of each phrase, plurals of things included."""
        found: dict[tuple[str, ...], tuple[str, str]] = {}

        def add(phrase: str, kind: str, name: str) -> None:
            words = tuple(_TOKEN.findall(phrase.lower()))
            if not words:
                raise UserError(f"vocabulary: an empty word for {name!r}")
            if found.setdefault(words, (kind, name)) != (kind, name):
                raise UserError(f"vocabulary: {phrase!r} stands for {found[words][1]!r} and for {name!r}")

        groups = [("", self.entities), *self.attributes.items()]
        for kind, names in groups:
            for name, others in names.items():
                for phrase in dict.fromkeys([name, *others]):
                    add(phrase, kind, name)
        # a plural never takes a word that is there in its own right ("glasses" beside "glass")
        for words, (kind, name) in list(found.items()):
            if not kind:
                for plural in plurals(words[-1]):
                    found.setdefault((*words[:-1], plural), ("", name))
        return found

    @cached_property
    def longest(self) -> int:
        """Words of the longest phrase."""
        return max((len(words) for words in self.phrases), default=0)

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of each attribute."""
        return {name: kind for kind, names in self.attributes.items() for name in names}


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
    def repeated(self) -> int:
        """Mentions that say nothing which those before them had not said."""
        known: set[Fact] = set()
        count = 0
        for thing in self.claimed:
            count += thing.facts <= known
            known |= thing.facts
        return count


def plurals(word: str) -> tuple[str, ...]:
    """Regular plurals of an English word, and a few that are not.

    >>> plurals("box"), plurals("man")
    (('boxes',), ('men',))
    """
    irregular = {"person": "people", "child": "children", "mouse": "mice", "goose": "geese", "foot": "feet"}
    irregular |= {"tooth": "teeth", "sheep": "sheep", "fish": "fish", "knife": "knives", "leaf": "leaves"}
    if word in irregular:
        return (irregular[word],)
    if word == "man" or word.endswith("woman") or word in ("fireman", "policeman", "snowman"):
        return (word[:-3] + "men",)
    if re.search(r"[^aeiou]y$", word):
        return (word[:-1] + "ies",)
    if re.search(r"(?:s|x|z|ch|sh)$", word):
        return (word + "es",)
    return (word + "s", word + "es") if word.endswith("o") else (word + "s",)


def normal_words(text: str) -> tuple[str, ...]:
    """Words in lower case, without punctuation, case and stop tokens: equal for answers that differ in nothing else.

    >>> normal_words("Law</s>") == normal_words("law ")
    True
    """
    return tuple(word for word in _TOKEN.findall(_SPECIAL.sub(" ", text).lower()) if word[0].isalnum() or word[0] == "_")


def read(text: str, vocabulary: Vocabulary) -> Reading:
    """What a text says, in the words of a vocabulary.

    Args:
        text: an answer or a caption.
        vocabulary: what can be seen in it.
    """
    words = normal_words(text)
    polarity: Polarity | None = None
    if words and words[0] in ("yes", "no") and not re.match(r"\W*no\s+\w", text, re.IGNORECASE):
        polarity = "yes" if words[0] == "yes" else "no"
    elif words[:1] == ("no",) and len(words) == 1:
        polarity = "no"
    return Reading(text, _mentions(text, vocabulary), words, polarity)


@dataclass(frozen=True)
class _Part:
    """A phrase of the vocabulary or a single token, where it stands; kind ``None``: neither thing nor attribute."""

    kind: str | None
    name: str
    start: int
    end: int


def _parts(text: str, vocabulary: Vocabulary) -> list[_Part]:
    # blanks for what is left out, so that places in the text stay
    shown = _SPECIAL.sub(lambda found: " " * len(found[0]), text)
    tokens = [(found[0].lower().replace("’", "'"), found.start(), found.end()) for found in _TOKEN.finditer(shown)]
    parts: list[_Part] = []
    at = 0
    while at < len(tokens):
        for length in range(min(vocabulary.longest, len(tokens) - at), 0, -1):
            known = vocabulary.phrases.get(tuple(token for token, _, _ in tokens[at : at + length]))
            if known is not None:
                parts.append(_Part(*known, tokens[at][1], tokens[at + length - 1][2]))
                at += length
                break
        else:
            parts.append(_Part(None, *tokens[at]))
            at += 1
    return parts


def _mentions(text: str, vocabulary: Vocabulary) -> tuple[Mention, ...]:
    parts = _parts(text, vocabulary)
    found: list[Mention] = []
    for at, part in enumerate(parts):
        if part.kind != "":
            continue
        before, first = _before(parts, at)
        after, last, not_so = _after(parts, at)
        if not_so and after:  # "the red circle is not big": there is a red circle, and it is not big
            found.append(_mention(part.name, before, parts[first].start, part.end, denied=_denied(parts, first)))
            found.append(_mention(part.name, after, part.start, parts[last].end, denied=True))
            continue
        denied = _denied(parts, first)
        found.append(_mention(part.name, before + after, parts[first].start, parts[last].end, denied=denied))
    return tuple(found)


def _mention(entity: str, attributes: Sequence[str], start: int, end: int, *, denied: bool) -> Mention:
    return Mention(Thing(entity, tuple(sorted(set(attributes)))), start, end, denied)


def _attribute(part: _Part) -> bool:
    return bool(part.kind)


def _before(parts: Sequence[_Part], at: int) -> tuple[list[str], int]:
    """Attributes right before a thing, and the first part of them: "a small, red and blue circle".

    Those after a copula are the other thing's unless a comma or an "and" parts them off, as in :func:`_after`.
    """
    first = at
    names: list[str] = []
    while first > 0:
        step = 1
        if names and parts[first - 1].name in (",", "and", "-") and parts[first - 1].kind is None:
            step = 2
        if first < step or not _attribute(parts[first - step]):
            break
        first -= step
        names.append(parts[first].name)
    for place in range(first, at):
        if parts[place].kind is None and place > first and _follows_copula(parts, first):
            kept = place + 1 if parts[place].name != "-" else first
            return [part.name for part in parts[kept:at] if _attribute(part)], kept
    return names, first


def _follows_copula(parts: Sequence[_Part], at: int) -> bool:
    """Whether attributes from here on are said of a thing before them."""
    while at > 0 and parts[at - 1].kind is None and parts[at - 1].name in _SOFTENERS | {"not"}:
        at -= 1
    if at == 0 or parts[at - 1].name not in _COPULAS:
        return False
    at -= 1
    while at > 0 and parts[at - 1].kind is None and parts[at - 1].name in _RELATIVES | {","}:
        at -= 1
    return at > 0 and parts[at - 1].kind == ""


def _after(parts: Sequence[_Part], at: int) -> tuple[list[str], int, bool]:
    """Attributes said of a thing after it, the last part of them, and whether it is said not to have them."""
    place = at + 1
    while place < len(parts) and parts[place].kind is None and parts[place].name in _RELATIVES | {","}:
        place += 1
    if place >= len(parts) or parts[place].kind is not None:
        return [], at, False
    copula = parts[place].name
    not_so = copula in {f"{each}n't" for each in _COPULAS}
    if copula not in _COPULAS and not not_so:
        return [], at, False
    place += 1
    while place < len(parts) and parts[place].kind is None and parts[place].name in _SOFTENERS | {"not"}:
        not_so |= parts[place].name == "not"
        place += 1
    groups: list[list[int]] = [[]]
    while place < len(parts):
        if _attribute(parts[place]):
            groups[-1].append(place)
        elif groups[-1] and parts[place].kind is None and parts[place].name in (",", "and", "-"):
            groups.append([])
        else:
            break
        place += 1
    if place < len(parts) and parts[place].kind == "" and groups[-1]:
        groups.pop()  # the last ones stand right before another thing
    places = [each for group in groups for each in group]
    return [parts[each].name for each in places], places[-1] if places else at, not_so and bool(places)


def _denied(parts: Sequence[_Part], first: int) -> bool:
    """Whether one of the three parts before a mention, in its own clause, is a negation."""
    for part in reversed(parts[max(0, first - 3) : first]):
        if part.kind is not None or part.name in (",", ".", ";", ":", "!", "?", "but", "and", "only"):
            return False
        if part.name in _NEGATIONS or part.name.endswith("n't"):
            return True
    return False


def agreement(first: Reading, second: Reading) -> float:
    """How much two answers say the same, in [0, 1]: twice the shared facts over all facts (Dice); symmetric.

    Of answers without any fact the words are compared. An empty answer agrees with nothing, a yes with no no. What one
    claims and the other denies counts as a fact that is not shared.
    """
    if not first.words or not second.words or {first.polarity, second.polarity} == {"yes", "no"}:
        return 0.0
    if first.facts or second.facts or first.denials or second.denials:
        own = {(fact, True) for fact in first.facts} | {(fact, False) for fact in first.denials}
        other = {(fact, True) for fact in second.facts} | {(fact, False) for fact in second.denials}
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
        fell_back: no fact had enough; ``agreed`` is the one that most views name, of equals the first.
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
    ahead = [fact for fact, count in counts.items() if count > denials.get(fact, 0)]
    agreed = [fact for fact in ahead if counts[fact] >= threshold]
    standing = {fact.entity for fact in agreed if not fact.attribute}
    agreed = [fact for fact in agreed if fact.entity in standing]  # its thing may be denied where it is not
    fell_back = not agreed and bool(ahead)
    if fell_back:
        agreed = [max(ahead, key=lambda fact: counts[fact])]
    return Vote(counts, denials, threshold, tuple(agreed), fell_back)


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


def contradicted(candidate: Reading, views: Sequence[Reading], vocabulary: Vocabulary) -> tuple[Fact, ...]:
    """The candidate's facts that more than half of the views speak against, sorted.

    A view speaks against a fact that it denies, and against an attribute of a thing to which it gives others of that
    kind but not this one ("blue circle" against "red circle").
    """

    def against(view: Reading, fact: Fact) -> bool:
        if fact in view.facts:
            return False
        if fact in view.denials or Fact(fact.entity) in view.denials - view.facts:
            return True
        kind = vocabulary.kinds.get(fact.attribute)
        return kind is not None and any(
            other.entity == fact.entity and vocabulary.kinds.get(other.attribute) == kind for other in view.facts
        )

    return tuple(sorted(fact for fact in candidate.facts if 2 * sum(against(view, fact) for view in views) > len(views)))
