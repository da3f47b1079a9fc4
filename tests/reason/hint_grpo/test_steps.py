"""Rationales into steps: how data sets write them, and the trap of the published split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.reason.hint_grpo.steps import split_steps

LLAVA_COT = (
    "<SUMMARY>I will add.</SUMMARY>\n<CAPTION>Two cubes.</CAPTION>\n<REASONING>We count.\n"
    "Step 1: There are 2 cubes.\nStep 2: By Step 1: we get 2.\n\n**Step 3**: So 2."
    "\n</REASONING>\n<CONCLUSION>2</CONCLUSION>"
)


@pytest.mark.parametrize(
    ("rationale", "steps"),
    [
        ("Intro Step 1: add. Step 2: stop", ["add.", "stop"]),
        ("Step 1: add\nStep 2: by Step 1 we get x", ["add", "by Step 1 we get x"]),
        ("Step 2: by Step 1 we get x", ["by Step 1 we get x"]),
        ("Step 1: as in Step 3: later\nStep 2: b\nStep 3: c", ["as in Step 3: later", "b", "c"]),
        ("### Step 1. a\n- Step 2) b\n* **Step 3:** c", ["a", "b", "c"]),
        ("Step 1\nfirst line\nsecond line\nStep 2\nnext", ["first line\nsecond line", "next"]),
        ("Step 1:\nStep 2: b", ["b"]),
        (LLAVA_COT, ["There are 2 cubes.", "By Step 1: we get 2.", "So 2."]),
        ("<REASONING>no end: a line\nanother", ["no end: a line", "another"]),
        ("first line\n\n second line \n", ["first line", "second line"]),
        (
            "It costs 3.5 euros, e.g. Monday. We pay twice. 3.5 + 3.5 = 7.",
            ["It costs 3.5 euros, e.g. Monday.", "We pay twice.", "3.5 + 3.5 = 7."],
        ),
        ("By Fig. 3 and A. Smith it holds! Really? Yes.", ["By Fig. 3 and A. Smith it holds!", "Really?", "Yes."]),
        ("one", ["one"]),
        ("", []),
        ("  \n ", []),
    ],
)  # fmt: skip
def test_steps(rationale: str, steps: list[str]) -> None:
    assert split_steps(rationale) == steps


def test_a_style_can_be_asked_for() -> None:
    text = "Step 1: a. B.\nStep 2: c"
    assert split_steps(text, "newline") == ["Step 1: a. B.", "Step 2: c"]
    assert split_steps("One. Two.\nThree.", "sentence") == ["One.", "Two.", "Three."]
    assert split_steps("no marker here", "step_k") == []


@given(
    st.lists(
        st.text("abc =.,", min_size=1, max_size=20).filter(lambda text: text.strip(" :*_\n")), min_size=1, max_size=12
    )
)
def test_numbered_lines_come_back(pieces: list[str]) -> None:
    text = "\n".join(f"Step {number}: {piece}" for number, piece in enumerate(pieces, 1))
    assert split_steps(text) == [piece.strip() for piece in pieces]


@given(st.text(max_size=200))
def test_any_text_gives_stripped_steps_that_are_in_it(text: str) -> None:
    for step in split_steps(text):
        assert step
        assert step == step.strip()
        assert step in text
