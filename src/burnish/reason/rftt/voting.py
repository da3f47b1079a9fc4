"""One answer out of many, and what many answers are worth: majority, reward-weighted vote, best of n, pass@k.

These are different claims: a vote needs no reference, best of n needs a scorer that a user has too, and pass@k needs
the right answer, so it says what a perfect chooser would reach and nothing of what a user gets. All of them are pure;
:func:`search_answers` searches first and votes then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from burnish.core.errors import UserError
from burnish.dialogue.answers import boxed, compare_plainly
from burnish.reason.rftt.generators.protocol import Generator, Path, Prompt, Sampling
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.search import Judge, Saving, search
from burnish.reason.rftt.tree import Tree
from burnish.reason.rftt.walk import SearchRules

Vote = Literal["majority", "reward", "verifier"]
LABELS: dict[Vote, str] = {
    "majority": "majority of {} paths",
    "reward": "reward-weighted vote of {} paths",
    "verifier": "best of {} paths by the verifier, ties by majority",
}
GREEDY = SearchRules(sampling=Sampling(0.0, 0, 1.0))
"""Branches over functional tokens alone: inside a step the likeliest token."""

Same = Callable[[Sequence[tuple[str, str]]], Sequence[bool]]
"""Whether the answers of each pair are equal; :meth:`burnish.dialogue.verify.Verifier.equal` is one."""


@dataclass(frozen=True)
class Candidate:
    """An answer that was given, under whatever names.

    Attributes:
        answer: as it was first written.
        members: which of the answers equal it, in order.
        weight: what it got in the vote.
    """

    answer: str
    members: tuple[int, ...]
    weight: float


def plainly_same(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Equal text, or plain numbers of one value."""
    return [compare_plainly(*pair) is True for pair in pairs]


def grouped(answers: Sequence[str | None], same: Same = plainly_same) -> list[tuple[int, ...]]:
    """Which answers are equal: groups in the order of their first members; what is no answer is in none.

    Args:
        answers: each as written, or none.
        same: compares a new answer with the first of each group, in one call.
    """
    groups: list[list[int]] = []
    for number, answer in enumerate(answers):
        if answer is None:
            continue
        firsts = [answers[group[0]] or "" for group in groups]
        equal = list(same([(answer, first) for first in firsts])) if firsts else []
        if True in equal:
            groups[equal.index(True)].append(number)
        else:
            groups.append([number])
    return [tuple(group) for group in groups]


def count_votes(
    answers: Sequence[str | None], vote: Vote, scores: Sequence[float] | None = None, same: Same = plainly_same
) -> list[Candidate]:
    """The candidates of a vote, the winner first; of equals the one that was given first. None if nobody answered.

    Args:
        answers: of each path, or none.
        vote: ``majority`` counts paths; ``reward`` adds up their scores; ``verifier`` lets only those vote that share
            the highest score (best of n, ties by majority).
        scores: of each path; ``majority`` needs none.
        same: which answers are equal.

    Raises:
        UserError: a vote by scores without any, or with one that is no number.
    """
    if vote == "majority":
        weights = [1.0] * len(answers)
    else:
        if scores is None:
            raise UserError(f"vote: `{vote}` needs a score for every path; give a scorer, or vote by majority")
        if bad := [score for score in scores if not math.isfinite(score)]:
            raise UserError(f"vote: a score of {bad[0]}; the scorer must give numbers")
        given = [score for score, answer in zip(scores, answers, strict=True) if answer is not None]
        highest = max(given, default=0.0)
        weights = [float(score == highest) for score in scores] if vote == "verifier" else list(scores)
    found = [
        Candidate(answers[group[0]] or "", group, math.fsum(weights[number] for number in group))
        for group in grouped(answers, same)
    ]
    return sorted(found, key=lambda candidate: -candidate.weight)


def best_of_n(scores: Sequence[float]) -> int:
    """Which of n a scorer likes best; of equals the first.

    Raises:
        UserError: there are none.
    """
    if not scores:
        raise UserError("best of n: there is nothing to choose from")
    return max(range(len(scores)), key=lambda number: scores[number])


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that at least one of k samples is right, estimated without bias from more of them.

    1 - C(n - c, k) / C(n, k).

    Args:
        samples: n.
        right: c, how many of these are.
        k: at most n.

    Raises:
        UserError: k is not between 1 and n, or c not between 0 and n.

    >>> pass_at_k(4, 1, 2)
    0.5

    Source: Chen et al. 2021, "Evaluating large language models trained on code", equation 1.
    """
    if not (1 <= k <= samples and 0 <= right <= samples):
        raise UserError(f"pass@k: k is {k} and {right} of {samples} are right; wanted 1 <= k <= n and 0 <= right <= n")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


@dataclass(frozen=True)
class SearchAnswer:
    """What a search answers.

    Attributes:
        question: its id.
        answer: the winner's; none where no path gave one.
        chosen_by: how it won, in words.
        path: the node numbers of the winner's first path, from the first step on; empty without an answer.
        candidates: all answers, the winner first; their members are places in ``leaves``.
        leaves: the last nodes of the distinct paths, in the order in which they were found.
        generated: tokens drawn for this question.
        problem: why the question was not searched; empty if it was.
        tree: all of it, as plain data.
    """

    question: str
    answer: str | None
    chosen_by: str
    path: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    leaves: tuple[int, ...]
    generated: int
    problem: str
    tree: dict[str, Any]


def search_answers(
    prompts: Sequence[Prompt],
    generator: Generator,
    grammar: Grammar,
    rules: SearchRules = GREEDY,
    *,
    vote: Vote = "majority",
    score: Judge | None = None,
    same: Same = plainly_same,
    find: Callable[[str], str | None] = boxed,
    seed: int = 0,
    width: int = 16,
    saving: Saving | None = None,
) -> list[SearchAnswer]:
    """Search each question and answer it by a vote. No reference answer is looked at.

    With one rollout and temperature 0 this is greedy decoding constrained by the grammar. Rollouts to the same end vote
    once.

    Args:
        prompts: the questions.
        generator: the engine.
        grammar: which action may follow which.
        rules: how many rollouts, and how text is drawn.
        vote: see :func:`burnish.reason.rftt.voting.count_votes`; ``reward`` and ``verifier`` need ``score``.
        score: what a path is worth, by a process reward model or a verifier; the search follows it too. None: a path
            with an answer is worth 1, one without 0.
        same: which answers are equal.
        find: the answer in a path's last step.
        seed: of all draws.
        width: trees in lock step.
        saving: where the trees go.

    Raises:
        UserError: a vote by scores without a scorer; two questions of one id.
        BurnishError: the engine fails for good.
    """
    if vote != "majority" and score is None:
        raise UserError(f"vote: `{vote}` needs scores; name a process reward model (prm), or vote by majority")

    def answered(paths: Sequence[Path]) -> list[float]:
        return [float(find(path.nodes[-1].text) is not None) for path in paths]

    trees = search(prompts, generator, grammar, score or answered, rules, seed=seed, width=width, saving=saving)
    return [_answer(tree, vote, same, find) for tree in trees]


def _unanswered(answers: Sequence[str | None]) -> str:
    given = sum(answer is not None for answer in answers)
    return "" if given == len(answers) else f", {given} of them with an answer"


def _answer(tree: Tree, vote: Vote, same: Same, find: Callable[[str], str | None]) -> SearchAnswer:
    leaves = tree.distinct_leaves()
    ended = [tree.nodes[leaf].ending == "answer" for leaf in leaves]
    answers = [find(tree.nodes[leaf].text or "") if whole else None for leaf, whole in zip(leaves, ended, strict=True)]
    scores = [tree.nodes[leaf].reward or 0.0 for leaf in leaves]
    candidates = count_votes(answers, vote, scores, same)
    winner = None
    if candidates:
        members = candidates[0].members
        winner = max(members, key=lambda number: scores[number]) if vote != "majority" else members[0]
    return SearchAnswer(
        tree.prompt.id,
        None if winner is None else answers[winner],
        LABELS[vote].format(len(leaves)) + _unanswered(answers),
        () if winner is None else tuple(node.number for node in tree.lineage(leaves[winner])[1:]),
        tuple(candidates),
        tuple(leaves),
        tree.generated,
        tree.problem,
        tree.to_json(),
    )
