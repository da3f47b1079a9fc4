"""Phase 1: from search trees to the rows that supervised fine-tuning learns from, every path counted. No model here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from burnish.core.errors import UserError
from burnish.dialogue.answers import boxed
from burnish.reason.rftt.generators.protocol import Sampling
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.prompts import Prompts, house_prompts
from burnish.reason.rftt.rewards import RIGHT
from burnish.reason.rftt.splice import Dispute, Trajectory, as_answer, as_mistake, dispute, splice, without_repeats
from burnish.reason.rftt.trace import Step, Trace
from burnish.reason.rftt.tree import Node, Tree

if TYPE_CHECKING:  # it imports torch
    from burnish.reason.rftt.generators.prompted import Writer

Verify = Callable[[Sequence[Dispute]], Sequence[str]]
"""Texts of verify steps, one for each dispute; asked for once, for all trees together."""


@dataclass(frozen=True)
class Row:
    """One trace to learn from.

    Attributes:
        question: the id of its tree.
        text: the question itself.
        trace: a legal trace that ends in the right answer.
        kind: a right path as found, or one spliced of a wrong and a right one.
        wrong: which steps are the wrong branch: from, to; (0, 0) for a path.
    """

    question: str
    text: str
    trace: Trace
    kind: Literal["path", "splice"]
    wrong: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class WarmupCounts:
    """What became of every tree and every path.

    Trees: ``trees`` is ``unsearched + without_right + used``. Their paths: ``paths`` is ``unfinished + wrong +
    duplicates + illegal + path_rows``.

    Attributes:
        trees: how many there were.
        unsearched: trees without a rollout (a question longer than the context).
        without_right: searched, and no path is right: dropped.
        used: trees that gave a row or could have.
        without_wrong: of those used, the ones in which no path is wrong: nothing to splice.
        paths: leaves of all rollouts, equal traces counted once.
        unfinished: paths that end without an answer: cut off, at the depth limit, repeating themselves.
        wrong: paths with a wrong answer.
        duplicates: right paths that equal a shorter one's trace once repeated steps are dropped.
        illegal: right paths that no legal trace tells (a direct answer to the bare question).
        repeated_steps: steps dropped since their text stood in their path before, or was blank.
        path_rows: rows of right paths.
        splice_rows: rows with a wrong branch.
        unspliced: used trees with wrong paths of which none makes a legal splice.
    """

    trees: int = 0
    unsearched: int = 0
    without_right: int = 0
    used: int = 0
    without_wrong: int = 0
    paths: int = 0
    unfinished: int = 0
    wrong: int = 0
    duplicates: int = 0
    illegal: int = 0
    repeated_steps: int = 0
    path_rows: int = 0
    splice_rows: int = 0
    unspliced: int = 0

    def __add__(self, other: WarmupCounts) -> WarmupCounts:
        return WarmupCounts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def is_right(_tree: Tree, leaf: Node) -> bool:
    """The reward of a right answer."""
    return leaf.reward is not None and leaf.reward >= RIGHT


def conclusion(text: str) -> str:
    r"""What an added ``output`` says: the boxed answer of the step before, or where there is no box its last line.

    >>> conclusion(r"3 + 4 = \boxed{7}, as wanted")
    'The answer is \\boxed{7}.'
    """
    answer = boxed(text)
    if answer:
        return f"The answer is \\boxed{{{answer}}}."
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def name_first_wrong(disputes: Sequence[Dispute]) -> list[str]:
    """Verify steps without a model to write them: each names the first wrong step."""
    return [f"Let me check the steps. Step {each.first_wrong} is wrong." for each in disputes]


def verify_by(
    writer: Writer, grammar: Grammar, sampling: Sampling, seed: int = 0, prompts: Prompts | None = None
) -> Verify:
    """Verify steps by a model that is shown both branches; where its reply is cut off or empty, the first is named.

    Args:
        writer: the model, here or behind an endpoint.
        grammar: the cap of a ``verify`` step.
        sampling: how to draw.
        seed: with the question it decides each reply's noise.
        prompts: with one that asks to verify; none takes this project's.

    Source: RFTT, cross verification (not released).
    """
    from burnish.reason.rftt.generators.prompted import Ask

    def verify(disputes: Sequence[Dispute]) -> list[str]:
        asks = []
        for each in disputes:
            shared, wrong, right = ([step.text for step in part] for part in (each.shared, each.wrong, each.right))
            digest = hashlib.sha256(repr((seed, each.question)).encode()).digest()
            asks.append(
                Ask(
                    (prompts or house_prompts()).verify(each.question, shared, wrong, right, each.first_wrong),
                    grammar.action("verify").tokens,
                    int.from_bytes(digest[:8], "big") >> 1,
                )
            )
        replies = writer.write(asks, sampling)
        return [
            reply.text.strip() if reply.finished and reply.text.strip() else named
            for reply, named in zip(replies, name_first_wrong(disputes), strict=True)
        ]

    return verify


def rows_of_tree(
    tree: Tree,
    grammar: Grammar,
    *,
    right: Callable[[Tree, Node], bool] = is_right,
    scores: str | None = None,
    verify: Verify = name_first_wrong,
    conclude: Callable[[str], str] = conclusion,
) -> tuple[list[Row], WarmupCounts]:
    """Rows of one finished tree: all distinct right paths, shortest first, then at most one with a wrong branch mended.

    Args:
        tree: of a search with or without prompts.
        grammar: in which the rows must be legal.
        right: whether a leaf that ended with an answer is right.
        scores: which of the nodes' scores guide the choice of the two branches; none goes by lengths.
        verify: writes the step that finds the mistake.
        conclude: writes the last step where the path's own cannot be it.

    Raises:
        UserError: a node of a path lacks the scores asked for.

    Source: RFTT, warm-up data; corner cases (no wrong path, no right one, repeated steps) are this project's choice.
    """
    return rows_of_trees([tree], grammar, right=right, scores=scores, verify=verify, conclude=conclude)


def rows_of_trees(
    trees: Sequence[Tree],
    grammar: Grammar,
    *,
    right: Callable[[Tree, Node], bool] = is_right,
    scores: str | None = None,
    verify: Verify = name_first_wrong,
    conclude: Callable[[str], str] = conclusion,
) -> tuple[list[Row], WarmupCounts]:
    """Rows of many trees, as :func:`rows_of_tree`; ``verify`` is asked once for all of them.

    Raises:
        UserError: as :func:`rows_of_tree`, or ``verify`` gives another number of texts than it was asked for.
    """
    total = WarmupCounts()
    by_tree: list[list[Row]] = []
    asked: list[tuple[int, Dispute]] = []
    for place, tree in enumerate(trees):
        trajectories, counts = _trajectories(tree, grammar, right, scores)
        rows, found, more = _of_one(tree, grammar, trajectories, conclude)
        total = total + counts + more
        by_tree.append(rows)
        if found is not None:
            asked.append((place, found))
    disputes = [found for _, found in asked]
    texts = verify(disputes) if disputes else []
    if len(texts) != len(disputes):
        raise UserError(f"warm-up: {len(texts)} verify steps were written for {len(disputes)} disputes; write one each")
    for (place, found), text in zip(asked, texts, strict=True):
        spliced = splice(found, text, grammar, conclude)
        assert spliced is not None  # `_of_one` has tried; the words of the verify step change nothing
        prompt = trees[place].prompt
        by_tree[place].append(Row(prompt.id, prompt.text, spliced.trace, "splice", spliced.wrong))
    return [row for rows in by_tree for row in rows], total


def _trajectories(
    tree: Tree, grammar: Grammar, right: Callable[[Tree, Node], bool], scores: str | None
) -> tuple[list[Trajectory], WarmupCounts]:
    """The answered paths of a tree, repeated steps dropped, in the order in which they were found."""
    found = []
    unfinished = dropped = 0
    leaves = tree.distinct_leaves()
    for number in leaves:
        nodes = tree.lineage(number)[1:]
        if not nodes or nodes[-1].ending != "answer":
            unfinished += 1
            continue
        steps = tuple(Step(node.action, node.text or "") for node in nodes)
        values = None if scores is None else tuple(_score(tree, node, scores) for node in nodes)
        whole = Trajectory(steps, right(tree, nodes[-1]), values)
        once = without_repeats(whole)
        dropped += len(steps) - len(once.steps)
        found.append(once if once.right else as_mistake(once, grammar))
    return found, WarmupCounts(paths=len(leaves), unfinished=unfinished, repeated_steps=dropped)


def _of_one(
    tree: Tree, grammar: Grammar, trajectories: Sequence[Trajectory], conclude: Callable[[str], str]
) -> tuple[list[Row], Dispute | None, WarmupCounts]:
    """The rows of right paths, the dispute to splice, and the counts of a tree."""
    if not tree.rollouts:
        return [], None, WarmupCounts(trees=1, unsearched=1)
    rights = sorted((each for each in trajectories if each.right), key=lambda each: each.size)
    wrong = sum(not each.right for each in trajectories)
    if not rights:
        return [], None, WarmupCounts(trees=1, without_right=1, wrong=wrong)
    rows: dict[Trace, Row] = {}
    illegal = duplicates = 0
    for each in rights:
        trace = as_answer(each.steps, grammar, conclude)
        if grammar.fault([step.action for step in trace]) is not None:
            illegal += 1
        elif trace in rows:
            duplicates += 1
        else:
            rows[trace] = Row(tree.prompt.id, tree.prompt.text, trace, "path")
    found = dispute(tree.prompt.text, trajectories, lambda each: splice(each, "", grammar, conclude) is not None)
    return (
        list(rows.values()),
        found,
        WarmupCounts(
            trees=1,
            used=1,
            without_wrong=int(not wrong),
            wrong=wrong,
            duplicates=duplicates,
            illegal=illegal,
            path_rows=len(rows),
            splice_rows=int(found is not None),
            unspliced=int(wrong > 0 and found is None),
        ),
    )


def _score(tree: Tree, node: Node, name: str) -> float:
    if name not in node.scores:
        known = ", ".join(sorted(node.scores)) or "none"
        raise UserError(
            f"tree of `{tree.prompt.id}`: step {node.number} has no score `{name}` (it has {known}); score it first"
        )
    return node.scores[name]
