"""Many trees in lock step: every tick asks the engine once for proposals and once for text, of all trees together.

Knows how one tree is walked, and the engine's protocol; knows no model. What a tree becomes depends on the seed and its
question alone (and, where an engine computes in floating point, on how its batches round): the trees go in waves of
fixed membership, and a wave that was stopped goes on from its last save to the same bits.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as Folder

from burnish.core.errors import BurnishError, UserError
from burnish.reason.rftt.generators.protocol import (
    Generator,
    Path,
    PathNode,
    Prompt,
    Proposal,
    Sampling,
    TokenCounts,
    Written,
)
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.tree import Tree
from burnish.reason.rftt.tree_files import Damaged, read_trees, write_trees
from burnish.reason.rftt.walk import PROMPTED, SearchRules, Want, advance, ending, grow, unfinished

__all__ = [
    "PROMPTED",
    "Generator",
    "Judge",
    "Path",
    "PathNode",
    "Prompt",
    "Proposal",
    "Sampling",
    "Saving",
    "SearchRules",
    "TokenCounts",
    "Written",
    "search",
    "tick",
    "write",
]

Judge = Callable[[Sequence[Path]], Sequence[float]]
"""Rewards of paths that have ended in an answer, one each; paths that ended otherwise earn 0 without being asked."""


@dataclass(frozen=True)
class Saving:
    """Where and when trees are saved.

    Attributes:
        folder: gets a file a wave; the same search takes them up again when it is started anew. None saves nothing.
        every: ticks between two saves of a wave. The engine forgets what it kept at each, saved or not, so that a
            search that was stopped there and one that was not go on alike, to the last bit of a log-probability.
        then: called with a wave's trees after each save; what it raises (a stop signal) ends the search.
        note: told of a file that is damaged, whose wave is searched anew.
    """

    folder: Folder | None = None
    every: int = 64
    then: Callable[[Sequence[Tree]], object] | None = None
    note: Callable[[str], object] = logging.getLogger(__name__).warning


def search(
    prompts: Sequence[Prompt],
    generator: Generator,
    grammar: Grammar,
    judge: Judge,
    rules: SearchRules | None = None,
    *,
    seed: int = 0,
    width: int = 16,
    saving: Saving | None = None,
) -> list[Tree]:
    """A finished tree for each question, in order.

    Args:
        prompts: the questions; one as long as the engine's context gets a tree with a ``problem`` and no rollout.
        generator: the engine.
        grammar: which action may follow which.
        judge: what a path is worth.
        rules: of selection, simulation and text; none is phase 2.
        seed: of all draws.
        width: trees in lock step, a wave.
        saving: where the trees go; none keeps them in memory only.

    Raises:
        UserError: two questions have one id, or the folder holds another search.
        BurnishError: the engine fails for good, a reward is no number, or the disk is full; what was saved before is
            kept.
    """
    rules, saving = rules or SearchRules(), saving or Saving()
    planted = plant(prompts, generator, seed)
    done: list[Tree] = []
    for number, start in enumerate(range(0, len(planted), width)):
        trees, spent = planted[start : start + width], TokenCounts()
        file = None if saving.folder is None else saving.folder / f"trees-{number:05d}.jsonl"
        if file is not None and file.exists():
            trees, spent = _taken_up(file, trees, saving.note)
        before, ticks, going = generator.counts, 0, any(unfinished(tree, rules) for tree in trees)
        generator.forget()
        while going:
            going = tick(trees, generator, grammar, judge, rules)
            ticks += 1
            if going and ticks % saving.every:
                continue
            if file is not None:
                write_trees(file, trees, spent + (generator.counts - before))
            if saving.then is not None:
                saving.then(trees)
            generator.forget()
        done += trees
    return done


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
    asked = [(tree, want.numbers[0]) for tree, want in _wants(trees, judge, rules) if want.what == "propose"]
    if asked:
        proposals = generator.propose([tree.path(number) for tree, number in asked])
        for (tree, number), proposal in zip(asked, proposals, strict=True):
            grow(tree, number, proposal, rules)
    wants = _wants(trees, judge, rules)
    rows = [(tree, number) for tree, want in wants if want.what == "write" for number in want.numbers]
    if rows:
        write(rows, generator, grammar, rules)
    return any(unfinished(tree, rules) for tree in trees)


def write(rows: Sequence[tuple[Tree, int]], generator: Generator, grammar: Grammar, rules: SearchRules) -> None:
    """Write steps that have only been named, in one call of the engine.

    Args:
        rows: each a tree and the number of a node whose parent is written.
        generator: the engine.
        grammar: what may follow what.
        rules: how text is drawn, and what ends a path.
    """
    paths = [tree.path(tree.nodes[number].parent or 0) for tree, number in rows]
    actions = [tree.nodes[number].action for tree, number in rows]
    seeds = [tree.noise_seed(number) for tree, number in rows]
    texts = generator.complete(paths, actions, rules.sampling, seeds)
    for (tree, number), path, action, written in zip(rows, paths, actions, texts, strict=True):
        opening = generator.opening(action)
        length = path.length + len(opening) + len(written.ids)
        full = generator.context is not None and length + 1 >= generator.context
        tree.write(number, opening, written, ending(tree, number, written, full, grammar, rules))


def _wants(trees: Sequence[Tree], judge: Judge, rules: SearchRules) -> list[tuple[Tree, Want]]:
    """What each unfinished tree needs of the engine, after all rollouts that have ended are judged, in one batch."""
    wants: dict[int, Want] = {}
    waiting = [tree for tree in trees if unfinished(tree, rules)]
    while waiting:
        ended: list[tuple[Tree, int]] = []
        for tree in waiting:
            want = advance(tree, rules)
            if want.what == "judge":
                ended.append((tree, want.numbers[0]))
            else:
                wants[id(tree)] = want
        fresh = [(tree, leaf) for tree, leaf in ended if tree.nodes[leaf].reward is None]
        for tree, leaf in fresh:  # cut off, too deep, repeating itself: whatever it says, it gave no answer
            if tree.nodes[leaf].ending != "answer":
                tree.nodes[leaf].reward = 0.0
        fresh = [(tree, leaf) for tree, leaf in fresh if tree.nodes[leaf].reward is None]
        if fresh:
            rewards = judge([tree.path(leaf) for tree, leaf in fresh])
            for (tree, leaf), reward in zip(fresh, rewards, strict=True):
                if not math.isfinite(reward):
                    raise BurnishError(f"search: a path of `{tree.prompt.id}` was judged {reward}; wanted a number")
                tree.nodes[leaf].reward = float(reward)
        for tree, leaf in ended:
            tree.backup(leaf)
        waiting = [tree for tree, _ in ended if unfinished(tree, rules)]
    return [(tree, wants[id(tree)]) for tree in trees if id(tree) in wants]


def _taken_up(file: Folder, fresh: list[Tree], note: Callable[[str], object]) -> tuple[list[Tree], TokenCounts]:
    """The trees of a file, if they are those of the questions; fresh ones if it is damaged."""
    try:
        trees, spent = read_trees(file)
    except Damaged as error:
        note(f"{error}; searching its {len(fresh)} questions anew")
        return fresh, TokenCounts()
    if [(tree.prompt, tree.seed) for tree in trees] != [(tree.prompt, tree.seed) for tree in fresh]:
        raise UserError(f"{file}: holds trees of other questions or of another seed; choose another folder")
    return trees, spent
