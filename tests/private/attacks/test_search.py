"""The greedy search on victims whose weak word is known, and that no query is free."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.private.attacks.neighbours import Neighbours
from burnish.private.attacks.search import AttackPlan, attack, lead
from burnish.private.bundle import ClientModel, save_bundle
from burnish.private.encoders import load_encoder
from burnish.private.heads import heads_of
from burnish.private.prompts import Prompt
from burnish.testbeds.phrases import reviews
from burnish.testbeds.small_bert import write_encoder


class Counting:
    """Knows one word: class 1 where it stands, class 0 else; half of a sign otherwise."""

    def __init__(self, word: str) -> None:
        self.word, self.asked = word, 0

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += len(texts)
        return np.array([[0.5, float(self.word in text)] for text in texts])


def test_it_finds_the_word() -> None:
    victim = Counting("money")
    text = "please send all your money today without delay"
    found = attack(victim, text, 1, AttackPlan(("delete",), budget=20), np.random.default_rng(0))
    assert found.turned
    assert found.changed == 1
    assert "money" not in found.text
    assert found.text.replace(" ", "")[:15] == text.replace(" ", "")[:15]
    assert victim.asked == found.queries <= 20
    assert (found.before.tolist(), found.after.tolist()) == ([0.5, 1.0], [0.5, 0.0])


def test_a_text_that_is_wrong_already_costs_one_query() -> None:
    victim = Counting("money")
    found = attack(victim, "nothing here to see", 1, AttackPlan(), np.random.default_rng(0))
    assert (found.queries, found.changed, found.turned, victim.asked) == (1, 0, False, 1)


def test_near_words_and_places_after_an_edit() -> None:
    """Two words must go, and the first is replaced by a longer one."""

    def victim(texts: Sequence[str]) -> np.ndarray:
        return np.array([[0.7, float("cash" in text) + 0.5 * ("prize" in text)] for text in texts])

    near = {"cash": ["banknotes"], "prize": ["award"]}
    plan = AttackPlan(("neighbour",), budget=40, share=1.0)
    found = attack(victim, "win cash and prize now", 1, plan, np.random.default_rng(0), lambda word: near.get(word, []))
    assert found.text == "win banknotes and prize now"
    assert found.turned
    stubborn = attack(
        lambda texts: victim(texts) - np.array([0.6, 0.0]),
        "win cash and prize now",
        1,
        plan,
        np.random.default_rng(0),
        lambda word: near.get(word, []),
    )
    assert stubborn.text == "win banknotes and award now"
    assert stubborn.turned


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abc de", max_size=60), st.integers(1, 25), st.floats(0.01, 1), st.integers(0, 2**32 - 1))
def test_never_more_queries_or_words_than_allowed(text: str, budget: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = 0

    def victim(texts: Sequence[str]) -> np.ndarray:
        nonlocal asked
        asked += len(texts)
        return rng.normal(size=(len(texts), 3))

    plan = AttackPlan(("swap", "delete", "typo", "homoglyph"), budget, share, 2)
    found = attack(victim, text, 0, plan, np.random.default_rng(seed))
    assert asked == found.queries <= budget
    words = len([word for word in text.split(" ") if len(word) >= 3])
    assert found.changed <= np.ceil(share * words)
    assert (found.text == text) == (found.changed == 0)


def test_lead_by_hand() -> None:
    assert lead(np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]]), 1).tolist() == [1.0, 0.0]


def test_neighbours_by_hand() -> None:
    near = Neighbours(["dog", "dogs", "hound", "car"], np.array([[1.0, 0.0], [1.0, 0.01], [0.8, 0.6], [0.0, 1.0]]))
    assert near("dog") == ["hound"]  # the plural is the same word, a car is too far
    assert near("Dog") == ["Hound"]
    assert near("unknown") == []
    assert near("car") == ["hound"]
    with pytest.raises(IndexError):
        near("")


def test_ones_own_classifier(tmp_path: Path) -> None:
    """By the face, on a bundle: never better after than before, and a class it lacks is named."""
    from burnish.private import attack as attack_own

    encoder = load_encoder(write_encoder(tmp_path / "encoder"), max_tokens=24)
    weights = np.random.default_rng(0).normal(size=(1, 2, 16))
    middle = encoder.represent([row["text"] for row in reviews()[:40]], [Prompt("{text}", ())]).vectors.mean((0, 1))
    heads = heads_of(weights, -weights @ middle, ("liked", "not liked"))  # knows nothing, but says both
    client = ClientModel(str(tmp_path / "encoder"), encoder.pooling, 24, ("{text}",), heads.labels, 0.1)
    save_bundle(tmp_path / "service", heads, client)
    found = attack_own(tmp_path / "service", "burnish.testbeds.phrases:reviews", count=6, budget=30)
    again = attack_own(tmp_path / "service", "burnish.testbeds.phrases:reviews", count=6, budget=30)
    assert len(found.attacked) == 6
    assert found.before > 0
    assert found.after < found.before  # of six texts at least one is turned
    assert found.queries <= 30
    assert [each.text for each in found.attacked] == [each.text for each in again.attacked]
    with pytest.raises(UserError, match="the class `cardiology` is unknown to the classifier"):
        attack_own(tmp_path / "service", "burnish.testbeds.phrases:triage")
