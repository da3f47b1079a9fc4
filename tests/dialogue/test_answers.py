"""Answers against verdicts worked out by hand (benchmarks/answer_pairs.jsonl), and the page that quotes the errors."""

import json
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from benchmarks.answers import Pair, compare, read_pairs, table

from burnish.dialogue.answers import as_latex, bare, boxed, compare_plainly, read_quantity
from burnish.dialogue.layouts import BadRow, check_question
from burnish.dialogue.readers import QuestionSettings, read_questions
from burnish.dialogue.rewards import Accuracy, answer_in
from burnish.dialogue.rows import Question
from burnish.dialogue.units import read_unit
from burnish.dialogue.verify import Verifier

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(limit=30.0) as opened:
        yield opened


def test_verdicts_are_those_worked_out_by_hand(verifier: Verifier) -> None:
    pairs = read_pairs()
    assert len(pairs) >= 60
    assert len({(pair.answer, pair.reference) for pair in pairs}) == len(pairs)
    references = [pair.reference for pair in pairs]
    tagged = Accuracy(verifier).judge(
        [f"<think>so</think><answer>{pair.answer}</answer>" for pair in pairs], references
    )
    inside = Accuracy(verifier, "answer").judge([f"<answer>{pair.answer}</answer>" for pair in pairs], references)
    for rewards in (tagged, inside):
        wrong = [pair for pair, reward in zip(pairs, rewards, strict=True) if bool(reward) != pair.right]
        assert wrong == []


def test_the_page_quotes_what_the_script_finds() -> None:
    found = compare()
    assert found["math-verify, tags in the text"].refused  # the peer was really asked
    assert table(found) in (ROOT / "docs/answers.md").read_text()


def test_a_verdict_that_differs_is_counted() -> None:
    """The table of errors can be other than nought."""
    from benchmarks.answers import errors_of

    pairs = [Pair("1", "1", True), Pair("2", "1", False)]
    assert errors_of([False, True], pairs).refused == (pairs[0],)
    assert errors_of([False, True], pairs).accepted == (pairs[1],)


@pytest.mark.parametrize(
    ("completion", "reference", "reward"),
    [
        (r"<think>\boxed{3}</think><answer>4</answer>", "3", 0.0),  # the block has decided
        (r"<think>\boxed{3}</think><answer>the third</answer>", "3", 1.0),  # as published: found elsewhere
        (r"first \boxed{2}, then \boxed{3}", "3", 1.0),
        (r"first \boxed{3}, then \boxed{2}", "3", 0.0),
        (r"first \boxed{1}, then \boxed{2}", r"\{1,2\}", 0.0),
        ("<answer></answer>", "", 0.0),
        ("", "", 0.0),
        ("<answer> </answer>", "<answer></answer>", 0.0),
        ("3", "<answer></answer>", 0.0),
        ("<answer>(A) or (B)</answer>", "A", 0.0),
        ("<answer>5 or 6</answer>", "6", 0.0),
        (
            "<answer>I would say 5</answer> or rather 4",
            "5",
            1.0,
        ),  # one guess: what stands beside the block is no second
        ("<answer>I would say 5</answer> or rather 4", "4", 0.0),
        ("<answer>The answer is B</answer> The answer is C", "C", 0.0),
        (r"<answer>\text{either } 4 \text{ or } 5</answer>", "4", 0.0),
    ],
)
def test_which_part_of_a_completion_counts(verifier: Verifier, completion: str, reference: str, reward: float) -> None:
    assert Accuracy(verifier).judge([completion], [reference]) == [reward]


def test_a_model_that_repeats_itself_costs_no_time() -> None:
    """Reading is linear: each of these took minutes, in the process that trains, where no limit of time holds."""
    start = time.process_time()
    assert compare_plainly("\\boxed{" * 20_000 + "7", "7") is None
    assert boxed("\\boxed{" * 20_000 + "7}") == "7"
    assert answer_in("<answer>" * 50_000) is None
    assert compare_plainly("\\{" + "," * 50_000, "{1,2}") is None
    assert compare_plainly("(" + "1," * 50_000, "(1,2)") is None
    assert time.process_time() - start < 5


def test_the_last_box_that_closes_counts() -> None:
    assert boxed(r"\boxed{1} } \boxed{\{2\}} \boxed{3") == r"\{2\}"
    assert boxed(r"\boxed{1, \boxed{2} }") == "2"
    assert boxed(r"\boxed{1") is None


@pytest.mark.parametrize(
    ("text", "value", "dimension", "scale"),
    [
        ("1,250 cm^2", 1250, "length^2", Fraction(1, 10000)),
        ("-.5", Fraction(-1, 2), "", 1),
        (r"\$1,000", 1000, "dollars", 1),
        ("3e-2", Fraction(3, 100), "", 1),
        (r"\text{5 min}", 5, "time", 60),
        ("2 3/4 ft", Fraction(11, 4), "length", Fraction(3048, 10000)),
    ],
)
def test_quantities(text: str, value: Fraction, dimension: str, scale: Fraction) -> None:
    found = read_quantity(text)
    assert found is not None
    assert (found.value, found.dimension, found.scale) == (value, dimension, scale)


@pytest.mark.parametrize("text", ["5m", "12 apples", "1/0", "3%%", "1,23", "x", "", "5 cm kg", "$5 cm", "9" * 200])
def test_what_is_no_quantity(text: str) -> None:
    assert read_quantity(text) is None


def test_units_convert_only_within_what_they_measure() -> None:
    assert compare_plainly("1 h", "60 min") is True
    assert compare_plainly("1 kg", "1 m") is False
    assert compare_plainly("3 km/h", "3 m/s") is False
    assert read_unit("furlong") is None
    assert read_unit("km/h/s") is None


@pytest.mark.parametrize("text", ["not 5", "> 5", "at least 5", "More than 5 cm", r"\neq 5", "≤ 5"])
def test_a_bound_is_no_number(text: str) -> None:
    assert compare_plainly(text, "5") is False
    assert compare_plainly(text, text) is True
    assert compare_plainly("Over 5 hours they walked 5", "5") is None  # prose is searched


def test_prose_is_no_latex() -> None:
    assert as_latex("it is 14") is None
    assert as_latex("1 2") is None
    assert as_latex(".1.0") is None
    assert as_latex(r"\frac{x}{2}") == r"\frac{x}{2}"
    assert bare("**Paris.**") == "Paris"


@pytest.mark.parametrize("answer", ["<answer> </answer>", r"\boxed{}", r"$\text{ }$"])
def test_an_empty_reference_is_a_bad_row(answer: str, tmp_path: Path) -> None:
    rows = [{"question": "how many ?", "answer": answer}, {"question": "how many ?", "answer": "3"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told: list[str] = []
    found = list(read_questions(QuestionSettings(source=str(tmp_path / "rows.jsonl")), note=told.append))
    assert [question.answer for question in found] == ["3"]
    assert "`answer` is empty" in told[0]
    with pytest.raises(BadRow, match="`answer` is empty"):
        check_question(Question("how many ?", answer))
