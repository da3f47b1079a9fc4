"""A search tree over actions, and the arithmetic on it: UCT, backup, choice, JSON. No model, no grammar, no text rules.

A node is a step; the root (number 0, no action) is the question. Children are named before they are written: a node
whose ``text`` is none has only been proposed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from burnish.reason.rftt.generators.protocol import Path, PathNode, Prompt, Written

Schedule = Literal["constant", "exp", "linear"]
Ending = Literal["", "answer", "depth", "unclosed", "repeats", "context"]
"""Why nothing follows a node: it ends the trace, the depth limit or its own token limit was reached, the same text came
too often, or the context is full. Empty where the trace can go on."""


@dataclass
class Node:
    """A step.

    Attributes:
        number: its place in the tree's list.
        parent: the number of the step before; none for the root.
        action: its kind; empty for the root.
        depth: steps from the question, whose depth is 0.
        prior: log-probability of the action among those proposed after the parent.
        visits: rollouts that went through it, N.
        value: the sum of their rewards, Q.
        ids: opening token and what was drawn after it; none until written.
        log_probs: of the drawn ones, so one fewer than ``ids``; none until written.
        text: none until written.
        closed: whether its closing tag came.
        ending: why nothing follows.
        reward: of the path that ends here; none until a rollout has.
        scores: of a process reward model, by its name.
        passed_over: whether simulation has turned it down (an answer that is too long).
        children: numbers, most likely first; none until proposed.
    """

    number: int
    parent: int | None
    action: str
    depth: int
    prior: float = 0.0
    visits: int = 0
    value: float = 0.0
    ids: tuple[int, ...] | None = None
    log_probs: tuple[float, ...] | None = None
    text: str | None = None
    closed: bool = False
    ending: Ending = ""
    reward: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    passed_over: bool = False
    children: tuple[int, ...] | None = None


def _root() -> Node:
    return Node(0, None, "", 0, ids=(), log_probs=(), text="", closed=True)


@dataclass(frozen=True)
class Rollout:
    """One walk from the question to an end.

    Attributes:
        leaf: the number of its last node.
        reward: what the walk earned.
        generated: tokens of the tree's steps until then, opening ones and this rollout's included.
    """

    leaf: int
    reward: float
    generated: int


@dataclass
class Tree:
    """Everything about one question's search; what is not here, a search that goes on does not need.

    Attributes:
        prompt: the question.
        seed: of the search; with the question's id it decides every draw.
        nodes: by number; a parent comes before its children.
        rollouts: those that are done, in order.
        cursor: where the rollout under way stands; none between rollouts.
        generated: tokens of all written steps, opening ones included: as plain sampling counts its own.
        problem: why the question was not searched; empty if it was.
        rng: the draws of selection and simulation.
    """

    prompt: Prompt
    seed: int
    nodes: list[Node] = field(default_factory=lambda: [_root()])
    rollouts: list[Rollout] = field(default_factory=list)
    cursor: int | None = None
    generated: int = 0
    problem: str = ""
    rng: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(_words(self.seed, self.prompt.id))

    def lineage(self, number: int) -> list[Node]:
        """The nodes from the root to this one."""
        found = [self.nodes[number]]
        while found[-1].parent is not None:
            found.append(self.nodes[found[-1].parent])
        return found[::-1]

    def path(self, number: int) -> Path:
        """The written steps from the question to a node."""
        return Path(
            self.prompt,
            tuple(PathNode(node.action, node.ids or (), node.text or "") for node in self.lineage(number)[1:]),
        )

    def grow(self, parent: int, actions: Sequence[str], priors: Sequence[float]) -> None:
        """Name a node's children, in order."""
        first, depth = len(self.nodes), self.nodes[parent].depth + 1
        for number, (action, prior) in enumerate(zip(actions, priors, strict=True), first):
            self.nodes.append(Node(number, parent, action, depth, float(prior)))
        self.nodes[parent].children = tuple(range(first, len(self.nodes)))

    def write(self, number: int, opening: Sequence[int], written: Written, ending: Ending) -> None:
        """Give a node its text."""
        node = self.nodes[number]
        node.ids, node.log_probs = (*opening, *written.ids), written.log_probs
        node.text, node.closed, node.ending = written.text, written.closed, ending
        self.generated += len(opening) + len(written.ids)

    def backup(self, leaf: int) -> None:
        """End a rollout: one visit and the leaf's reward for every node from the leaf to the root."""
        reward = self.nodes[leaf].reward
        assert reward is not None
        for node in self.lineage(leaf):
            node.visits += 1
            node.value += reward
        self.rollouts.append(Rollout(leaf, reward, self.generated))
        self.cursor = None

    def noise_seed(self, number: int) -> int:
        """The seed of what is drawn for a node's text: of the search, the question and the node alone."""
        return _words(self.seed, self.prompt.id, number)[0] >> 1

    def distinct_leaves(self) -> list[int]:
        """The leaves of all rollouts, in the order in which they first ended; of equal traces only the first."""
        found: dict[tuple[tuple[str, str, bool], ...], int] = {}
        for rollout in self.rollouts:
            trace = tuple((node.action, node.text or "", node.closed) for node in self.lineage(rollout.leaf))
            found.setdefault(trace, rollout.leaf)
        return list(found.values())

    def to_json(self) -> dict[str, Any]:
        """The tree as plain data; :func:`tree_from_json` gives it back bit for bit."""
        return {
            "question": self.prompt.id,
            "text": self.prompt.text,
            "prompt_ids": list(self.prompt.ids),
            "seed": self.seed,
            "problem": self.problem,
            "cursor": self.cursor,
            "generated": self.generated,
            "rng": self.rng.bit_generator.state,
            "rollouts": [[each.leaf, each.reward, each.generated] for each in self.rollouts],
            "nodes": [_node_to_json(node) for node in self.nodes],
        }


def tree_from_json(data: dict[str, Any]) -> Tree:
    """A tree that :meth:`Tree.to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it did not.
    """
    tree = Tree(
        Prompt(data["question"], data["text"], tuple(data["prompt_ids"])),
        data["seed"],
        [_node_from_json(number, each) for number, each in enumerate(data["nodes"])],
        [Rollout(*each) for each in data["rollouts"]],
        data["cursor"],
        data["generated"],
        data["problem"],
    )
    tree.rng.bit_generator.state = data["rng"]
    return tree


def exploration(schedule: Schedule, weight: float, rollout: int, rollouts: int) -> float:
    """The weight c of UCT's second term in a rollout.

    Args:
        schedule: ``constant``; ``exp``, c 0.1^(i/n); ``linear``, c (1 - 0.9 i/n).
        weight: c at the start.
        rollout: i, the first being 0.
        rollouts: n.

    >>> round(exploration("exp", 2.0, 8, 16), 6), round(exploration("linear", 2.0, 8, 16), 6)
    (0.632456, 1.1)

    Source: RFTT's released search.
    """
    done = rollout / rollouts
    if schedule == "constant":
        return weight
    return weight * (math.pow(0.1, done) if schedule == "exp" else 1 - 0.9 * done)


def uct(value: float, visits: int, parent_visits: int, weight: float) -> float:
    """Q/N + c sqrt(ln N_parent / N); infinite for a node without visits.

    >>> round(uct(3, 4, 16, 2.0), 6)
    2.415109
    """
    if visits == 0:
        return math.inf
    return value / visits + weight * math.sqrt(math.log(parent_visits) / visits)


def best_by_uct(tree: Tree, parent: int, candidates: Sequence[int], weight: float) -> int:
    """The candidate of the highest UCT; of equals the first."""
    above = tree.nodes[parent].visits
    return max(candidates, key=lambda number: uct(tree.nodes[number].value, tree.nodes[number].visits, above, weight))


def pick(tree: Tree, candidates: Sequence[int], how: Literal["random", "likeliest"]) -> int:
    """One of several children: any, by the tree's own draws, or the one of the highest prior, of equals the first."""
    if how == "random":
        return candidates[int(tree.rng.integers(len(candidates)))]
    return max(candidates, key=lambda number: tree.nodes[number].prior)


def _words(*parts: int | str) -> list[int]:
    """Seed words of a few values; of any two different lists of values, different ones."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return [int.from_bytes(digest[at : at + 8], "big") for at in range(0, 32, 8)]


def _node_to_json(node: Node) -> dict[str, Any]:
    """Fields at their defaults are left out: most nodes of a lazy search are only proposed."""
    return dict(_fields(node))


def _fields(node: Node) -> Iterator[tuple[str, Any]]:
    blank = Node(node.number, node.parent, node.action, node.depth)
    yield "parent", node.parent
    yield "action", node.action
    yield "depth", node.depth
    for name, value in vars(node).items():
        if name not in ("number", "parent", "action", "depth") and value != getattr(blank, name):
            yield name, value


def _node_from_json(number: int, data: dict[str, Any]) -> Node:
    lists: dict[str, Any] = {name: tuple(data[name]) for name in ("ids", "log_probs", "children") if name in data}
    return Node(number=number, **(data | lists))
