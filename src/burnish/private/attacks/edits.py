"""Edits of one word: two letters swapped, one left out, one hit beside its key, one replaced by its twin.

Pure functions of a word and a random stream. A word is a run of three letters or more; what is shorter is left alone,
as readers stumble over it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

EditKind = Literal["swap", "delete", "typo", "homoglyph", "neighbour"]
CHARACTER_EDITS: tuple[EditKind, ...] = ("swap", "delete", "typo", "homoglyph")

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
TWINS = {
    "a": "а",  # from here on Cyrillic, but for two: what looks alike in most fonts (Unicode's table of confusables)
    "c": "с",
    "e": "е",
    "i": "і",
    "j": "ј",
    "o": "о",
    "p": "р",
    "s": "ѕ",
    "x": "х",
    "y": "у",
    "l": "ӏ",
    "h": "һ",
    "v": "ν",  # Greek
    "u": "υ",
}
WORD = re.compile(r"[^\W\d_]{3,}")


def keyboard() -> dict[str, str]:
    """Letters and the keys around them on a QWERTY keyboard."""
    near: dict[str, set[str]] = {letter: set() for row in ROWS for letter in row}
    for line, row in enumerate(ROWS):
        for place, letter in enumerate(row):
            around = [(line, place - 1), (line, place + 1), (line + 1, place - 1), (line + 1, place)]
            for other, at in around:
                if other < len(ROWS) and 0 <= at < len(ROWS[other]):
                    near[letter].add(ROWS[other][at])
                    near[ROWS[other][at]].add(letter)
    return {letter: "".join(sorted(found)) for letter, found in near.items()}


KEYS = keyboard()


def swapped(word: str) -> list[str]:
    """Every swap of two neighbouring letters inside; the first and the last stay, by which readers go."""
    places = range(1, len(word) - 2)
    return [word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in places if word[at] != word[at + 1]]


def deleted(word: str) -> list[str]:
    """Every inner letter left out."""
    return [word[:at] + word[at + 1 :] for at in range(1, len(word) - 1)]


def mistyped(word: str) -> list[str]:
    """Every inner letter as each of the keys around it."""
    return [
        word[:at] + (key.upper() if word[at].isupper() else key) + word[at + 1 :]
        for at in range(1, len(word) - 1)
        for key in KEYS.get(word[at].lower(), "")
    ]


def disguised(word: str) -> list[str]:
    """Every letter as its twin of another alphabet, where it has one."""
    return [word[:at] + TWINS[letter] + word[at + 1 :] for at, letter in enumerate(word) if letter in TWINS]


EDITS: dict[str, Callable[[str], list[str]]] = {
    "swap": swapped,
    "delete": deleted,
    "typo": mistyped,
    "homoglyph": disguised,
}


def words_of(text: str) -> list[tuple[int, int]]:
    """Where words begin and end."""
    return [found.span() for found in WORD.finditer(text)]


def variants(
    word: str,
    kinds: Sequence[EditKind],
    each: int,
    rng: np.random.Generator,
    neighbours: Callable[[str], Sequence[str]] | None = None,
) -> list[str]:
    """Up to ``each`` edits of a word of each kind, drawn at random; of ``neighbour`` the nearest.

    Args:
        word: to edit.
        kinds: of edits.
        each: edits of a kind.
        rng: draws them.
        neighbours: of a word, the nearest first.
    """
    found: list[str] = []
    for kind in kinds:
        if kind == "neighbour":
            found += list(neighbours(word))[:each] if neighbours is not None else []
            continue
        able = list(dict.fromkeys(EDITS[kind](word)))
        found += [able[at] for at in sorted(rng.permutation(len(able))[:each])]
    return [each for each in dict.fromkeys(found) if each != word]


def noisy(text: str, share: float, rng: np.random.Generator, kinds: Sequence[EditKind] = CHARACTER_EDITS) -> str:
    """A text with a share of its words (rounded, one at least where there is one) edited once, at random: what a
    careless or a blind attacker does, at no query."""
    spans = words_of(text)
    if not spans:
        return text
    picked = rng.permutation(len(spans))[: max(1, round(share * len(spans)))]
    for at in sorted(picked, reverse=True):  # from the end, so that places before stay right
        start, end = spans[at]
        able = variants(text[start:end], [kinds[int(rng.integers(len(kinds)))]], 1, rng)
        if able:
            text = text[:start] + able[0] + text[end:]
    return text
