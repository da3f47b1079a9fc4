"""Edits by hand."""

import numpy as np
import pytest

from burnish.private.attacks.edits import (
    KEYS,
    TWINS,
    deleted,
    disguised,
    mistyped,
    noisy,
    swapped,
    variants,
    words_of,
)


def test_by_hand() -> None:
    assert swapped("word") == ["wrod"]
    assert swapped("noon") == []
    assert deleted("word") == ["wrd", "wod"]
    assert KEYS["q"] == "aw"
    assert KEYS["s"] == "adewxz"
    assert "wird" in mistyped("word")
    assert mistyped("wOrd")[0] == "w" + KEYS["o"][0].upper() + "rd"
    assert disguised("dog") == ["d" + "\u043e" + "g"]
    assert all(ord(twin) > 127 and len(twin) == 1 for twin in TWINS.values())
    assert words_of("It is no joke: na\u00efve 42 words") == [(9, 13), (15, 20), (24, 29)]


@pytest.mark.parametrize("word", ["abc", "Hello", "\u0438\u043d\u043e\u0439", "zzz"])
def test_variants_are_other_words_and_never_the_same(word: str) -> None:
    found = variants(word, ("swap", "delete", "typo", "homoglyph"), 3, np.random.default_rng(0))
    assert word not in found
    assert len(found) == len(set(found)) <= 12
    near = variants(word, ("neighbour",), 2, np.random.default_rng(0), lambda _: ["one", word, "two"])
    assert near == ["one"]


def test_noise_hits_so_many_words() -> None:
    text = "four words stand here, more or less so"
    rng = np.random.default_rng(0)
    changed = noisy(text, 0.5, rng, ("delete",))
    assert sum(a != b for a, b in zip(text.split(), changed.split(), strict=True)) == 3  # half of six, rounded
    assert noisy("a b 12 !", 0.5, rng) == "a b 12 !"
    assert noisy("", 0.5, rng) == ""
    assert noisy(text, 0.5, np.random.default_rng(4)) == noisy(text, 0.5, np.random.default_rng(4))
