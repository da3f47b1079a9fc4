"""Which families a text survives."""

import pytest

from burnish.align.settings import FAMILIES, Family, ViewSettings
from burnish.align.truths import CHANGES, allowed_families, readable, spoken_of

DESCRIBE = "Describe the picture."


@pytest.mark.parametrize(
    ("question", "answer", "lost"),
    [
        (DESCRIBE, "An owl on a branch.", set()),
        ("What is to the left of the owl?", "A branch.", {"flip"}),
        (DESCRIBE, "An owl looks RIGHT.", {"flip"}),
        ("How many owls are there?", "2", {"flip", "crop", "rotation", "blur", "noise"}),
        (DESCRIBE, "A red owl.", {"jitter", "grayscale"}),
        ("What colour is the owl?", "Brownish", {"jitter", "grayscale"}),
        (DESCRIBE, "A bright lamp", {"contrast", "jitter"}),
        ("What does the sign say?", "Stop", {"flip", "crop", "blur", "noise"}),
        (DESCRIBE, 'A poster with "Hello".', {"flip", "crop", "blur", "noise"}),
        (DESCRIBE, "The tower is tilted.", {"rotation"}),
        (DESCRIBE, "An owl in the upper corner", {"crop"}),
        ("Is the fur smooth?", "Yes", {"blur", "noise"}),
        (DESCRIBE, "An owl at night", {"contrast", "jitter"}),
    ],
)
def test_families_that_a_text_does_not_survive(question: str, answer: str, lost: set[Family]) -> None:
    allowed = allowed_families(question, answer, ViewSettings())
    assert set(FAMILIES) - set(allowed.families) == set(allowed.excluded) == lost
    assert allowed.readable


def test_words_are_whole_and_shown() -> None:
    assert spoken_of("Bored, leftovers? Delighted brightly coloured credit.") == {
        "side": ("leftovers",),  # a false alarm costs a family
        "light": ("brightly",),
        "colour": ("coloured",),
    }
    allowed = allowed_families("What is left, left of the red sign?", "", ViewSettings(families=("grayscale", "flip")))
    assert allowed.excluded == {"grayscale": ("red",), "flip": ("left", "sign")}
    assert allowed.families == ()


def test_every_family_is_tagged() -> None:
    assert set(CHANGES) == set(FAMILIES)
    assert all(CHANGES.values())


@pytest.mark.parametrize("question", ["Was steht links neben dem roten Haus?", "左边是什么？", "Что слева от дома?"])
def test_a_text_in_another_language_keeps_only_mild_families(question: str) -> None:
    assert not readable(question, "")
    allowed = allowed_families(question, "", ViewSettings())
    assert allowed.families == ("contrast", "blur", "noise")
    assert allowed.excluded["flip"] == ()
    assert not allowed.readable


def test_an_answer_in_another_script_is_not_read_either() -> None:
    assert not readable(DESCRIBE, "Красный круг слева")
    assert readable(DESCRIBE, "A café")
    assert readable("red circle", "")
    assert readable("", "")


def test_words_of_a_user_are_read() -> None:
    german = ViewSettings(words={"side": ("links",), "colour": ("roten",), "objects": ("何人",)})
    allowed = allowed_families("Was steht links neben dem roten Haus?", "", german)
    assert set(allowed.excluded) == {"flip", "jitter", "grayscale"}
    assert "flip" in allowed_families("Was steht linksseitig?", "", german).families
    assert set(allowed_families("左に何人いますか", "", german).excluded) == {"crop", "rotation"}
