"""Many trees in lock step: every tick asks the engine once for proposals and once for text, of all trees together.

Knows the tree's arithmetic, the grammar and the engine's protocol; knows no model. What a tree becomes depends on the
seed and its question only (and, for an engine that computes in floating point, on how its batches round): the trees go
in waves of fixed membership, and a wave that was stopped goes on from its last save to the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from burnish.core.errors import UserError
from burnish.reason.rftt.generators.protocol import (
    Generator,
    Key,
    Path,
    PathNode,
    Prompt,
    Proposal,
    Sampling,
    TokenCounts,
    Written,
)
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.tree import Ending, Schedule, Tree, best_by_uct, exploration, pick

__all__ = [
    "PROMPTED",
    "Generator",
    "Judge",
    "Key",
    "Path",
    "PathNode",
    "Prompt",
    "Proposal",
    "Sampling",
    "SearchRules",
    "TokenCounts",
    "Written",
    "search",
    "tick",
]

Judge = Callable[[Sequence[Path]], Sequence[float]]
"""Rewards of paths that have ended, one each. A path without an answer must not get that of a right one."""


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
            there. Both find the same tree.
        samples: children of an action that is proposed, where it is not one.
        never_selected: actions that only simulation may take.
        most_sentences: answers of an action that are longer are turned down in simulation where there is another child.
        final_phrases: texts that end the trace inside a step of an action.
        most_repeats: how often the same step may stand in a path before it is cut.
        sampling: how text is drawn.
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


def search(
    prompts: Sequence[Prompt],
    generator: Generator,
    grammar: Grammar,
    judge: Judge,
    rules: SearchRules | None = None,
    *,
    seed: int = 0,
    width: int = 16,
) -> list[Tree]:
    """A finished tree for each question, in order; :mod:`tree_files` does the same with files and goes on after a stop.

    Args:
        prompts: the questions; one as long as the engine's context gets a tree with a ``problem`` and no rollout.
        generator: the engine.
        grammar: which action may follow which.
        judge: what a path is worth.
        rules: of selection, simulation and text.
        seed: of all draws.
        width: trees in lock step.

    Raises:
        UserError: two questions have one id.
        BurnishError: the engine fails for good.
    """
    rules = rules or SearchRules()
    trees = plant(prompts, generator, seed)
    for start in range(0, len(trees), width):
        generator.forget()
        while tick(trees[start : start + width], generator, grammar, judge, rules):
            pass
    return trees


def plant(prompts: Sequence[Prompt], generator: Generator, seed: int) -> list[Tree]:
    """A tree of a root for each question.

    Raises:
        UserError: two questions have one id.
    """
    seen: set[str] = set()
    trees = []
    for prompt in prompts:
        if prompt.id in seen:
            raise UserError(f"search: two questions are called `{prompt.id}`; give each an id of its own")
        seen.add(prompt.id)
        tree = Tree(prompt, seed)
        if generator.context is not None and len(prompt.ids) + 1 >= generator.context:
            tree.problem = f"its prompt has {len(prompt.ids)} tokens, the model's context {generator.context}"
        trees.append(tree)
    return trees


def tick(trees: Sequence[Tree], generator: Generator, grammar: Grammar, judge: Judge, rules: SearchRules) -> bool:
    """Take every unfinished tree as far as one batch of proposals and one of text lead.

    Returns:
        Whether any tree is unfinished.
    """
    propose = {
        id(tree): want.numbers[0] for tree, want in _wants(trees, judge, grammar, rules) if want.what == "propose"
    }
    asked = [tree for tree in trees if id(tree) in propose]
    if asked:
        paths = [tree.path(propose[id(tree)]) for tree in asked]
        for tree, proposal in zip(asked, generator.propose(paths), strict=True):
            _grow(tree, propose[id(tree)], proposal, rules)
    rows = [
        (tree, number)
        for tree, want in _wants(trees, judge, grammar, rules)
        if want.what == "write"
        for number in want.numbers
    ]
    if rows:
        paths = [tree.path(tree.nodes[number].parent or 0) for tree, number in rows]
        actions = [tree.nodes[number].action for tree, number in rows]
        seeds = [tree.noise_seed(number) for tree, number in rows]
        for (tree, number), path, written in zip(
            rows, paths, generator.complete(paths, actions, rules.sampling, seeds), strict=True
        ):
            opening = generator.opening(tree.nodes[number].action)
            length = path.length + len(opening) + len(written.ids)
            full = generator.context is not None and length + 1 >= generator.context
            tree.write(number, opening, written, _ending(tree, number, written, full, grammar, rules))
    return any(_unfinished(tree, rules) for tree in trees)


@dataclass(frozen=True)
class Want:
    """What a tree needs before it can go on: the successors of a node, the text of some, or the worth of a path."""

    what: Literal["propose", "write", "judge"]
    numbers: tuple[int, ...]


def _unfinished(tree: Tree, rules: SearchRules) -> bool:
    return not tree.problem and len(tree.rollouts) < rules.rollouts


def _wants(trees: Sequence[Tree], judge: Judge, grammar: Grammar, rules: SearchRules) -> list[tuple[Tree, Want]]:
    """What each unfinished tree needs of the engine, after all rollouts that have ended are judged, in one batch."""
    wants: dict[int, tuple[Tree, Want]] = {}
    waiting = [tree for tree in trees if _unfinished(tree, rules)]
    while waiting:
        found = [(tree, advance(tree, rules)) for tree in waiting]
        ended = [(tree, want.numbers[0]) for tree, want in found if want.what == "judge"]
        wants |= {id(tree): (tree, want) for tree, want in found if want.what != "judge"}
        fresh = [(tree, leaf) for tree, leaf in ended if tree.nodes[leaf].reward is None]
        rewards = dict(
            zip(
                (id(tree) for tree, _ in fresh),
                judge([tree.path(leaf) for tree, leaf in fresh]) if fresh else (),
                strict=True,
            )
        )
        for tree, leaf in ended:
            known = tree.nodes[leaf].reward
            tree.backup(leaf, float(rewards[id(tree)]) if known is None else known)
        waiting = [tree for tree, _ in ended if _unfinished(tree, rules)]
    return [wants[id(tree)] for tree in trees if id(tree) in wants]


def advance(tree: Tree, rules: SearchRules) -> Want:
    """Take an unfinished tree to where it needs something; pure but for the tree and its draws."""
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
        open_ = [child for child in node.children if not tree.nodes[child].passed_over]
        tree.cursor = pick(tree, open_ or node.children, rules.simulate)


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


def _turned_down(tree: Tree, number: int, rules: SearchRules) -> bool:
    """Whether simulation goes back from a node that is too long, now that its text is known, to one of its siblings."""
    node = tree.nodes[number]
    most = rules.most_sentences.get(node.action)
    if node.parent is None or most is None or node.passed_over or sentences(node.text or "") <= most:
        return False
    node.passed_over = True
    return any(not tree.nodes[child].passed_over for child in tree.nodes[node.parent].children or ())


def sentences(text: str) -> int:
    """How many sentences a text has: ends of sentences before a space or the end, and what is left after the last."""
    return len([part for part in re.split(r"[.!?]+(?=\s|$)", text) if part.strip()])


def _grow(tree: Tree, number: int, proposal: Proposal, rules: SearchRules) -> None:
    """Children of a proposal, most likely first; an action's samples stand together."""
    actions, priors = [], []
    for action, prior in zip(proposal.actions, proposal.log_probs, strict=True):
        samples = rules.samples.get(action, 1)
        actions += [action] * samples
        priors += [prior] * samples
    tree.grow(number, actions, priors)


def _ending(tree: Tree, number: int, written: Written, full: bool, grammar: Grammar, rules: SearchRules) -> Ending:
    """Why nothing follows a step that has just been written."""
    lineage = tree.lineage(number)[1:]
    action = lineage[-1].action
    same = 1 + sum(node.text == written.text for node in lineage[:-1])
    if not written.closed:
        return "context" if full else "unclosed"
    phrases = rules.final_phrases.get(action, ())
    if grammar.action(action).ends or any(phrase in written.text for phrase in phrases):
        return "answer"
    if same >= rules.most_repeats:
        return "repeats"
    if not grammar.legal([node.action for node in lineage]):
        return "depth" if len(lineage) >= grammar.max_depth else "stuck"
    return "context" if full else ""
