"""The tree's arithmetic against hand-computed values, and its walk against a slow recursive search."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.reason.rftt.generators.protocol import Path, PathNode, Prompt, Sampling, Written
from burnish.reason.rftt.grammar import Grammar, prompted_grammar, rftt_grammar
from burnish.reason.rftt.search import search
from burnish.reason.rftt.tree import Tree, best_by_uct, exploration, pick, tree_from_json, uct
from burnish.reason.rftt.walk import PROMPTED, SearchRules, select, sentences
from tests.reason.rftt.scripted import Scripted, judged


def test_uct_and_its_schedules_by_hand() -> None:
    assert uct(3, 4, 16, 2.0) == pytest.approx(2.415109, abs=5e-7)
    assert uct(3, 4, 10, 2.0) == pytest.approx(0.75 + 2 * math.sqrt(math.log(10) / 4))
    assert uct(0, 0, 16, 2.0) == math.inf
    assert exploration("constant", 2.0, 8, 16) == 2.0
    assert exploration("exp", 2.0, 8, 16) == pytest.approx(0.632456, abs=5e-7)
    assert exploration("linear", 2.0, 8, 16) == pytest.approx(1.1)
    assert exploration("exp", 2.0, 16, 16) == pytest.approx(0.2)


def test_backup_by_hand() -> None:
    tree = Tree(Prompt("q", ""), 0)
    tree.grow(0, ["A"], [0.0])
    tree.grow(1, ["B", "C"], [0.0, 0.0])
    for leaf, reward in ((2, 1.0), (3, 0.0)):
        tree.nodes[leaf].reward = reward
        tree.backup(leaf)
    assert [(node.visits, node.value) for node in tree.nodes] == [(2, 1), (2, 1), (1, 1), (1, 0)]
    values = [uct(node.value, node.visits, tree.nodes[1].visits, 2.0) for node in tree.nodes[2:]]
    assert values == pytest.approx([2.665109, 1.665109], abs=5e-7)
    assert best_by_uct(tree, 1, (2, 3), 2.0) == 2
    assert [(rollout.leaf, rollout.reward) for rollout in tree.rollouts] == [(2, 1.0), (3, 0.0)]


def test_unvisited_children_come_first_by_likelihood_or_at_random() -> None:
    tree = Tree(Prompt("q", ""), 0)
    tree.grow(0, ["a", "b", "direct_answer", "c"], [-3.0, -1.0, -0.1, -1.0])
    tree.nodes[0].visits = tree.nodes[2].visits = 1
    assert select(tree, SearchRules()) == 3
    assert select(tree, replace(SearchRules(), never_selected=frozenset({"direct_answer"}))) == 4
    assert {select(tree, PROMPTED) for _ in range(50)} == {1, 4}
    assert pick(tree, (1, 2, 4), "likeliest") == 2


def test_where_nothing_may_be_selected_the_walk_starts_from_the_node_itself() -> None:
    tree = Tree(Prompt("q", ""), 0)
    tree.grow(0, ["direct_answer"], [0.0])
    assert select(tree, PROMPTED) == 0


def test_sentences_are_counted_as_readers_do() -> None:
    assert sentences("It is 3.5 in all. Then add 2! So 5.5") == 3
    assert sentences("One... Two?") == 2
    assert sentences("") == 0


def test_rules_that_search_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="rollouts"):
        SearchRules(rollouts=0)


WAYS = {
    "functional": (SearchRules(rollouts=12), rftt_grammar(max_depth=6)),
    "functional, exp, eager": (SearchRules(rollouts=9, schedule="exp", eager=True), rftt_grammar(max_depth=5)),
    "prompted": (replace(PROMPTED, rollouts=12), prompted_grammar(rftt_grammar(), max_depth=6)),
    "prompted, linear, eager": (
        replace(PROMPTED, rollouts=9, schedule="linear", eager=True, most_sentences={"direct_answer": 0}),
        prompted_grammar(rftt_grammar(), max_depth=5),
    ),
}


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**40))
def test_a_search_equals_a_slow_recursive_one(way: str, seed: int) -> None:
    rules, grammar = WAYS[way]
    prompt = Prompt(f"question {seed % 7}", "", (1, 2, 3))
    (tree,) = search([prompt], Scripted(grammar), grammar, judged, rules, seed=seed)
    slow = Recursive(prompt, grammar, rules, seed)
    slow.run()
    assert [tuple((node.action, node.text) for node in tree.path(each.leaf).nodes) for each in tree.rollouts] == [
        tuple((node.action, node.text) for node in path) for path, _ in slow.rollouts
    ]
    assert [rollout.reward for rollout in tree.rollouts] == [reward for _, reward in slow.rollouts]
    assert {(node.number, node.visits, node.value) for node in tree.nodes if node.visits} == slow.visited()


@given(st.integers(0, 2**30))
@settings(max_examples=20)
def test_a_tree_survives_json_bit_for_bit(seed: int) -> None:
    grammar = rftt_grammar(max_depth=5)
    (tree,) = search(
        [Prompt("ä", "text", (5,))], Scripted(grammar), grammar, judged, SearchRules(rollouts=5), seed=seed
    )
    tree.nodes[-1].scores["prm"] = 0.1 + 0.2
    again = tree_from_json(json.loads(json.dumps(tree.to_json())))
    assert again.nodes == tree.nodes
    assert again.rollouts == tree.rollouts
    assert again.to_json() == tree.to_json()
    assert again.rng.random() == tree.rng.random()


def test_equal_traces_count_once() -> None:
    tree = Tree(Prompt("q", ""), 0)
    tree.grow(0, ["a", "a", "b"], [0.0, 0.0, 0.0])
    for number, text in ((1, "same"), (2, "same"), (3, "same")):
        tree.write(number, (), Written((), (), text, True), "answer")
        tree.nodes[number].reward = 1.0
        tree.backup(number)
    assert tree.distinct_leaves() == [1, 3]


class Recursive:
    """A search as one would first write it: one tree, nested dictionaries, recursion, one request at a time."""

    def __init__(self, prompt: Prompt, grammar: Grammar, rules: SearchRules, seed: int) -> None:
        self.prompt, self.grammar, self.rules = prompt, grammar, rules
        self.engine = Scripted(grammar)
        self.draws = Tree(prompt, seed)  # for its seeds alone
        self.rng: np.random.Generator = self.draws.rng
        self.rollouts: list[tuple[list[PathNode], float]] = []
        self.root: dict[str, Any] = {
            "number": 0,
            "N": 0,
            "Q": 0.0,
            "children": None,
            "passed": False,
            "path": [],
            "prior": 0.0,
        }
        self.made = 1

    def run(self) -> None:
        for index in range(self.rules.rollouts):
            i, n = index, self.rules.rollouts
            c = {"constant": 2.0, "exp": 2.0 * 0.1 ** (i / n), "linear": 2.0 * (1 - 0.9 * i / n)}[self.rules.schedule]
            trail = self.descend([self.root], c)
            self.finish(trail)
            reward = judged([Path(self.prompt, tuple(trail[-1]["path"]))])[0] if self.answered(trail) else 0.0
            for node in trail:
                node["N"] += 1
                node["Q"] += reward
            self.rollouts.append((trail[-1]["path"], reward))

    def descend(self, trail: list[dict[str, Any]], c: float) -> list[dict[str, Any]]:
        node = trail[-1]
        if node["children"] is None:
            return trail
        allowed = [child for child in node["children"] if child["action"] not in self.rules.never_selected]
        new = [child for child in allowed if child["N"] == 0]
        if new:
            if self.rules.unvisited == "random":
                return [*trail, new[int(self.rng.integers(len(new)))]]
            return [*trail, sorted(new, key=lambda child: -child["prior"])[0]]
        if not allowed:
            return trail
        scores = [child["Q"] / child["N"] + c * math.sqrt(math.log(node["N"]) / child["N"]) for child in allowed]
        return self.descend([*trail, allowed[scores.index(max(scores))]], c)

    def finish(self, trail: list[dict[str, Any]]) -> None:
        node = trail[-1]
        if self.ended(trail):
            return
        if node["children"] is None:
            path = Path(self.prompt, tuple(node["path"]))
            node["children"] = children = []
            (proposal,) = self.engine.propose([path])
            for action, prior in zip(proposal.actions, proposal.log_probs, strict=True):
                children += [self.child(path, action, prior) for _ in range(self.rules.samples.get(action, 1))]
        while True:
            pool = [child for child in node["children"] if not child["passed"]] or node["children"]
            if self.rules.simulate == "random":
                chosen = pool[int(self.rng.integers(len(pool)))]
            else:
                chosen = sorted(pool, key=lambda child: -child["prior"])[0]
            most = self.rules.most_sentences.get(chosen["action"])
            if chosen["passed"] or most is None or sentences(chosen["path"][-1].text) <= most:
                break
            chosen["passed"] = True
            if all(child["passed"] for child in node["children"]):
                break
        trail.append(chosen)
        self.finish(trail)

    def child(self, path: Path, action: str, prior: float) -> dict[str, Any]:
        number, self.made = self.made, self.made + 1
        (written,) = self.engine.complete([path], [action], Sampling(), [self.draws.noise_seed(number)])
        node = PathNode(action, (*self.engine.opening(action), *written.ids), written.text)
        return {
            "number": number, "action": action, "prior": prior, "N": 0, "Q": 0.0, "children": None, "passed": False,
            "path": [*path.nodes, node],
        }  # fmt: skip

    def answered(self, trail: list[dict[str, Any]]) -> bool:
        last = trail[-1]["path"][-1]
        phrases = self.rules.final_phrases.get(last.action, ())
        return self.grammar.action(last.action).ends or any(phrase in last.text for phrase in phrases)

    def ended(self, trail: list[dict[str, Any]]) -> bool:
        path: Sequence[PathNode] = trail[-1]["path"]
        if not path:
            return False
        last = path[-1]
        return (
            self.answered(trail)
            or [node.text for node in path].count(last.text) >= self.rules.most_repeats
            or not self.grammar.legal([node.action for node in path])
        )

    def visited(self) -> set[tuple[int, int, float]]:
        found, waiting = set[tuple[int, int, float]](), [self.root]
        while waiting:
            node = waiting.pop()
            if node["N"]:
                found.add((node["number"], node["N"], node["Q"]))
            waiting += node["children"] or []
        return found
