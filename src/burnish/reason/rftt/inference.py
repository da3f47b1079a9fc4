"""Answers by search: a tree over functional tokens for each question, and a vote among the paths that it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.core.errors import UserError
from burnish.reason.rftt.generators.protocol import Generator, Path, Prompt, Sampling
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.rewards import boxed
from burnish.reason.rftt.search import Judge, Saving, search
from burnish.reason.rftt.tree import Tree
from burnish.reason.rftt.voting import Candidate, Same, Vote, count_votes, plainly_same
from burnish.reason.rftt.walk import SearchRules

_LABELS: dict[str, str] = {
    "majority": "majority of {} paths",
    "reward": "reward-weighted vote of {} paths",
    "verifier": "best of {} paths by the verifier, ties by majority",
}


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
    *,
    rollouts: int = 16,
    vote: Vote = "majority",
    score: Judge | None = None,
    same: Same = plainly_same,
    find: Callable[[str], str | None] = boxed,
    temperature: float = 0.0,
    seed: int = 0,
    width: int = 16,
    saving: Saving | None = None,
) -> list[SearchAnswer]:
    """Search each question and answer it by a vote. No reference answer is looked at.

    With one rollout and temperature 0 this is greedy decoding constrained by the grammar.

    Args:
        prompts: the questions.
        generator: the engine.
        grammar: which action may follow which.
        rollouts: walks from the question to an end; walks to the same end vote once.
        vote: see :func:`burnish.reason.rftt.voting.count_votes`; ``reward`` and ``verifier`` need ``score``.
        score: what a path is worth, by a process reward model or a verifier; the search follows it too. None: a path
            with an answer is worth 1, one without 0.
        same: which answers are equal.
        find: the answer in a path's last step.
        temperature: of the text inside steps; the search itself branches over the functional tokens.
        seed: of all draws.
        width: trees in lock step.
        saving: where the trees go.

    Raises:
        UserError: a vote by scores without a scorer; two questions of one id.
        BurnishError: the engine fails for good.
    """
    if vote != "majority" and score is None:
        raise UserError(f"vote: `{vote}` needs a scorer; give `score`, or vote by majority")

    def answered(paths: Sequence[Path]) -> list[float]:
        return [float(find(path.nodes[-1].text) is not None) for path in paths]

    rules = SearchRules(rollouts=rollouts, sampling=Sampling(temperature, 0, 0.95))
    trees = search(prompts, generator, grammar, score or answered, rules, seed=seed, width=width, saving=saving)
    return [_answer(tree, vote, same, find) for tree in trees]


def _answer(tree: Tree, vote: Vote, same: Same, find: Callable[[str], str | None]) -> SearchAnswer:
    leaves = tree.distinct_leaves()
    answers = [find(tree.nodes[leaf].text or "") for leaf in leaves]
    scores = [tree.nodes[leaf].reward or 0.0 for leaf in leaves]
    candidates = count_votes(answers, vote, scores, same)
    winner = None
    if candidates:
        members = candidates[0].members
        winner = max(members, key=lambda number: scores[number]) if vote != "majority" else members[0]
    return SearchAnswer(
        tree.prompt.id,
        None if winner is None else answers[winner],
        _LABELS[vote].format(len(leaves)),
        () if winner is None else tuple(node.number for node in tree.lineage(leaves[winner])[1:]),
        tuple(candidates),
        tuple(leaves),
        tree.generated,
        tree.problem,
        tree.to_json(),
    )
