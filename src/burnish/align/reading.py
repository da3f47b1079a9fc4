"""Reads what a text says is there, by the words of a vocabulary.

A reading is rules, not a model: attributes before their thing ("a small, red circle") or after it ("the circle is
red"), negation ("no dog", "the circle is not red"). It is deterministic, and what it cannot see it does not report:
words outside the vocabulary are no facts, and of "the circle and the square are red" only the square is. Knows text
only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from burnish.align.facts import Mention, Polarity, Reading, Thing
from burnish.core.errors import UserError

_TOKEN = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")
_COPULAS = frozenset(["is", "are", "was", "were", "looks", "look", "appears", "appear", "seems", "seem"])
_SOFTENERS = frozenset(["all", "both", "very", "mostly", "also", "quite", "rather", "really"])
_RELATIVES = frozenset({"that", "which", "who", ","})
_JOINERS = frozenset({",", "and", "-"})
_NEGATIONS = frozenset(["no", "not", "without", "neither", "nor", "never", "cannot"])
_BREAKS = frozenset({",", ".", ";", ":", "!", "?", "but", "and", "only"})
_SPECIAL = re.compile(r"<[^<>\s]{1,40}>")
"""Stop tokens and the like that a decoder left in."""
_NO = re.compile(r"\W*no\s*(?:[^\w\s]|$)", re.IGNORECASE)
"""No as an answer, not as in "no dogs"."""


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


def plurals(word: str) -> tuple[str, ...]:
    """Regular plurals of an English word, and a few that are not.

    >>> plurals("box"), plurals("man")
    (('boxes',), ('men',))
    """
    irregular = {"person": "people", "child": "children", "mouse": "mice", "goose": "geese", "foot": "feet"}
    irregular |= {"tooth": "teeth", "sheep": "sheep", "fish": "fish", "knife": "knives", "leaf": "leaves"}
    if word in irregular:
        return (irregular[word],)
    if word == "man" or word.endswith("woman") or word in ("fireman", "gentleman", "policeman", "snowman"):
        return (word[:-3] + "men",)
    if re.search(r"[^aeiou]y$", word):
        return (word[:-1] + "ies",)
    if re.search(r"(?:s|x|z|ch|sh)$", word):
        return (word + "es",)
    return (word + "s", word + "es") if word.endswith("o") else (word + "s",)


def with_article(name: str) -> str:
    """A name after its indefinite article, by its first letter."""
    return f"{'an' if name[:1].lower() in tuple('aeiou') else 'a'} {name}"


def normal_words(text: str) -> tuple[str, ...]:
    """Words in lower case, without punctuation, case and stop tokens: equal for answers that differ in nothing else.

    >>> normal_words("Law</s>") == normal_words("law ")
    True
    """
    return tuple(
        word for word in _TOKEN.findall(_SPECIAL.sub(" ", text).lower()) if word[0].isalnum() or word[0] == "_"
    )


def read(text: str, vocabulary: Vocabulary) -> Reading:
    """What a text says, in the words of a vocabulary.

    Args:
        text: an answer or a caption.
        vocabulary: what can be seen in it.
    """
    # blanks for what is left out, so that places in the text stay
    shown = _SPECIAL.sub(lambda found: " " * len(found[0]), text)
    words = normal_words(text)
    polarity: Polarity | None = "yes" if words[:1] == ("yes",) else "no" if _NO.match(shown) else None
    return Reading(text, _mentions(_parts(shown, vocabulary)), words, polarity)


@dataclass(frozen=True)
class _Part:
    """A phrase of the vocabulary or a single token, where it stands; kind ``None``: neither thing nor attribute."""

    kind: str | None
    name: str
    start: int
    end: int

    def among(self, words: frozenset[str]) -> bool:
        """Whether this is one of the words, and not of the vocabulary."""
        return self.kind is None and self.name in words

    @property
    def is_attribute(self) -> bool:
        return bool(self.kind)

    @property
    def is_thing(self) -> bool:
        return self.kind == ""


def _parts(text: str, vocabulary: Vocabulary) -> list[_Part]:
    tokens = [(found[0].lower().replace("’", "'"), found.start(), found.end()) for found in _TOKEN.finditer(text)]
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


def _mentions(parts: Sequence[_Part]) -> tuple[Mention, ...]:
    found: list[Mention] = []
    for at, part in enumerate(parts):
        if not part.is_thing:
            continue
        before, first = _before(parts, at)
        after, last, not_so = _after(parts, at)
        denied = _denied(parts, first)
        if first >= 2 and parts[first - 1].among(frozenset({"or", "nor"})) and found:
            denied |= found[-1].denied and found[-1].end == parts[first - 2].end  # "no dogs or cats"
        if not_so:  # "the red circle is not big": there is a red circle, and it is not big
            found.append(_mention(part.name, before, parts[first].start, part.end, denied))
            found.append(_mention(part.name, after, part.start, parts[last].end, denied=True))
        else:
            found.append(_mention(part.name, before + after, parts[first].start, parts[last].end, denied))
    return tuple(found)


def _mention(entity: str, attributes: Sequence[str], start: int, end: int, denied: bool) -> Mention:
    return Mention(Thing(entity, tuple(sorted(set(attributes)))), start, end, denied)


def _before(parts: Sequence[_Part], at: int) -> tuple[list[str], int]:
    """Attributes right before a thing, and the first part of the mention: "a small, red and blue circle".

    Of attributes after a copula ("the sky is blue, red dogs") only those after the last comma or "and" are its own.
    """
    groups: list[list[int]] = [[]]
    place = at - 1
    while place >= 0:
        if parts[place].is_attribute:
            groups[0].insert(0, place)
        elif any(groups) and parts[place].among(_JOINERS):
            if parts[place].name != "-":
                groups.insert(0, [])
        else:
            break
        place -= 1
    groups = [group for group in groups if group]
    if len(groups) > 1 and _follows_copula(parts, groups[0][0]):
        groups = groups[-1:]
    places = [place for group in groups for place in group]
    return [parts[place].name for place in places], min(places, default=at)


def _follows_copula(parts: Sequence[_Part], at: int) -> bool:
    """Whether attributes from here on are said of a thing before them."""
    at -= 1
    while at > 0 and parts[at].among(_SOFTENERS | {"not"}):
        at -= 1
    if at < 0 or not _copula(parts[at]):
        return False
    at -= 1
    while at > 0 and parts[at].among(_RELATIVES):
        at -= 1
    return at >= 0 and parts[at].is_thing


def _copula(part: _Part) -> bool:
    return part.kind is None and part.name.removesuffix("n't") in _COPULAS


def _after(parts: Sequence[_Part], at: int) -> tuple[list[str], int, bool]:
    """Attributes said of a thing after it, the last part of the mention, and whether it is said not to have them."""
    place = at + 1
    while place < len(parts) and parts[place].among(_RELATIVES):
        place += 1
    if place >= len(parts) or not _copula(parts[place]):
        return [], at, False
    not_so = parts[place].name.endswith("n't")
    place += 1
    while place < len(parts) and parts[place].among(_SOFTENERS | {"not"}):
        not_so |= parts[place].name == "not"
        place += 1
    groups: list[list[int]] = [[]]
    while place < len(parts):
        if parts[place].is_attribute:
            groups[-1].append(place)
        elif any(groups) and parts[place].among(_JOINERS):
            if parts[place].name != "-":
                groups.append([])
        else:
            break
        place += 1
    if place < len(parts) and parts[place].is_thing:
        groups.pop()  # the last ones stand right before another thing; none where an "and" parts them from it
    places = [each for group in groups for each in group]
    return [parts[each].name for each in places], max(places, default=at), not_so and bool(places)


def _denied(parts: Sequence[_Part], first: int) -> bool:
    """Whether one of the three parts before a mention, in its own clause, is a negation."""
    for part in reversed(parts[max(0, first - 3) : first]):
        if part.kind is not None or part.name in _BREAKS:
            return False
        if part.name in _NEGATIONS or part.name.endswith("n't"):
            return True
    return False
