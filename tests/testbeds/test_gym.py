"""Problems of reasoning-gym: each family in turn, seeded, with one number for an answer."""

import pytest

from burnish.core.errors import UserError
from burnish.testbeds import gym
from burnish.testbeds.gym import FAMILIES, draw_problems, last_number

pytest.importorskip("reasoning_gym")


def test_families_take_turns_and_answers_are_numbers() -> None:
    found = draw_problems(3, seed=5)
    assert [question.row.split(":")[0] for question in found] == list(FAMILIES) * 3
    assert found == draw_problems(3, seed=5)
    for question in found:
        float(question.answer)


def test_training_and_test_share_no_problem() -> None:
    asked = {question.question for question in gym.training()}
    assert not asked & {question.question for question in gym.test()}
    assert len(asked) == 40


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(UserError, match="reasoning-gym has no problems `chain_sums`"):
        draw_problems(1, 0, ["chain_sums"])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12 - 20 is -8.", "-8"),
        ("1,234 in all", "1234"),
        ("5-3=2", "2"),
        ("from 2-5", "5"),
        ("it is 3.5", None),
        ("I do not know.", None),
    ],
)
def test_the_last_whole_number(text: str, number: str | None) -> None:
    assert last_number(text) == number
