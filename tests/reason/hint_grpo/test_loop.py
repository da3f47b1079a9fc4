"""A run of Hint-GRPO from its recipe: what it leaves, killed anywhere, over two processes, with bad settings."""

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.core.run import Run
from burnish.dialogue.models import load_chat_model
from burnish.dialogue.rewards import Accuracy
from burnish.dialogue.verify import Verifier
from burnish.reason.hint_grpo import METHOD, loop
from burnish.reason.hint_grpo.hint_sampler import Hints
from burnish.reason.hint_grpo.loop import score
from burnish.reason.hint_grpo.questions import write_questions
from burnish.testbeds.arithmetic import draw_questions, make_tokenizer
from tests.forked import CONTEXT
from tests.ranks import on_two_ranks
from tests.reason.hint_grpo.trainers import accuracy, chain, make_trainer, recipe, ruled

RECIPES = Path(__file__).parents[3] / "recipes" / "hint_grpo"


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def lines(path: Path) -> list[dict[str, Any]]:
    """What was logged, less what a clock said."""
    timed = ("step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss")
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in timed} for row in rows]


def test_a_run_leaves_a_model_an_outcome_and_a_report(model: Path, tmp_path: Path) -> None:
    asked = recipe(model, rewards=[{"name": "accuracy"}, {"name": "format", "weight": 0.1}], zero_variance="mask")
    with Run(asked, tmp_path / "run", quiet=True) as run:
        folder = METHOD.load("run")(asked, run)
    trained = load_chat_model(folder)
    before = load_chat_model(model)
    changed = [
        not torch.equal(one, other)
        for one, other in zip(trained.model.parameters(), before.model.parameters(), strict=True)
    ]
    assert any(changed)
    # however the last call padded (a resumed run may have made none): the file is the base's
    assert (folder / "tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()
    outcome = json.loads((tmp_path / "run/artifacts/outcome.json").read_text())
    assert outcome["steps"] == 10
    assert 0 <= outcome["accuracy_before"] <= 1
    assert outcome["tokens"] > 10 * 16
    rows = [row for row in lines(tmp_path / "run") if "hints/utilisation" in row]
    assert rows[-1]["generated/tokens"] == outcome["tokens"]
    assert all(
        row["hints/selected/0"] + row["hints/selected/1"] + row["hints/selected/2"] == pytest.approx(1) for row in rows
    )
    sections = METHOD.load("report")(tmp_path / "run")
    assert next(section.title for section in sections) == "What came of it"


def test_a_model_in_memory_practises_until_its_tokens_are_spent(model: Path, tmp_path: Path, capfd: Any) -> None:
    from burnish.reason.hint_grpo.loop import score, train_in_memory

    asked = recipe(model, steps=50, updates=1, token_budget=1000, model="in memory")
    chat, test = load_chat_model(model), draw_questions(64, (2, 4), seed=4)
    before = {name: value.clone() for name, value in chat.model.state_dict().items()}
    plain = score(asked, chat, test, accuracy())
    assert score(asked, chat, test, accuracy()) == plain  # sampled, and the same again
    trainer = train_in_memory(asked, chat, draw_questions(16, (6,), seed=5), accuracy(), tmp_path)
    assert trainer.state.global_step < 50
    assert 1000 <= trainer.generated["tokens"] < 3000
    assert any(not torch.equal(value, before[name]) for name, value in chat.model.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in trainer.ref_model.state_dict().items())
    assert 0 <= score(asked, chat, test, accuracy()) <= 1
    assert "loss" not in capfd.readouterr().out  # nothing is printed over a notebook


def test_an_adapter_is_saved_as_one(model: Path, tmp_path: Path) -> None:
    asked = recipe(model, adapter={"rank": 2, "targets": ["q_proj"]}, steps=2, test=None)
    with Run(asked, tmp_path / "run", quiet=True) as run:
        folder = METHOD.load("run")(asked, run)
    assert (folder / "adapter_model.safetensors").exists()
    load_chat_model(f"{model}+{folder}")


def reinforce(path: str, model: str, die_at: int = 0) -> None:
    """The run; SIGKILL at the ``die_at``-th time that completions are judged, in the middle of a step's rounds."""
    from burnish.dialogue.rewards import Accuracy

    torch.set_num_threads(1)
    calls, judge = 0, Accuracy.judge

    def counted(self: Accuracy, texts: Any, answers: Any) -> list[float]:
        nonlocal calls
        calls += 1
        if calls == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return judge(self, texts, answers)

    Accuracy.judge = counted  # type: ignore[method-assign]
    asked = recipe(Path(model), test=None)
    with Run(asked, path, quiet=True) as run:
        METHOD.load("run")(asked, run)
        run.artifact("calls.json", calls)


def child(path: Path, model: Path, die_at: int = 0) -> int | None:
    process = CONTEXT.Process(target=reinforce, args=(str(path), str(model), die_at))
    process.start()
    process.join(300)
    return process.exitcode


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    assert child(path, model) == 0
    return path


@pytest.mark.slow
def test_killed_between_the_rounds_of_a_step_it_goes_on_from_a_whole_batch(
    whole: Path, model: Path, tmp_path: Path
) -> None:
    """What the contract suite cannot choose or see: this moment, where checkpoints are, the trainer's own state in
    them.

    Half of the steps reuse completions, and an epoch ends in between.
    """
    calls = json.loads((whole / "artifacts/calls.json").read_text())
    assert child(tmp_path / "run", model, die_at=int(0.55 * calls)) == -signal.SIGKILL
    kept = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "run/checkpoints").glob("checkpoint-*"))
    assert kept
    assert all(step % 2 == 0 for step in kept)  # never where half of a batch of completions is unused
    assert child(tmp_path / "run", model) == 0
    assert json.loads((tmp_path / "run/artifacts/calls.json").read_text()) < calls  # it went on, not over
    assert weights(tmp_path / "run/artifacts/model") == weights(whole / "artifacts/model")
    assert lines(tmp_path / "run") == lines(whole)
    for name in ("state.json", "tensors.safetensors"):
        one, other = (next(path.glob(f"checkpoints/checkpoint-8/hints/*/{name}")) for path in (tmp_path / "run", whole))
        assert one.read_bytes() == other.read_bytes()


def kinds(question: str, given: int, place: int) -> bool:
    """Half of the questions are easy, so that one process has more rounds to do than the other."""
    return (int(question[0]) % 2 == 0 and place < 2) or (given >= 4 and place == 1)


class Odd(Accuracy):
    """Half of what an untrained model writes is right."""

    def judge(self, texts: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [float(len(text) % 2) for text in texts]


def one_step(folder: Path, processes: int) -> dict[str, Any]:
    """One optimizer step on four questions over ``processes``; then a step with refilled batches."""
    from accelerate import PartialState

    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    own, each = folder / str(state.process_index), 16 // processes
    questions = draw_questions(4, (6,), seed=11)
    with state.main_process_first():  # transformers saves on the first process only
        first, second = chain(folder / "model"), chain(folder / "model")
    # Plain gradient descent: AdamW's first step is the gradient's sign, which rounding alone turns where it is nearly
    # 0.
    trainer = make_trainer(
        own, Hints(levels=3), questions, chat=first, per_device_train_batch_size=each, max_steps=1, optim="sgd"
    )  # fmt: skip
    ruled(trainer, kinds)
    trainer.train()
    found: dict[str, Any] = {
        "weights": {name: value.tolist() for name, value in trainer.model.state_dict().items()},
        "memory": {name: value.tolist() for name, value in trainer.memory.state_dict().items()},
        "generated": trainer.generated,
        "utilisation": [row["hints/utilisation"] for row in trainer.state.log_history if "hints/utilisation" in row],
        "loss": [row["loss"] for row in trainer.state.log_history if "loss" in row],
    }
    refilled = make_trainer(
        own, Hints(levels=1, refills=8), questions, chat=second, per_device_train_batch_size=each, max_steps=1
    )  # fmt: skip
    ruled(refilled, lambda question, given, place: question[0] in "02468" and place == 0)
    refilled.train()
    exam, untrained = recipe(folder / "model", test_batch=3), chain(folder / "test" / str(state.process_index))
    found["accuracy"] = score(exam, untrained, draw_questions(32, (1,), seed=2), Odd(Verifier()))
    found["refilled"] = [row["frac_reward_zero_std"] for row in refilled.state.log_history if "loss" in row]
    return found


@pytest.mark.slow
def test_two_gloo_processes_do_what_one_does(tmp_path: Path) -> None:
    two = on_two_ranks(one_step, tmp_path / "two", 2, folder=tmp_path / "two")
    one = one_step(tmp_path / "one", processes=1)
    for name, value in one["weights"].items():
        for found in two:
            assert torch.allclose(torch.tensor(value), torch.tensor(found["weights"][name]), atol=2e-6), name
    for found in two:
        assert found["memory"] == one["memory"]
        assert found["generated"]["completions"] == one["generated"]["completions"]
        assert found["generated"]["tokens"] == one["generated"]["tokens"]
        assert found["utilisation"] == one["utilisation"]
    assert two[0]["loss"] == pytest.approx(one["loss"], abs=1e-6)
    assert one["generated"]["idle"] == 0
    assert two[0]["generated"]["idle"] > 0  # the rule does give the processes unequal work
    assert two[0]["refilled"] == one["refilled"] == [0.0]
    assert two[0]["accuracy"] == two[1]["accuracy"] == one["accuracy"]  # each took half of the batches
    assert 0 < one["accuracy"] < 1


def test_the_guard_reads_a_step_as_a_completion_wherever_the_reward_looks(model: Path, tmp_path: Path) -> None:
    from burnish.reason.hint_grpo.loop import build_trainer

    asked, chat = recipe(model, hints={"levels": 3, "guard": True}, judge="answer"), load_chat_model(model)
    table = write_questions(asked, chat, tmp_path / "questions.arrow", lambda line: None)
    trainer = build_trainer(asked, chat, table, accuracy(), output_dir=str(tmp_path), report_to="none")
    assert trainer.hint_sampler.leaks(["3", "so it is 7", "14/2", "8"], "7") == [False, True, True, False]


def test_a_test_samples_as_training_does_whatever_the_models_own_config_says(tmp_path: Path) -> None:
    """Qwen2-VL's config, for one, has a repetition penalty; TRL samples without."""
    chat, seen = chain(tmp_path / "model"), []

    class Seen(Accuracy):
        def judge(self, texts: Sequence[str], answers: Sequence[str]) -> list[float]:
            seen.append(list(texts))
            return [0.0] * len(texts)

    for penalty in (1.0, 50.0):
        chat.model.generation_config.repetition_penalty = penalty
        score(recipe(tmp_path / "model"), chat, draw_questions(8, (4,), seed=1), Seen(Verifier()))
    assert seen[0] == seen[1]


def test_a_test_samples_with_what_trl_is_given(model: Path) -> None:
    chat, questions = load_chat_model(model), draw_questions(32, (6,), seed=1)

    class Seen(Accuracy):
        def judge(self, texts: Sequence[str], answers: Sequence[str]) -> list[float]:
            seen.append(list(texts))
            return [0.0] * len(texts)

    for options in ({"top_k": 1}, {"min_p": 1.0}, {}):
        seen: list[list[str]] = []
        for seed in (0, 1):
            score(recipe(model, seed=seed, test_batch=32, trl=options), chat, questions, Seen(Verifier()))
        assert (seen[0] == seen[1]) == bool(options)  # whoever samples the likeliest alone draws nothing


def test_a_model_spread_over_processes_is_tested_whole(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, outcomes = recipe(model, steps=2), []
    for spread in (False, True):
        monkeypatch.setattr(loop, "_sharded", lambda trainer, spread=spread: spread)
        with Run(asked, tmp_path / str(spread), quiet=True) as run:
            METHOD.load("run")(asked, run)
        outcomes.append(json.loads((tmp_path / str(spread) / "artifacts" / "outcome.json").read_text()))
    assert outcomes[0] == outcomes[1]


def test_options_of_the_template_reach_training_and_test_alike(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    tokenizer = make_tokenizer()
    tokenizer.chat_template += "{% if thoughts %}<think>{% endif %}"
    tokenizer.save_pretrained(folder)
    asked = recipe(folder, steps=2, trl={"chat_template_kwargs": {"thoughts": True}})
    with Run(asked, tmp_path / "run", quiet=True) as run:
        METHOD.load("run")(asked, run)  # the look before the first step would say so if they differed
    assert (tmp_path / "run" / "artifacts" / "outcome.json").exists()
