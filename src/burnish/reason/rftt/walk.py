"""How one tree is walked: rules, selection, simulation, and why a path ends. Pure but for the tree and its draws.

A walk stops where it needs something that it does not know (what may follow a node, a text, what a path is worth), says
so by a :class:`Want`, and goes on when the tree has it. So a tree can be put aside at any such point.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from burnish.core.errors import UserError
from burnish.reason.rftt.generators.protocol import Proposal, Sampling, Written
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.tree import Ending, Schedule, Tree, best_by_uct, exploration, pick


@dataclass(frozen=True)
class SearchRules:
    """How a tree is searched. The defaults are those of phase 2; :data:`PROMPTED` is phase 1.

    Attributes:
        rollouts: walks from the question to an end, for each tree.
        weight: c of UCT.
        schedule: how c falls from rollout to rollout.
        unvisited: which child without visits is selected first; such children always come before UCT.
        simulate: which child a rollout follows below the selected node.
        eager: write every child as soon as it is proposed (as published for phase 1); otherwise when a rollout gets
            there. Both walk the same paths.
        samples: children of an action that is proposed, where it is not one.
        never_selected: actions that only simulation may take.
        most_sentences: answers of an action that are longer are turned down in simulation where there is another child.
        final_phrases: texts that end the trace inside a step of an action.
        most_repeats: how often the same text may stand in a path: it is cut after that one.
        sampling: how text is drawn.

    Raises:
        UserError: no rollout, or no text may stand even once.
    """

    rollouts: int = 16
    weight: float = 2.0
    schedule: Schedule = "constant"
    unvisited: Literal["random", "likeliest"] = "likeliest"
    simulate: Literal["random", "likeliest"] = "likeliest"
    eager: bool = False
    samples: Mapping[str, int] = field(default_factory=dict)
    never_selected: frozenset[str] = frozenset()
    most_sentences: Mapping[str, int] = field(default_factory=dict)
    final_phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    most_repeats: int = 3
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.rollouts < 1 or self.most_repeats < 1:
            raise UserError("search: `rollouts` and `most_repeats` must be at least 1")


PROMPTED = SearchRules(
    unvisited="random",
    simulate="random",
    samples={"clarify": 2, "analysis": 2, "subquestion": 2, "next_step": 2},
    never_selected=frozenset({"direct_answer"}),
    most_sentences={"direct_answer": 4},
    final_phrases={"next_step": ("Final step", "So the answer is")},
    sampling=Sampling(0.8, 40, 0.95),
)
"""Phase 1, as published but for lazy text. Source: RFTT, warm-up data; the released tree search."""


@dataclass(frozen=True)
class Want:
    """What a tree needs before it can go on: the successors of a node, the text of some, or the worth of a path."""

    what: Literal["propose", "write", "judge"]
    numbers: tuple[int, ...]


def unfinished(tree: Tree, rules: SearchRules) -> bool:
    """Whether rollouts are left to do."""
    return not tree.problem and len(tree.rollouts) < rules.rollouts


def advance(tree: Tree, rules: SearchRules) -> Want:
    """Take an unfinished tree to where it needs something."""
    while True:
        if tree.cursor is None:
            tree.cursor = select(tree, rules)
        node = tree.nodes[tree.cursor]
        if node.text is None:
            return Want("write", (node.number,))
        if _turned_down(tree, node.number, rules):
            assert node.parent is not None
            tree.cursor = node.parent
            continue
        if node.ending:
            return Want("judge", (node.number,))
        if node.children is None:
            return Want("propose", (node.number,))
        blank = tuple(child for child in node.children if tree.nodes[child].text is None)
        if rules.eager and blank:
            return Want("write", blank)
        untried = [child for child in node.children if not tree.nodes[child].passed_over]
        tree.cursor = pick(tree, untried or node.children, rules.simulate)


def select(tree: Tree, rules: SearchRules) -> int:
    """From the root down: the first child without visits, by UCT where all have some, to where nothing is to select.

    Source: RFTT, selection; the released tree search.
    """
    weight = exploration(rules.schedule, rules.weight, len(tree.rollouts), rules.rollouts)
    node = tree.nodes[0]
    while node.children is not None:
        candidates = [child for child in node.children if tree.nodes[child].action not in rules.never_selected]
        if not candidates:
            break
        unvisited = [child for child in candidates if not tree.nodes[child].visits]
        if unvisited:
            return pick(tree, unvisited, rules.unvisited)
        node = tree.nodes[best_by_uct(tree, node.number, candidates, weight)]
    return node.number


def grow(tree: Tree, number: int, proposal: Proposal, rules: SearchRules) -> None:
    """Name a node's children as proposed, most likely first; an action's samples stand together."""
    actions: list[str] = []
    priors: list[float] = []
    for action, prior in zip(proposal.actions, proposal.log_probs, strict=True):
        samples = rules.samples.get(action, 1)
        actions += [action] * samples
        priors += [prior] * samples
    tree.grow(number, actions, priors)


def ending(tree: Tree, number: int, written: Written, full: bool, grammar: Grammar, rules: SearchRules) -> Ending:
    """Why nothing can follow a step with this text; empty if something can.

    Args:
        tree: where the step has its place, though not yet its text.
        number: the step.
        written: its text.
        full: whether the path, the step included, fills the engine's context.
        grammar: what may follow.
        rules: phrases that end a trace, and how often a text may stand.
    """
    lineage = tree.lineage(number)[1:]
    action = lineage[-1].action
    if not written.closed:
        return "context" if full else "unclosed"
    phrases = rules.final_phrases.get(action, ())
    if grammar.action(action).ends or any(phrase in written.text for phrase in phrases):
        return "answer"
    if 1 + sum(node.text == written.text for node in lineage[:-1]) >= rules.most_repeats:
        return "repeats"
    if not grammar.legal([node.action for node in lineage]):
        return "depth"
    return "context" if full else ""


def sentences(text: str) -> int:
    """How many sentences a text has: what stands between full stops and the like that a space or the end follows.

    >>> sentences("It is 3.5 in all. Then add 2! So 5.5")
    3
    """
    return sum(1 for part in re.split(r"[.!?]+(?=\s|$)", text) if part.strip())


def _turned_down(tree: Tree, number: int, rules: SearchRules) -> bool:
    """Whether simulation goes back from a node that is too long, now that its text is known, to one of its siblings."""
    node = tree.nodes[number]
    most = rules.most_sentences.get(node.action)
    if node.parent is None or most is None or node.passed_over or sentences(node.text or "") <= most:
        return False
    node.passed_over = True
    return any(not tree.nodes[child].passed_over for child in tree.nodes[node.parent].children or ())
