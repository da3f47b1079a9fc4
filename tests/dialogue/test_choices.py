import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.dialogue.choices import split_options, to_open


@pytest.mark.parametrize(
    "text",
    [
        "Find x.\nA. 30°\nB. 40°\nC. 50°\nD. 60°",
        "Find x.\nChoices:\n(A) 30°\n(B) 40°\n(C) 50°\n(D) 60°",
        "Find x. ( )\nA:30°\nB:40°\nC:50°\nD:60°",
        "Find x. A) 30° B) 40° C) 50° D) 60°",
        "Find x. Options: A. 30°; B. 40°; C. 50°; D. 60°",
        "Find x.\nA. 30°\nB. 40°\nC. 50°\nD. 60°\nAnswer with the option's letter from the given choices directly.",
    ],
)
def test_the_usual_ways_of_writing_options(text: str) -> None:
    assert split_options(text) == ("Find x.", {"A": "30°", "B": "40°", "C": "50°", "D": "60°"})


def test_a_point_called_a_is_no_option() -> None:
    stem, options = split_options("From point A. a line goes to B, AB = 3. Find AB. A. 3 B. 4")
    assert stem == "From point A. a line goes to B, AB = 3. Find AB."
    assert options == {"A": "3", "B": "4"}


@pytest.mark.parametrize(
    ("conclusion", "answer"),
    [
        ("B", "40°"),
        ("The answer is (C).", "50°"),
        ("D. 60°", "60°"),
        ("A or B", None),  # two letters
        ("BB", None),
        ("Angle ABC is 40°, so B", None),  # the published rule counts capitals, not words
        ("40°", None),
        ("", None),
    ],
)
def test_the_published_rule(conclusion: str, answer: str | None) -> None:
    found = to_open("Find x.\nA. 30°\nB. 40°\nC. 50°\nD. 60°", conclusion)
    assert found == (None if answer is None else ("Find x.", answer))


def test_what_has_no_options_or_no_question_stays() -> None:
    assert to_open("How many cubes are left?", "B") is None
    assert to_open("A. 1 B. 2", "B") is None
    assert to_open("Find x. A. 1 B. 2", "C") is None
    assert split_options("Find x. A. B. 2") == ("Find x. A. B. 2", {})


values = st.text(st.characters(categories=["Ll", "Nd"], max_codepoint=0x24F), min_size=1, max_size=8)


@given(st.lists(values, min_size=2, max_size=4), st.data())
def test_any_option_comes_back(options: list[str], data: st.DataObject) -> None:
    letters = "ABCD"[: len(options)]
    text = "what is it?\n" + "\n".join(f"{letter}. {option}" for letter, option in zip(letters, options, strict=True))
    index = data.draw(st.integers(0, len(options) - 1))
    assert to_open(text, f"it is {letters[index]}") == ("what is it?", options[index])


@given(st.text(), st.text())
def test_no_text_breaks_it(question: str, conclusion: str) -> None:
    found = to_open(question, conclusion)
    assert found is None or (found[0] and found[1])
