"""Trees in lock step: the same alone or among others, killed or not, whatever the engine writes."""

import errno
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as Folder

import pytest

from burnish.core.errors import BurnishError, UserError
from burnish.reason.rftt.grammar import Grammar, prompted_grammar, rftt_grammar
from burnish.reason.rftt.search import PROMPTED, Path, Prompt, Sampling, Saving, SearchRules, Written, search
from burnish.reason.rftt.tree import Tree
from burnish.reason.rftt.tree_files import read_folder, read_trees
from tests.reason.rftt.scripted import Scripted, judged

GRAMMAR = rftt_grammar(max_depth=6)
RULES = SearchRules(rollouts=8)
PROMPTS = [Prompt(f"q{number}", f"text {number}", tuple(range(number + 1))) for number in range(7)]


def contents(trees: Sequence[Tree]) -> list[str]:
    return [json.dumps(tree.to_json()) for tree in trees]


def test_a_tree_is_the_same_whatever_else_is_searched() -> None:
    together = contents(search(PROMPTS, Scripted(GRAMMAR), GRAMMAR, judged, RULES, seed=3, width=7))
    alone = [contents(search([prompt], Scripted(GRAMMAR), GRAMMAR, judged, RULES, seed=3))[0] for prompt in PROMPTS]
    assert together == alone
    backwards = search(PROMPTS[::-1], Scripted(GRAMMAR), GRAMMAR, judged, RULES, seed=3, width=2)
    assert contents(backwards)[::-1] == alone
    other = search(PROMPTS[:1], Scripted(GRAMMAR), GRAMMAR, judged, RULES, seed=4)
    assert contents(other) != alone[:1]


def test_every_tick_writes_once_for_all_trees() -> None:
    engine = Scripted(GRAMMAR)
    trees = search(PROMPTS, engine, GRAMMAR, judged, RULES, width=7)
    written = [sum(node.text is not None for node in tree.nodes) - 1 for tree in trees]
    assert sum(engine.batches) == sum(written)
    assert len(engine.batches) == max(written)  # a tree that is not finished writes a step at every tick
    assert engine.batches[0] == 7


@pytest.mark.parametrize("rules", [RULES, replace(PROMPTED, rollouts=8)], ids=["functional", "prompted"])
def test_lazy_and_eager_text_walk_the_same_paths(rules: SearchRules) -> None:
    grammar = GRAMMAR if rules is RULES else prompted_grammar(GRAMMAR, max_depth=6)
    lazy = search(PROMPTS, engine := Scripted(grammar), grammar, judged, rules)
    eager = search(PROMPTS, costly := Scripted(grammar), grammar, judged, replace(rules, eager=True))
    walks = [[[(each.leaf, each.reward) for each in tree.rollouts] for tree in trees] for trees in (lazy, eager)]
    assert walks[0] == walks[1]
    assert [tree.path(tree.rollouts[-1].leaf) for tree in lazy] == [tree.path(tree.rollouts[-1].leaf) for tree in eager]
    assert engine.counts.generated < costly.counts.generated
    assert all(node.text is not None for tree in eager for node in tree.nodes)


def test_phase_1_never_selects_an_answer_and_turns_long_ones_down_where_it_can() -> None:
    grammar = prompted_grammar(GRAMMAR, max_depth=4)
    long = "One. Two. Three. Four. Five."
    texts = {(*before, "direct_answer"): long for before in ((), ("analysis",), ("clarify",), ("next_step",))}
    trees = search(PROMPTS, Scripted(grammar, texts=texts), grammar, judged, replace(PROMPTED, rollouts=20))
    ends = [tree.path(rollout.leaf).nodes[-1] for tree in trees for rollout in tree.rollouts]
    assert {node.text for node in ends if node.action == "direct_answer"} - {long}
    assert long not in {node.text for node in ends}  # wherever it stands, some other child can be taken
    assert any(node.passed_over for tree in trees for node in tree.nodes)


KILLS = range(1, 60, 3)


@pytest.mark.parametrize("call", KILLS)
def test_a_killed_search_goes_on_to_the_same_bits(call: int, tmp_path: Folder, whole: dict[str, bytes]) -> None:
    child = os.fork()
    if child == 0:
        _search_into(tmp_path, Deadly(GRAMMAR, call))
        os._exit(0)  # never: it is killed
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    _search_into(tmp_path, Scripted(GRAMMAR))
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.jsonl")} == whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    _search_into(folder, engine := Scripted(GRAMMAR))
    assert len(engine.batches) >= max(KILLS)
    assert read_folder(folder)[1] == engine.counts
    return {file.name: file.read_bytes() for file in folder.glob("*.jsonl")}


def _search_into(folder: Folder, engine: Scripted) -> list[Tree]:
    return search(PROMPTS, engine, GRAMMAR, judged, RULES, width=3, saving=Saving(folder, every=4))


class Deadly(Scripted):
    """Kills its process at a call."""

    def __init__(self, grammar: Grammar, call: int) -> None:
        super().__init__(grammar)
        self.call = call

    def complete(
        self, paths: Sequence[Path], actions: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Written]:
        if len(self.batches) == self.call:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().complete(paths, actions, sampling, seeds)


def test_a_stop_after_a_save_goes_on_too(tmp_path: Folder, whole: dict[str, bytes]) -> None:
    def stop(trees: Sequence[Tree]) -> None:
        raise KeyboardInterrupt

    saving = Saving(tmp_path, every=4, then=stop)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            search(PROMPTS, Scripted(GRAMMAR), GRAMMAR, judged, RULES, width=3, saving=saving)
    _search_into(tmp_path, Scripted(GRAMMAR))
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.jsonl")} == whole


def test_the_engine_forgets_at_every_save_whether_or_not_there_is_a_folder(tmp_path: Folder) -> None:
    engines = [Scripted(GRAMMAR), Scripted(GRAMMAR)]
    for engine, folder in zip(engines, (tmp_path, None), strict=True):
        search(PROMPTS, engine, GRAMMAR, judged, RULES, saving=Saving(folder, every=5))
    assert engines[0].forgotten == engines[1].forgotten == 1 + -(-len(engines[0].batches) // 5)


def test_a_full_disk_keeps_what_was_saved(
    tmp_path: Folder, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.replace, []

    def full(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(BurnishError, match="disk is full; free some space and run the same command again"):
            _search_into(tmp_path, Scripted(GRAMMAR))
    trees, _ = read_folder(tmp_path)
    assert any(tree.rollouts for tree in trees)
    assert not [file for file in tmp_path.iterdir() if file.suffix != ".jsonl"]
    _search_into(tmp_path, Scripted(GRAMMAR))
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.jsonl")} == whole


def test_a_damaged_file_is_named_and_its_wave_searched_anew(tmp_path: Folder, whole: dict[str, bytes]) -> None:
    _search_into(tmp_path, Scripted(GRAMMAR))
    file = tmp_path / "trees-00001.jsonl"
    for content in (
        b"",
        b"{}\n",
        file.read_bytes()[:-30],
        file.read_bytes().replace(b'"visits": 1', b'"visits": 2', 1),
    ):
        file.write_bytes(content)
        with pytest.raises(BurnishError, match="trees-00001"):
            read_trees(file)
        said: list[str] = []
        saving = Saving(tmp_path, every=4, note=said.append)
        search(PROMPTS, Scripted(GRAMMAR), GRAMMAR, judged, RULES, width=3, saving=saving)
        assert len(said) == 1
        assert "trees-00001" in said[0]
        assert file.read_bytes() == whole[file.name]


def test_a_folder_of_another_search_is_refused(tmp_path: Folder) -> None:
    _search_into(tmp_path, Scripted(GRAMMAR))
    for prompts, seed in ((PROMPTS, 1), (PROMPTS[1:], 0)):
        with pytest.raises(UserError, match="other questions or of another seed"):
            search(prompts, Scripted(GRAMMAR), GRAMMAR, judged, RULES, seed=seed, width=3, saving=Saving(tmp_path))
    with pytest.raises(UserError, match="no trees"):
        read_folder(tmp_path / "nothing")


def test_two_questions_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="`q0`"):
        search([PROMPTS[0], PROMPTS[0]], Scripted(GRAMMAR), GRAMMAR, judged)


def test_a_reward_that_is_no_number_is_refused() -> None:
    with pytest.raises(BurnishError, match="`q0` was judged nan"):
        search(PROMPTS[:1], Scripted(GRAMMAR), GRAMMAR, lambda paths: [float("nan")] * len(paths))


def test_a_question_longer_than_the_context_is_left_out_and_said() -> None:
    prompts = [Prompt("long", "", (7,) * 90), Prompt("short", "", (7,) * 8)]
    long, short = search(prompts, Scripted(GRAMMAR, context=90), GRAMMAR, judged, RULES)
    assert long.problem == "its prompt has 90 tokens, the model's context 90"
    assert not long.rollouts
    assert len(short.rollouts) == 8
    assert not short.problem


def test_a_path_that_fills_the_context_ends() -> None:
    (tree,) = search([Prompt("q", "", (7,) * 8)], Scripted(GRAMMAR, context=14), GRAMMAR, judged, RULES)
    leaves = [tree.nodes[rollout.leaf] for rollout in tree.rollouts]
    assert "context" in {node.ending for node in leaves}
    assert all(tree.path(node.number).length + 1 >= 14 for node in leaves if node.ending == "context")


def test_the_same_step_for_ever_is_cut() -> None:
    grammar = rftt_grammar(max_depth=18)
    always = {("next_step",) * depth: {"next_step": 1.0} for depth in range(18)}
    texts = {("next_step",) * depth: "so on" for depth in range(1, 19)}
    (tree,) = search([PROMPTS[0]], Scripted(grammar, always, texts), grammar, judged, SearchRules(rollouts=2))
    assert [(tree.nodes[each.leaf].ending, tree.nodes[each.leaf].depth) for each in tree.rollouts] == [
        ("repeats", 3)
    ] * 2


def test_the_depth_limit_ends_a_trace_in_the_middle() -> None:
    grammar = rftt_grammar(max_depth=3)
    always = {("next_step",) * depth: {"next_step": 1.0} for depth in range(3)}
    (tree,) = search([PROMPTS[0]], Scripted(grammar, always), grammar, judged, SearchRules(rollouts=2))
    assert {tree.nodes[each.leaf].ending for each in tree.rollouts} == {"depth"}
    assert {tree.nodes[each.leaf].depth for each in tree.rollouts} == {3}


def test_a_tag_that_never_closes_ends_its_path() -> None:
    (tree,) = search(PROMPTS[:1], Scripted(GRAMMAR, unclosed=["analysis"]), GRAMMAR, judged, SearchRules(rollouts=12))
    ended = [tree.nodes[each.leaf] for each in tree.rollouts]
    assert {node.action for node in ended if node.ending == "unclosed"} == {"analysis"}
    assert not [node for node in tree.nodes if node.action == "analysis" and node.children]


def test_a_final_phrase_ends_a_trace() -> None:
    grammar = prompted_grammar(GRAMMAR, max_depth=9)
    final = "Final step: the answer is \\boxed{4}."
    trees = search(
        PROMPTS, Scripted(grammar, texts={("next_step",): final}), grammar, judged, replace(PROMPTED, rollouts=20)
    )
    finals = [node for tree in trees for node in tree.nodes if node.text == final]
    assert finals
    assert {node.ending for node in finals} == {"answer"}
