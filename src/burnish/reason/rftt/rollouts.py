"""From questions to completions to learn from, in three layouts: ``branch16``, ``mcts`` and ``iid``.

A branching layout imposes functional tokens at its first two layers and lets the model go on from there; a search
imposes all of them; ``iid`` imposes none. Each record says token by token which step it belongs to, whether the layout
imposed it, and how probable it was where it was drawn. Knows the search and the engine's protocol; knows no trainer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np

from burnish.core.errors import UserError
from burnish.reason.rftt.generators.protocol import Generator, Prompt
from burnish.reason.rftt.grammar import Grammar, prefixes
from burnish.reason.rftt.search import Judge, plant, search, write
from burnish.reason.rftt.trace import Step, Trace, spans_of_ids
from burnish.reason.rftt.tree import Node, Tree
from burnish.reason.rftt.vocabulary import Vocabulary
from burnish.reason.rftt.walk import SearchRules

Forced = Literal["include", "mask", "importance"]


@dataclass(frozen=True)
class Rollout:
    """One completion of a question.

    Attributes:
        completion_ids: its tokens, functional ones included; an end-of-sequence token closes a finished trace.
        log_probs: of each under the distribution that it was drawn from. An imposed token was drawn by the layout: its
            probability is the share of the group's rollouts through the step before it that go on like this one. None
            where the sampler gives none.
        forced: which tokens the layout imposed.
        nodes: the step of each token, numbered within the question; 0 is the question.
        boundaries: position of the closing token of each step that has one.
        steps: what the tokens say.
        answer: the text that holds the final answer; empty where the trace did not get there.
        repeats: whether another rollout of the question is the same: it is not learnt from.
    """

    completion_ids: tuple[int, ...]
    log_probs: tuple[float, ...] | None
    forced: tuple[bool, ...]
    nodes: tuple[int, ...]
    boundaries: tuple[int, ...]
    steps: Trace
    answer: str
    repeats: bool = False

    def env_mask(self, forced: Forced) -> list[int]:
        """TRL's ``env_mask``: 0 for imposed tokens where these are to be masked, and for all of a repetition."""
        if self.repeats:
            return [0] * len(self.completion_ids)
        return [int(forced != "mask" or not imposed) for imposed in self.forced]


@dataclass(frozen=True)
class RolloutGroup:
    """All completions of a question.

    Attributes:
        prompt: the question.
        rollouts: as many as the layout gives.
        parents: of each step the one before it, by number; -1 of the question.
        generated: tokens that were drawn for them.
        tree: what they are paths of; none for ``iid``.
    """

    prompt: Prompt
    rollouts: tuple[Rollout, ...]
    parents: tuple[int, ...]
    generated: int
    tree: Tree | None = None

    @property
    def repeated(self) -> int:
        """Rollouts that are the same as another."""
        return sum(each.repeats for each in self.rollouts)

    @property
    def path_tokens(self) -> int:
        """Tokens of all rollouts, the question counted for each."""
        return sum(len(self.prompt.ids) + len(each.completion_ids) for each in self.rollouts)

    @property
    def unique_tokens(self) -> int:
        """Tokens of the question and of each step once."""
        steps: dict[int, int] = {}
        for each in self.rollouts:
            steps |= Counter(each.nodes)
        return len(self.prompt.ids) + sum(steps.values())


class Layout(Protocol):
    """Gives every question the same number of rollouts.

    Attributes:
        samples: that number.
    """

    samples: int

    def __call__(self, prompts: Sequence[Prompt], judge: Judge, seed: int) -> list[RolloutGroup]:
        """The rollouts of each question, in order.

        Args:
            prompts: the questions, each of its own id.
            judge: what a path is worth, for a search to be guided by.
            seed: of all draws.
        """
        ...


class Branching:
    """The released fixed tree: every opening once, each continued by the model itself (``branch16``).

    Args:
        generator: writes.
        grammar: what may follow what.
        end: the end-of-sequence token.
        rules: how text is drawn, and how often it may be repeated; nothing else of them is used.
        openings: actions to impose; none takes the grammar's own, sixteen for the paper's.

    Raises:
        UserError: the engine gives no token ids, or an opening is empty, illegal, or the beginning of another.

    Source: RFTT, online search; the released sampler with two layers.
    """

    def __init__(
        self,
        generator: Generator,
        grammar: Grammar,
        end: int,
        rules: SearchRules,
        openings: Sequence[Sequence[str]] | None = None,
    ) -> None:
        _needs_tokens(generator, grammar)
        self._generator, self._grammar, self._end, self._rules = generator, grammar, end, rules
        self._openings = tuple(map(tuple, prefixes(grammar) if openings is None else openings))
        for opening in self._openings:
            fault = "it is empty" if not opening else grammar.fault(opening)
            if sum(other[: len(opening)] == opening for other in self._openings) > 1:
                fault = "another one is the same, or begins with it"
            if fault:
                raise UserError(f"layout: the opening `{' '.join(opening)}` cannot be imposed: {fault}")
        self.samples = len(self._openings)

    def __call__(self, prompts: Sequence[Prompt], judge: Judge, seed: int) -> list[RolloutGroup]:
        """See :class:`Layout`."""
        self._generator.forget()
        trees = plant(prompts, self._generator, seed)
        searched = [tree for tree in trees if not tree.problem]
        imposed = self._impose(searched)
        self._write_all(searched)
        leaves = [[_last(tree, imposed, opening) for opening in self._openings] for tree in searched]
        paths = [tree.path(leaf) for tree, own in zip(searched, leaves, strict=True) for leaf in own]
        worth = iter(judge(paths) if paths else ())
        for tree, own in zip(searched, leaves, strict=True):
            for leaf in own:
                tree.nodes[leaf].reward = float(next(worth))
                tree.backup(leaf)
        forced = set(range(1, len(imposed)))
        return [group_of(tree, self.samples, self._end, forced) for tree in trees]

    def _impose(self, trees: Sequence[Tree]) -> dict[tuple[str, ...], int]:
        """Name the steps of all openings in every tree; their numbers, which are the same in each."""
        parts = (opening[:depth] for opening in self._openings for depth in range(1, len(opening) + 1))
        names = sorted(dict.fromkeys(parts), key=len)
        numbers: dict[tuple[str, ...], int] = {(): 0}
        for parent in [(), *names]:
            children = [name for name in names if name[:-1] == parent]
            numbers |= {name: number for number, name in enumerate(children, len(numbers))}
            if children:
                for tree in trees:
                    tree.grow(numbers[parent], [name[-1] for name in children], [0.0] * len(children))
        return numbers

    def _write_all(self, trees: Sequence[Tree]) -> None:
        """Write all that was imposed, and what the model goes on with, all trees and branches together."""
        rows = [(tree, child) for tree in trees for child in tree.nodes[0].children or ()]
        while rows:
            write(rows, self._generator, self._grammar, self._rules)
            going = [(tree, tree.nodes[number]) for tree, number in rows if not tree.nodes[number].ending]
            free = [(tree, node) for tree, node in going if node.children is None]
            proposals = self._generator.propose([tree.path(node.number) for tree, node in free]) if free else []
            for (tree, node), proposal in zip(free, proposals, strict=True):
                draw = np.random.default_rng([tree.noise_seed(node.number), 1])
                shares = np.exp(proposal.log_probs)
                place = int(draw.choice(len(shares), p=shares / shares.sum()))
                tree.grow(node.number, [proposal.actions[place]], [proposal.log_probs[place]])
            rows = [(tree, child) for tree, node in going for child in node.children or ()]


class Searching:
    """Every rollout of a tree search is a completion (``mcts``).

    Args:
        generator: writes.
        grammar: what may follow what.
        end: the end-of-sequence token.
        rules: of the search.
        width: trees in lock step.

    Raises:
        UserError: the engine gives no token ids.

    Source: RFTT, online search.
    """

    def __init__(self, generator: Generator, grammar: Grammar, end: int, rules: SearchRules, width: int = 16) -> None:
        _needs_tokens(generator, grammar)
        self._generator, self._grammar, self._end, self._rules, self._width = generator, grammar, end, rules, width
        self.samples = rules.rollouts

    def __call__(self, prompts: Sequence[Prompt], judge: Judge, seed: int) -> list[RolloutGroup]:
        """See :class:`Layout`."""
        trees = search(prompts, self._generator, self._grammar, judge, self._rules, seed=seed, width=self._width)
        return [group_of(tree, self.samples, self._end, set(range(1, len(tree.nodes)))) for tree in trees]


def _last(tree: Tree, imposed: Mapping[tuple[str, ...], int], opening: tuple[str, ...]) -> int:
    """The last step that was written for an opening: of the model's own, or earlier where a step ended the trace."""
    number = 0
    for depth in range(1, len(opening) + 1):
        number = imposed[opening[:depth]]
        if tree.nodes[number].ending:
            return number
    while not tree.nodes[number].ending:
        (number,) = tree.nodes[number].children or ()
    return number


def group_of(tree: Tree, samples: int, end: int, forced: set[int]) -> RolloutGroup:
    """The rollouts of a tree as completions.

    Args:
        tree: finished; one that could not be searched gives rollouts that are not learnt from.
        samples: how many rollouts it must give.
        end: the end-of-sequence token.
        forced: numbers of the steps whose opening token was imposed.
    """
    parents = tuple(-1 if node.parent is None else node.parent for node in tree.nodes)
    if tree.problem:
        blank = Rollout((end,), (0.0,), (True,), (1,), (), (), "", repeats=True)
        return RolloutGroup(tree.prompt, (blank,) * samples, (-1, 0), 0, tree)
    distinct = set(tree.distinct_leaves())
    through: Counter[int] = Counter()
    for leaf in distinct:
        through.update(node.number for node in tree.lineage(leaf))
    found, seen = [], set()
    for each in tree.rollouts:
        repeats = each.leaf in seen or each.leaf not in distinct
        seen.add(each.leaf)
        found.append(_rollout(tree.lineage(each.leaf), through, end, forced, repeats))
    return RolloutGroup(tree.prompt, tuple(found), parents, tree.generated, tree)


def _rollout(lineage: Sequence[Node], through: Mapping[int, int], end: int, forced: set[int], repeats: bool) -> Rollout:
    ids: list[int] = []
    log_probs: list[float] = []
    imposed: list[bool] = []
    nodes: list[int] = []
    boundaries: list[int] = []
    for before, node in pairwise(lineage):
        own, drawn = node.ids or (), node.log_probs or ()
        opening = len(own) - len(drawn)
        # A repetition may pass through steps of its own, which no rollout that counts passes.
        share = math.log(max(through[node.number], 1) / max(through[before.number], 1))
        first = share if node.number in forced else node.prior
        ids += own
        log_probs += [first, *[0.0] * (opening - 1), *drawn]
        imposed += [node.number in forced] * opening + [False] * len(drawn)
        nodes += [node.number] * len(own)
        if node.closed:
            boundaries.append(len(ids) - 1)
    last = lineage[-1]
    if last.ending == "answer":
        ids.append(end)
        log_probs.append(0.0)
        imposed.append(True)
        nodes.append(last.number)
    return Rollout(
        tuple(ids),
        tuple(log_probs),
        tuple(imposed),
        tuple(nodes),
        tuple(boundaries),
        tuple(Step(node.action, node.text or "", node.closed) for node in lineage[1:]),
        (last.text or "") if last.ending == "answer" else "",
        repeats,
    )


def plain_group(
    prompt: Prompt,
    completions: Sequence[Sequence[int]],
    log_probs: Sequence[Sequence[float]] | None,
    tokenizer: Any,
    vocabulary: Vocabulary | None,
    grammar: Grammar,
) -> RolloutGroup:
    """Completions that were sampled without a layout (``iid``); equal ones count as often as they were drawn.

    The answer is looked for in the last step if that ends a trace, and in all of a completion that has no step.

    Args:
        prompt: the question.
        completions: token ids, the end-of-sequence token included where it came.
        log_probs: of their tokens, where the sampler gives them.
        tokenizer: reads them.
        vocabulary: its functional tokens; none for a model without.
        grammar: which actions end a trace.
    """
    found = []
    for place, ids in enumerate(completions):
        spans = () if vocabulary is None else spans_of_ids(ids, vocabulary)
        steps = tuple(
            Step(span.action, tokenizer.decode(ids[span.text], skip_special_tokens=True), span.closed) for span in spans
        )
        if not spans:
            answer = tokenizer.decode(ids, skip_special_tokens=True)
        else:
            answer = steps[-1].text if steps[-1].closed and grammar.action(steps[-1].action).ends else ""
        found.append(
            Rollout(
                tuple(ids),
                None if log_probs is None else tuple(log_probs[place]),
                (False,) * len(ids),
                (place + 1,) * len(ids),
                tuple(span.end - 1 for span in spans if span.closed),
                steps,
                answer,
            )
        )
    return RolloutGroup(prompt, tuple(found), (-1, *[0] * len(found)), sum(map(len, completions)))


def _needs_tokens(generator: Generator, grammar: Grammar) -> None:
    if not generator.opening(grammar.start[0]):
        raise UserError(
            "layout: this engine gives texts and no tokens, so there is nothing to train on; let the model itself write"
        )
