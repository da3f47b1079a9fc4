"""The whole method in a run folder, beyond the contract: a run without luck, own grammars, what a user asks."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import burnish
from burnish.core.errors import UserError
from burnish.core.run import Run
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.dialogue.verify import Verifier
from burnish.reason import answer, search
from burnish.reason.rftt.evaluate import make_prompts, plain_accuracy
from burnish.reason.rftt.grammar import Action, Grammar, rftt_grammar
from burnish.reason.rftt.inference import find_traced
from burnish.reason.rftt.loop import read_rows, score_trees, teach
from burnish.reason.rftt.prm import ProcessScores
from burnish.reason.rftt.reinforcement import LOSS, make_trainer
from burnish.reason.rftt.report import most_telling, outcome_rows
from burnish.reason.rftt.rewards import Judge
from burnish.reason.rftt.search import Prompt, Written
from burnish.reason.rftt.search import search as walk
from burnish.reason.rftt.tree import Tree
from burnish.reason.rftt.tree_picture import RIGHT, WRONG, tree_figure
from burnish.reason.rftt.vocabulary import extend
from burnish.reason.rftt.voting import search_answers
from burnish.testbeds.ways import draw_questions
from burnish.testbeds.ways_model import write_base
from tests.reason.rftt.scripted import Scripted
from tests.reason.rftt.test_settings import recipe
from tests.reason.rftt.tiny import tiny_llama, tiny_tokenizer

OWN = Grammar(
    (
        Action("plan", "<|my:plan|>", "<|/my:plan|>", ("do",), 8, (1, 1), "plan: name a way", ends=False),
        Action("do", "<|my:do|>", "<|/my:do|>", ("end",), 12, (1, None), "do: carry it out", ends=False),
        Action("end", "<|my:end|>", "<|/my:end|>", (), 12, (1, None), "end: the result", ends=True, prompted=False),
    ),
    start=("plan", "do"),
    max_depth=3,
)
"""Two of its actions are prompted: a search by prompts ends after `do`."""


def always_right(_text: str) -> str:
    return "1"


def test_no_question_solved_is_one_line_that_says_what_to_try(tmp_path: Path) -> None:
    write_base(tmp_path / "ways", steps=2, width=16)
    with (
        pytest.raises(UserError, match=r"warmup: not one of 4 searched questions was solved .* check `answer`"),
        Run(recipe(tmp_path / "ways"), tmp_path / "run", quiet=True) as run,
    ):
        teach(recipe(tmp_path / "ways"), run)
    assert (tmp_path / "run" / "artifacts" / "trees").is_dir()
    assert not (tmp_path / "run" / "artifacts" / "rows.jsonl").exists()


def test_a_grammar_of_ones_own_goes_through_both_phases(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    write_base(tmp_path / "ways", steps=100, width=16)
    for name in ("plan", "do"):
        (tmp_path / "ways" / "prompts" / f"{name}.txt").write_text("{{question}} : {{steps}} " + name)
    asked = recipe(
        tmp_path / "ways",
        grammar={"table": "tests.reason.rftt.test_loop:OWN"},
        answer="tests.reason.rftt.test_loop:always_right",
        data={"source": "tests.reason.rftt.test_loop:ones", "limit": 4},
        warmup={
            "search": {"rollouts": 3, "max_depth": 2, "tokens": 16, "prompts": str(tmp_path / "ways" / "prompts")},
            "verify": "plain", "batch": 2, "accumulate": 1, "steps": 2,
        },
        rl={"layout": "mcts", "samples": 2, "questions": 2, "step_tokens": 3, "steps": 1, "temperature": 1.0},
    )  # fmt: skip
    found = burnish.run(asked, tmp_path / "run")
    assert found.value == tmp_path / "run" / "artifacts" / "model"
    rows = [json.loads(line) for line in (tmp_path / "run" / "artifacts" / "rows.jsonl").read_text().splitlines()]
    assert rows
    assert {action for row in rows for action, _ in row["steps"]} <= {"plan", "do", "end"}
    assert all(row["steps"][-1][0] == "end" for row in rows)
    tokenizer = (found.value / "tokenizer.json").read_text()
    assert "<|my:end|>" in tokenizer
    assert "rftt:" not in tokenizer


def ones() -> Any:
    yield from (Question(f"{number} 2 3 0", "1", row=f"ones:{number}") for number in range(4))


def grown() -> Tree:
    """A question, a shared step, and under it a right and a wrong answer."""
    tree = Tree(Prompt("q", "What is $2 + 2$?"), 0)
    tree.grow(0, ["analysis"], [0.0])
    tree.write(1, (), Written((), (), "add", True), "")
    tree.grow(1, ["direct_answer", "direct_answer"], [0.0, 0.0])
    for number, text, reward in ((2, r"\boxed{4}", 1.0), (3, r"\boxed{5}", 0.1)):
        tree.write(number, (), Written((), (), text, True), "answer")
        tree.nodes[number].reward = reward
        tree.backup(number)
    return tree


def test_each_step_of_a_tree_is_scored_once() -> None:
    seen: list[list[str]] = []

    def scorer(_questions: list[str], steps: list[list[str]]) -> list[list[float]]:
        seen.extend(steps)
        return [[0.5 if "5" in text else 0.75 for text in row] for row in steps]

    tree = grown()
    score_trees([tree], ProcessScores(scorer, "mine"))
    assert [node.scores.get("prm") for node in tree.nodes] == [None, 0.75, 0.75, 0.5]
    assert len(seen) == 2


def test_the_picture_of_a_tree_has_a_box_a_step_right_ones_green() -> None:
    tree = grown()
    assert most_telling([Tree(Prompt("p", ""), 0), tree]) is tree
    axes = tree_figure(tree).axes[0]
    edges = [text.get_bbox_patch().get_edgecolor() for text in axes.texts]
    from matplotlib.colors import to_rgba

    assert len(axes.texts) == 4
    assert edges.count(to_rgba(RIGHT)) == 3  # the question, the shared step, the right answer
    assert edges.count(to_rgba(WRONG)) == 1
    assert any("N=2 Q/N=0.55" in text.get_text() for text in axes.texts)
    tree_figure(tree).savefig("/dev/null", format="svg")  # a dollar in the question is no mathematics


def test_outcomes_are_told_in_the_order_of_the_phases() -> None:
    test = {"accuracy": 0.5, "answered": 1.0, "tokens": 3.0, "found": None}
    rows = outcome_rows({"after": test | {"by_search": 0.25, "search_tokens": 9.0}, "before": test, "warmed-up": {}})
    assert [row["when"] for row in rows] == ["before", "after phase 2"]
    assert [row["by search"] for row in rows] == ["-", "0.250"]


def with_tokens() -> ChatModel:
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    extend(model, tokenizer, rftt_grammar(), 0)
    return ChatModel(model, tokenizer, "tiny")


def test_a_search_is_the_same_again_and_each_distinct_path_votes_once() -> None:
    chat = with_tokens()
    one = search(chat, "1 + 1?", rollouts=1, max_depth=4, step_tokens=4)
    again = search(chat, "1 + 1?", rollouts=1, max_depth=4, step_tokens=4)
    assert {key: value for key, value in one.items() if key != "seconds"} == {
        key: value for key, value in again.items() if key != "seconds"
    }
    more = search(chat, "1 + 1?", rollouts=5, max_depth=4, step_tokens=4)
    assert len(more["tree"]["rollouts"]) == 5
    assert more["tokens"] > one["tokens"]
    # A model that knows nothing gives no answer, and the sentence about the vote says how many were given.
    assert one["chosen_by"] == "majority of 1 paths, 0 of them with an answer"
    leaves = {rollout[0] for rollout in more["tree"]["rollouts"]}
    assert sum(each["paths"] for each in more["candidates"]) <= len(leaves)
    json.dumps(more)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rollouts": 0}, "rollouts: 0; give 1 or more"),
        ({"vote": "reward"}, "vote: `reward` needs scores"),
        ({"temperature": -1.0}, "temperature: -1.0; give 0 or more"),
        ({"temperature": float("nan")}, "temperature: nan"),
        ({"cache": -1}, "cache: -1; give the bytes to keep"),
        ({"grammar": "os:sep"}, "grammar.table: `os:sep` is a str"),
        ({"prm": "os:sep", "vote": "verifier"}, "prm: `os:sep` cannot be called"),
    ],
)
def test_a_search_that_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        search(with_tokens(), "1 + 1?", **options)


def test_what_a_user_writes_is_no_functional_token_and_a_constrained_answer_is_a_trace() -> None:
    chat, table = with_tokens(), rftt_grammar()
    traced = find_traced(chat)
    assert traced is not None
    asked = Question("7 <|rftt:output|> <|/rftt:verify|> 0", "")
    ids = traced.encode([asked, Question("1", "")], None)["input_ids"]
    assert not set(ids.flatten().tolist()) & set(traced.vocabulary.ids)
    assert set(chat.encode(chat.render([asked]))["input_ids"][0].tolist()) & set(traced.vocabulary.ids)
    free = answer(chat, asked.question, max_new_tokens=24)
    kept = answer(chat, asked.question, max_new_tokens=24, constrained=True)
    assert kept["steps"]
    assert table.fault([step["action"] for step in kept["steps"]]) is None
    assert free["answer"] != kept["answer"]
    with pytest.raises(UserError, match="constrained: plain has no functional tokens"):
        answer(ChatModel(tiny_llama(), tiny_tokenizer(), "plain"), "1 + 1?", constrained=True)
    with pytest.raises(UserError, match=r"with_model: .* writes functional tokens"):
        answer(chat, "1 + 1?", with_model=ChatModel(tiny_llama(), tiny_tokenizer(), "plain"))


def test_what_is_cut_off_gives_no_answer_however_it_looks() -> None:
    r"""A path that ends unclosed neither votes nor earns, even if a box stands in it."""

    class Rambling(Scripted):
        def complete(self, paths: Any, actions: Any, sampling: Any, seeds: Any) -> list[Written]:
            return [Written((5,), (-1.0,), r"let me try \boxed{9}", False) for _ in paths]

    asked: list[int] = []

    def judge(paths: Any) -> list[float]:
        asked.append(len(paths))
        return [1.0] * len(paths)

    (tree,) = walk([Prompt("q", "?", (1,))], Rambling(rftt_grammar()), rftt_grammar(), judge)
    assert {rollout.reward for rollout in tree.rollouts} == {0.0}
    assert asked == []
    (found,) = search_answers([Prompt("q", "?", (1,))], Rambling(rftt_grammar()), rftt_grammar())
    assert found.answer is None


def test_rows_of_another_run_are_learnt_from_and_bad_ones_named(tmp_path: Path) -> None:
    write_base(tmp_path / "ways", steps=2, width=16)
    rows = tmp_path / "rows.jsonl"
    name = draw_questions(4, seed=0)[0].row
    row = {
        "question": name,
        "text": "q",
        "kind": "path",
        "wrong": [0, 0],
        "steps": [["next_step", "3"], ["output", "4"]],
    }
    rows.write_text(json.dumps(row) + "\n")
    asked = recipe(tmp_path / "ways", rl=None, warmup={"rows": str(rows), "steps": 1, "accumulate": 1})
    found = burnish.run(asked, tmp_path / "run")
    assert (found.value / "model.safetensors").exists()
    assert not (tmp_path / "run" / "artifacts" / "trees").exists()
    rows.write_text(json.dumps(row) + "\n{}\n")
    with pytest.raises(UserError, match=r"rows.jsonl:2: no row of a search \(KeyError: 'steps'\)"):
        read_rows(rows)


def test_a_search_alone_stops_at_its_rows(tmp_path: Path) -> None:
    write_base(tmp_path / "ways", steps=100, width=16)
    asked = recipe(
        tmp_path / "ways",
        rl=None,
        answer="tests.reason.rftt.test_loop:always_right",
        data={"source": "tests.reason.rftt.test_loop:ones", "limit": 4},
        warmup={
            "train": False,
            "search": {"rollouts": 3, "max_depth": 3, "tokens": 16, "prompts": str(tmp_path / "ways" / "prompts")},
        },
    )
    found = burnish.run(asked, tmp_path / "run")
    assert read_rows(found.value)
    with Run(asked, tmp_path / "run", quiet=True) as again:
        assert teach(asked, again) == found.value
    assert not list((tmp_path / "run" / "checkpoints").glob("sft*"))


def test_a_question_longer_than_the_context_is_neither_learnt_nor_asked(tmp_path: Path) -> None:
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    vocabulary = extend(model, tokenizer, rftt_grammar(), 0)
    chat = ChatModel(model, tokenizer, "tiny")
    questions = [Question("1 + 1", "2", row="short"), Question("1 + " * 200, "2", row="long")]
    prompts = make_prompts(chat, vocabulary, questions)
    with Verifier() as verifier:
        judge = Judge(verifier)
        found = plain_accuracy(chat, vocabulary, rftt_grammar(), prompts, ["2", "2"], judge, tokens=4, batch=2)
        assert found.tokens <= 2  # of the short one alone, on average over both
        asked = recipe(tmp_path, rl={"layout": "iid", "samples": 2, "questions": 1, "beta": 0}, warmup=None)
        said: list[str] = []
        trainer = make_trainer(
            asked, chat, vocabulary, rftt_grammar(), questions, judge, None, said.append, output_dir=str(tmp_path)
        )
    assert trainer.train_dataset["id"] == ["short"]
    assert trainer.args.loss_type == LOSS
    assert said == ["rl: 1 questions left out: longer than the model's context of 512"]


def test_a_model_without_functional_tokens_and_a_question_beyond_its_context() -> None:
    with pytest.raises(UserError, match=r"plain has no functional tokens"):
        search(ChatModel(tiny_llama(), tiny_tokenizer(), "plain"), "1 + 1?")
    with pytest.raises(UserError, match=r"question: its prompt has .* tokens, the model's context 512; shorten it"):
        search(with_tokens(), "1 + " * 200)
