"""Rewards against the hand examples of the method's notes, and answers that must not count."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.dialogue.answers import boxed
from burnish.dialogue.verify import Verifier
from burnish.reason.rftt.rewards import (
    Judge,
    TokenRewards,
    Verdict,
    at_boundaries,
    outcome,
    prm_paper,
    prm_released,
    token_rewards,
)

RIGHT, WRONG, SILENT = Verdict(True, True), Verdict(True, False), Verdict(False, False)
SCORES = [0.9, 0.8, 0.5]


def test_outcome_and_paper_by_hand() -> None:
    assert [outcome(verdict) for verdict in (RIGHT, WRONG, SILENT)] == [1.0, 0.1, 0.0]
    assert [prm_paper(verdict, SCORES) for verdict in (RIGHT, WRONG, SILENT)] == [1.0, 0.1, 0.5]
    assert prm_paper(SILENT, []) == 0.0


def test_released_rewards_by_hand() -> None:
    """Example 4 of the notes: the last step .8 or .2, the mean .8333 or .6333."""
    assert prm_released(RIGHT, SCORES) == pytest.approx((0.9, 0.8, 0.8))
    assert prm_released(WRONG, SCORES) == pytest.approx((0.9, 0.8, 0.2))
    for verdict, mean in ((RIGHT, 0.833333), (WRONG, 0.633333)):
        found = token_rewards("prm_released", verdict, SCORES, (4, 9, 14), 16, by_step=False)
        assert found.places == (15,)
        assert found.total == pytest.approx(mean, abs=1e-6)
    assert prm_released(RIGHT, []) == (0.6,)  # nothing but an answer


def test_each_steps_reward_stands_where_the_step_closes_and_the_last_at_the_end() -> None:
    assert at_boundaries([0.9, 0.8, 0.2], (4, 9, 14), 16) == TokenRewards((4, 9, 15), (0.9, 0.8, 0.2))
    assert at_boundaries([0.9, 0.2], (4, 9), 10) == TokenRewards((4, 9), (0.9, 0.2))  # no token after the last tag


def test_where_tags_and_scores_differ_the_end_is_punished_and_the_rest_stays() -> None:
    # the last step never closed
    assert at_boundaries([0.9, 0.8, 0.2], (4, 9), 16) == TokenRewards((4, 9, 15), (0.9, 0.8, -0.2))
    # a tag too many
    assert at_boundaries([0.9, 0.2], (4, 9, 14), 16) == TokenRewards((4, 9, 15), (0.9, 0.2, -0.2))
    # the punishment replaces what would stand on the final token itself
    assert at_boundaries([0.9, 0.8, 0.2], (4, 9), 10) == TokenRewards((4, 9), (0.9, -0.2))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"first \boxed{1}, then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ 7 } and \boxed{8 never closes", "7"),
        (r"\boxed{a}{b}", "a"),
        ("no box", None),
        ("", None),
    ],
)
def test_the_last_whole_box_is_the_answer(text: str, answer: str | None) -> None:
    assert boxed(text) == answer


@given(st.text(alphabet="{}\\boxed 1", max_size=40))
def test_a_box_is_read_from_any_text(text: str) -> None:
    found = boxed(text)
    assert found is None or r"\boxed{" in text
    assert boxed(text + r"\boxed{x{y}z}") == "x{y}z"


def test_no_box_on_both_sides_is_not_right() -> None:
    """The released comparison of two missing answers is true."""
    judge = Judge(Verifier())
    assert judge.judge(["it is 7", r"\boxed{}", r"\boxed{7}"], ["it is 7", "", ""]) == [SILENT, SILENT, WRONG]
    assert judge.judge([r"\boxed{7.0}", r"\boxed{7}", r"\boxed{8}"], ["7", r"so \boxed{7}", "7"]) == [
        RIGHT,
        RIGHT,
        WRONG,
    ]


def test_a_chinese_answer_is_wrong_only_where_asked() -> None:
    text = r"答案是 \boxed{7}"
    assert Judge(Verifier()).judge([text], ["7"]) == [RIGHT]
    assert Judge(Verifier(), language="no_chinese").judge([text, r"so \boxed{7}"], ["7", "7"]) == [WRONG, RIGHT]


def test_an_answer_is_found_as_the_caller_says() -> None:
    judge = Judge(Verifier(), find=lambda text: text.partition("=")[2] or None)
    assert judge.judge(["x=7", "7", "x=8"], ["x=7", "x=7", "x=7"]) == [RIGHT, SILENT, WRONG]


def test_a_pair_is_compared_once() -> None:
    """A search ends in the same answers again and again, and algebra takes its time."""

    seen: list[tuple[str, str]] = []

    class Counting(Verifier):
        def equal(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
            seen.extend(pairs)
            return [text == gold for text, gold in pairs]

    judge = Judge(Counting())
    texts = [r"\boxed{x}", r"\boxed{y}", r"\boxed{x}", "none"]
    for _ in range(2):
        assert judge.judge(texts, ["x"] * 4) == [RIGHT, WRONG, RIGHT, SILENT]
    assert judge.judge(texts[:1], ["y"]) == [WRONG]
    assert seen == [("x", "x"), ("y", "x"), ("x", "y")]
