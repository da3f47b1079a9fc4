"""What is read in a text: attributes on either side, plurals, phrases, negation, left-over tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.align.reading import Vocabulary, normal_words, plurals, read, with_article
from burnish.core.errors import UserError
from tests.align.words import VOCABULARY, said


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("red circle , blue square", ["red circle", "blue square"]),
        ("A large, scarlet disc and two tiny puppies.", ["big red circle", "small dog"]),
        ("a red and blue circle", ["blue red circle"]),
        ("a red, blue, and green circle", ["blue green red circle"]),
        ("a blue-green square", ["blue green square"]),
        ("The circle is red.", ["red circle"]),
        ("a circle that is very large, and a square", ["big circle", "square"]),
        ("The dogs are all brown and small.", ["brown small dog"]),
        ("The circle is red and brown dogs sleep.", ["red circle", "brown dog"]),
        ("The circle is red, blue square", ["red circle", "blue square"]),
        ("The square was green dog", ["square", "green dog"]),
        ("circle is red and the square is blue", ["red circle", "blue square"]),
        ("He eats a hot dog", ["hot dog"]),
        ("hot dogs", ["hot dog"]),
        ("two women and many people", ["person", "person"]),
        ("The dogged encircled owlet", []),
        ("red. Circle", ["circle"]),
        ("Yes", []),
        ("", []),
        ("красный круг 红色圆圈", []),
    ],
)
def test_claims(text: str, claimed: list[str]) -> None:
    assert [str(thing) for thing in said(text).claimed] == claimed
    assert not said(text).denials


@pytest.mark.parametrize(
    ("text", "claimed", "denied"),
    [
        ("There is no dog.", [], ["dog"]),
        ("No red dog, but a square", ["square"], ["red dog"]),
        ("There isn't a circle", [], ["circle"]),
        ("The circle is not red", ["circle"], ["red circle"]),
        ("The red circle isn't big.", ["red circle"], ["big circle"]),
        ("neither dogs nor owls", [], ["dog", "owl"]),
        ("no dogs or owls", [], ["dog", "owl"]),
        ("a square without a dog", ["square"], ["dog"]),
        ("No, there is a dog", ["dog"], []),
        ("No. A dog", ["dog"], []),
        ("not only a dog", ["dog"], []),
        ("There is not a single dog", [], ["dog"]),
        ("no dog, or owls", ["owl"], ["dog"]),
        ("dogs or owls", ["dog", "owl"], []),
    ],
)
def test_denials(text: str, claimed: list[str], denied: list[str]) -> None:
    found = said(text)
    assert [str(thing) for thing in found.claimed] == claimed
    assert sorted(str(fact) for fact in found.denials) == denied


def test_mentions_know_their_places() -> None:
    text = "Yes</s> a small red  circle; the dog is brown."
    assert [text[each.start : each.end] for each in said(text).mentions] == ["small red  circle", "dog is brown"]


@pytest.mark.parametrize(
    ("text", "polarity"),
    [
        ("Yes", "yes"),
        ("yes, but not sure", "yes"),
        ("No", "no"),
        (" No</s>", "no"),
        ("no. It is an owl", "no"),
        ("No dogs are there", None),
        ("A yes-man", None),
        ("Nobody", None),
        ("", None),
    ],
)
def test_polarity(text: str, polarity: str | None) -> None:
    assert said(text).polarity == polarity


def test_words_do_not_know_case_punctuation_and_stop_tokens() -> None:
    assert normal_words("Law</s>") == normal_words("law ") == ("law",)
    assert normal_words("<|im_end|> It's 3 > 2 !") == ("it's", "3", "2")
    assert normal_words("</s>") == normal_words(" .. ") == ()
    assert with_article("owl") == "an owl"
    assert with_article("red owl") == "a red owl"


def test_plurals() -> None:
    found = [
        plurals(word)[0] for word in ("dog", "box", "berry", "toy", "church", "person", "woman", "potato", "human")
    ]
    assert found == ["dogs", "boxes", "berries", "toys", "churches", "people", "women", "potatos", "humans"]
    assert "potatoes" in plurals("potato")


def test_a_plural_takes_no_word_from_its_owner() -> None:
    both = Vocabulary({"glass": (), "glasses": ()})
    assert [thing.entity for thing in read("a glass, glasses", both).claimed] == ["glass", "glasses"]


def test_one_word_for_two_things_is_refused() -> None:
    with pytest.raises(UserError, match="'orange' stands for 'orange fruit' and for 'orange'"):
        Vocabulary({"orange fruit": ("orange",)}, {"colour": {"orange": ()}})
    with pytest.raises(UserError, match="empty word"):
        Vocabulary({"dog": ("",)})
    assert read("a dog", Vocabulary({})).mentions == ()


@given(st.text(alphabet="ab red circle dog is not no, .and<>'\n’é", max_size=60))
def test_any_text_is_read(text: str) -> None:
    found = said(text)
    for mention in found.mentions:
        assert 0 <= mention.start < mention.end <= len(text)
        assert mention.thing.entity in VOCABULARY.entities
    assert said(text) == found
