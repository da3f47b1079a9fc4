"""Words near a word, by the encoder's own input vectors: substitutes for an attack that spells everything right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

MOST_WORDS = 20_000


class Neighbours:
    """Nearest words of a vocabulary, by cosine.

    Args:
        words: of the vocabulary, in small letters.
        vectors: one a word.
        least: cosine below which a word is no substitute.
    """

    def __init__(self, words: Sequence[str], vectors: Float[np.ndarray, "words width"], least: float = 0.4) -> None:
        self._words = list(words)
        self._places = {word: place for place, word in enumerate(self._words)}
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._vectors = (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
        self._least = least
        self._found: dict[str, list[str]] = {}

    def __call__(self, word: str) -> list[str]:
        """The nearest, the nearest first, with the word's capital; none of a word that is not in the vocabulary."""
        small = word.lower()
        if small not in self._found:
            self._found[small] = self._nearest(small)
        capital = word[0].isupper()
        return [near.capitalize() if capital else near for near in self._found[small]]

    def _nearest(self, word: str, count: int = 8) -> list[str]:
        place = self._places.get(word)
        if place is None:
            return []
        likeness = self._vectors @ self._vectors[place]
        order = np.argsort(-likeness, kind="stable")
        fit = [at for at in order[: 4 * count] if likeness[at] >= self._least]
        return [self._words[at] for at in fit if not _same_word(self._words[at], word)][:count]


def _same_word(one: str, other: str) -> bool:
    """A form of the same word (plural, tense) changes too little to be called a substitute."""
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and len(long) - len(short) <= 3


def neighbours_of(model: Any, tokenizer: Any) -> Neighbours:
    """Of an encoder's whole-word tokens and the vectors it starts from.

    Source of the attack: TextFooler (Jin et al., AAAI 2020), there with vectors fitted to synonyms; here with the
    model's own, which no package need bring.
    """
    table = model.get_input_embeddings().weight.detach().float().cpu().numpy()
    vocabulary, special = tokenizer.get_vocab(), set(tokenizer.all_special_tokens)
    marks = any(mark in vocabulary for mark in ("Ġthe", "▁the"))
    found: dict[str, int] = {}
    for token, place in sorted(vocabulary.items(), key=lambda item: item[1]):
        word = "" if token in special else _whole_word(token, marks=marks)
        if word and place < len(table):
            found.setdefault(word, place)
    words = list(found)[:MOST_WORDS]
    return Neighbours(words, table[[found[word] for word in words]])


def _whole_word(token: str, *, marks: bool) -> str:
    """The word that a token is, if it is one: three letters or more, and the beginning of a word where the vocabulary
    marks those."""
    starts = token[:1] in ("Ġ", "▁")
    if marks and not starts:
        return ""
    word = token[1:] if starts else token
    return word if word.isascii() and word.isalpha() and word.islower() and len(word) >= 3 else ""
