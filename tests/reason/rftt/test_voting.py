"""Votes, best of n and pass@k by hand, and answers by search on a scripted engine."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.reason.rftt.generators.protocol import Path, Prompt
from burnish.reason.rftt.grammar import rftt_grammar
from burnish.reason.rftt.tree import tree_from_json
from burnish.reason.rftt.voting import GREEDY, Vote, best_of_n, count_votes, grouped, pass_at_k, search_answers
from tests.reason.rftt.scripted import Scripted

ANSWERS = ["7", None, "8", "7.0", "9", "8.", "14/2"]
SCORES = [0.2, 5.0, 0.9, 0.1, 0.9, 0.3, 0.1]


def test_equal_answers_are_one_candidate_and_no_answer_is_none() -> None:
    assert grouped(ANSWERS) == [(0, 3, 6), (2, 5), (4,)]  # the full stop of "8." is a sentence's end
    assert grouped(ANSWERS, lambda pairs: [a.strip(".") == b for a, b in pairs]) == [(0,), (2, 5), (3,), (4,), (6,)]
    assert grouped([None, None]) == []


def test_votes_by_hand() -> None:
    majority = count_votes(ANSWERS, "majority")
    assert [(each.answer, each.weight) for each in majority] == [("7", 3), ("8", 2), ("9", 1)]
    by_reward = count_votes(ANSWERS, "reward", SCORES)
    assert [each.answer for each in by_reward] == ["8", "9", "7"]
    assert by_reward[2].weight == pytest.approx(0.4)
    same = lambda pairs: [a.strip(".") == b for a, b in pairs]  # noqa: E731
    assert count_votes(ANSWERS, "reward", SCORES, same)[0].weight == pytest.approx(1.2)
    by_verifier = count_votes(ANSWERS, "verifier", SCORES)
    assert [(each.answer, each.weight) for each in by_verifier[:2]] == [("8", 1), ("9", 1)]
    twice = count_votes(["7", "8", "9", "9"], "verifier", [1.0, 0.0, 1.0, 1.0])
    assert [(each.answer, each.weight) for each in twice] == [("9", 2), ("7", 1), ("8", 0)]
    assert count_votes([None, None], "reward", [1.0, 1.0]) == []


def test_a_vote_by_scores_needs_numbers() -> None:
    with pytest.raises(UserError, match="`reward` needs a score"):
        count_votes(ANSWERS, "reward")
    with pytest.raises(UserError, match="nan"):
        count_votes(["1"], "verifier", [float("nan")])


def test_best_of_n_takes_the_first_of_the_best() -> None:
    assert best_of_n([0.1, 0.9, 0.9]) == 1
    with pytest.raises(UserError, match="nothing"):
        best_of_n([])


def test_pass_at_k_by_hand() -> None:
    assert pass_at_k(4, 1, 2) == 0.5
    assert pass_at_k(16, 0, 16) == 0.0
    assert pass_at_k(16, 1, 16) == 1.0
    assert pass_at_k(10, 9, 2) == 1.0
    for wrong in ((4, 1, 5), (4, 5, 1), (4, 1, 0), (4, -1, 1)):
        with pytest.raises(UserError, match="pass@k"):
            pass_at_k(*wrong)


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_subsets_that_hold_a_right_one(samples: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    subsets = list(itertools.combinations(range(samples), k))
    assert pass_at_k(samples, right, k) == pytest.approx(sum(min(each) < right for each in subsets) / len(subsets))


GRAMMAR = rftt_grammar(max_depth=4)
SIX = replace(GREEDY, rollouts=6)
OPENINGS = {
    (): {"clarify": 0.5, "analysis": 0.3, "next_step": 0.2},
    ("clarify",): {"direct_answer": 1.0},
    ("analysis",): {"direct_answer": 1.0},
    ("next_step",): {"output": 1.0},
    ("clarify", "direct_answer"): {"output": 1.0},
    ("analysis", "direct_answer"): {"output": 1.0},
}
TEXTS = {
    ("clarify", "direct_answer", "output"): r"\boxed{7}",
    ("analysis", "direct_answer", "output"): r"\boxed{8}",
    ("next_step", "output"): r"\boxed{8.0}",
}


def liking_seven(paths: Sequence[Path]) -> list[float]:
    return [0.9 if "7" in path.nodes[-1].text else 0.2 for path in paths]


def test_paths_without_an_answer_are_said() -> None:
    texts = {**TEXTS, ("analysis", "direct_answer", "output"): "no box"}
    (found,) = search_answers([Prompt("a", "?", (1,))], Scripted(GRAMMAR, OPENINGS, texts), GRAMMAR, SIX)
    assert found.chosen_by == "majority of 3 paths, 2 of them with an answer"


def test_answers_by_search() -> None:
    prompts = [Prompt("a", "?", (1,)), Prompt("b", "?", (1, 2))]
    first, second = search_answers(prompts, Scripted(GRAMMAR, OPENINGS, TEXTS), GRAMMAR, SIX)
    assert (first.question, second.question) == ("a", "b")
    assert first.answer == "8"
    assert first.chosen_by == "majority of 3 paths"
    assert [(each.answer, each.weight) for each in first.candidates] == [("8", 2), ("7", 1)]
    tree = tree_from_json(json.loads(json.dumps(first.tree)))
    assert [tree.nodes[number].action for number in first.path] == ["analysis", "direct_answer", "output"]
    assert len(tree.rollouts) == 6
    assert first.generated == tree.generated > 0
    one, _ = search_answers(prompts, Scripted(GRAMMAR, OPENINGS, TEXTS), GRAMMAR, replace(GREEDY, rollouts=1))
    assert (one.answer, len(one.leaves)) == ("7", 1)  # the likeliest way


@pytest.mark.parametrize(
    ("vote", "label"),
    [("reward", "reward-weighted vote of 3 paths"), ("verifier", "best of 3 paths by the verifier, ties by majority")],
)
def test_answers_by_a_scorer(vote: Vote, label: str) -> None:
    engine = Scripted(GRAMMAR, OPENINGS, TEXTS)
    (found,) = search_answers(
        [Prompt("a", "?", (1,))],
        engine,
        GRAMMAR,
        SIX,
        vote=vote,
        score=liking_seven,
    )
    assert (found.answer, found.chosen_by) == ("7", label)
    with pytest.raises(UserError, match="needs scores"):
        search_answers([], engine, GRAMMAR, vote=vote)


def test_no_answer_is_said_to_be_none() -> None:
    (found,) = search_answers([Prompt("a", "?", (1,))], Scripted(GRAMMAR), GRAMMAR, replace(GREEDY, rollouts=2))
    assert (found.answer, found.path, found.candidates) == (None, (), ())
    (long,) = search_answers([Prompt("a", "?", (1,) * 9)], Scripted(GRAMMAR, context=9), GRAMMAR)
    assert (long.answer, long.leaves) == (None, ())
    assert "9 tokens" in long.problem
