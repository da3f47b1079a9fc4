"""The trainer against the published rule and loss, recomputed by hand; and against TRL's hooks, should they move."""

import inspect
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from trl import GRPOTrainer

from burnish.dialogue.rewards import Format
from burnish.dialogue.rows import Question
from burnish.reason.hint_grpo.attempts import Job
from burnish.reason.hint_grpo.hint_sampler import Hints
from burnish.reason.hint_grpo.schedule import SELF, Exhaustive, Ladder, Memory, SelfHint
from burnish.testbeds.arithmetic import draw_questions
from tests.reason.hint_grpo.trainers import Rule, accuracy, batch, make_trainer, on_top, ruled

HOOKS = {
    "_calculate_rewards": ["inputs", "prompts", "completions", "completion_ids_list"],
    "_generate": ["prompts"],
    "_generate_and_score_completions": ["inputs"],
    "_generate_single_turn": ["prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
    "_get_train_sampler": ["dataset"],
    "_load_optimizer_and_scheduler": ["checkpoint"],
    "_save_checkpoint": ["model", "trial"],
    "_tokenize_prompts": ["prompts"],
}


def test_trl_has_the_hooks_that_this_trainer_stands_on() -> None:
    """TRL's private methods may move with any minor version: then this fails first and says what to look at."""
    assert version("trl").startswith("1.16."), "read TRL's GRPOTrainer again, then pin the new minor version"
    for name, parameters in HOOKS.items():
        found = list(inspect.signature(getattr(GRPOTrainer, name)).parameters)[1:]
        assert found == parameters, f"GRPOTrainer.{name} takes {found}, not {parameters}"
    source = inspect.getsource(GRPOTrainer._generate)
    assert "self.rollout_func(prompts, self)" in source
    assert 'extra_fields.pop("env_mask", None)' in source
    scoring = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert "images = dataset_images" in scoring  # what a rollout function does not return is restored
    for key in ("tool_mask", "completion_mask", "num_items_in_batch", "prompt_mask"):
        assert f'"{key}"' in scoring
    for name in ("_pending_extra_logs", "_metrics", "_tokenizer", "_is_vlm", "reward_weights", "rollout_func"):
        assert f"self.{name}" in inspect.getsource(GRPOTrainer.__init__)
    sampler = trl.trainer.utils.RepeatSampler(range(8), 2, 2, seed=1)
    assert sampler.shuffle
    assert isinstance(sampler.generator, torch.Generator)
    assert sampler.seed == 1


def test_a_batch_by_hand(tmp_path: Path) -> None:
    """Selected level, masks, advantages, KL and loss, from logits of model and reference."""
    trainer = make_trainer(tmp_path, Hints(levels=3))
    ruled(trainer, lambda question, given, place: given > 0 and place == 0)
    with torch.no_grad():  # the policy has moved away from its reference
        for parameter in trainer.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    rows = batch(trainer, 0, 1)
    output = trainer._generate_and_score_completions(rows)
    tokenizer, losses, divergences = trainer._tokenizer, [], []
    expected = torch.tensor([1.4997, -0.4999, -0.4999, -0.4999] * 2)
    assert torch.allclose(output["advantages"], expected, atol=1e-4)
    for place, row in enumerate(rows):
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
        start = tokenizer("<think>" + " ".join(row["steps"][:2]), add_special_tokens=False)["input_ids"]
        right = place % 4 == 0
        answer = row["answer"] if right else str((int(row["answer"]) + 1) % 10)
        written = tokenizer(
            " ".join(row["steps"][2:]) + f"</think><answer>{answer}</answer><eos>", add_special_tokens=False
        )["input_ids"]
        ids = torch.tensor([prompt + start + written])
        count = int(output["completion_mask"][place].sum())
        assert output["prompt_ids"][place][output["prompt_mask"][place].bool()].tolist() == prompt
        assert output["completion_ids"][place][:count].tolist() == start + written
        assert output["tool_mask"][place][:count].tolist() == [0] * len(start) + [1] * len(written)
        labels = ids[0, -len(written) :].unsqueeze(1)

        def logps(model: Any, ids: torch.Tensor = ids, labels: torch.Tensor = labels) -> torch.Tensor:
            logits = model(ids).logits[0, -len(labels) - 1 : -1]
            return logits.log_softmax(-1).gather(1, labels).squeeze(1)

        own, reference = logps(trainer.model), logps(trainer.ref_model)
        kl = torch.exp(reference - own) - (reference - own) - 1
        ratio = torch.exp(own - own.detach())
        mean, deviation = 0.25, 0.5  # rewards 1, 0, 0, 0: the deviation has n - 1 below it
        advantage = (float(right) - mean) / (deviation + 1e-4)
        losses.append(-(ratio * advantage - 0.04 * kl).mean())
        divergences.append(kl)
    loss = trainer._compute_loss(trainer.model, output)
    assert loss.item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-6)
    assert trainer._metrics["train"]["kl"][0] == pytest.approx(torch.cat(divergences).mean().item(), abs=1e-6)
    assert torch.cat(divergences).mean() > 0.001  # there was a divergence to get wrong
    ours = torch.autograd.grad(loss, list(trainer.model.parameters()))
    hand = torch.autograd.grad(torch.stack(losses).mean(), list(trainer.model.parameters()))
    for one, other in zip(ours, hand, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    # TRL's lengths are of what the model wrote, and so is its sum of tokens for the loss.
    assert trainer._metrics["train"]["completions/mean_length"] == [9.0]
    assert output["num_items_in_batch"].item() == 8 * 9


def test_k3_by_hand() -> None:
    reference, own = math.log(0.25), math.log(0.5)
    assert math.exp(reference - own) - (reference - own) - 1 == pytest.approx(0.193147, abs=1e-6)


def uneven(question: str, given: int, place: int) -> bool:
    """Questions of every kind: right at once, at the second level, at the third, never; some groups all right."""
    kind = sum(map(int, question.replace(".", "").split())) % 5
    return (
        (kind == 0)
        or (kind == 1 and place == 2)
        or (kind == 2 and given >= 2)
        or (kind == 3 and given >= 4 and place > 0)
    )


def second_of(first: str) -> Rule:
    return lambda question, given, place: question == first and place == 1


def selected(output: dict[str, Any]) -> list[Any]:
    names = ("completion_ids", "completion_mask", "tool_mask", "advantages", "prompt_ids")
    return [output[name].tolist() for name in names]


def test_the_ladder_learns_from_the_groups_that_exhaustive_selects(tmp_path: Path) -> None:
    questions = draw_questions(24, (6,), seed=9)
    found, asked = [], []
    for name, schedule in (("ladder", Ladder(remembers=False)), ("exhaustive", Exhaustive())):
        trainer = make_trainer(tmp_path / name, Hints(levels=3, schedule=schedule), questions)
        ruled(trainer, uneven)
        batches = [batch(trainer, start, start + 1) for start in range(0, 24, 2)]
        outputs = [selected(trainer._generate_and_score_completions(rows)) for rows in batches]
        found.append((outputs, trainer._metrics["train"]["hints/utilisation"]))
        asked.append(trainer.generated["completions"])
    assert found[0] == found[1]
    assert asked[1] == 24 * 3 * 4
    assert asked[0] < 0.8 * asked[1]


def test_rounds_are_batched_over_the_questions_that_failed(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Hints(levels=3))
    first, second = (row["prompt"][-1]["content"] for row in (trainer.train_dataset[0], trainer.train_dataset[1]))
    asked = ruled(trainer, lambda question, given, place: question == first or (given == 4 and place < 2))
    trainer._generate_and_score_completions(batch(trainer, 0, 1))
    assert asked == [(first, 0)] * 4 + [(second, 0)] * 4 + [(second, 2)] * 4 + [(second, 4)] * 4
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
    assert metrics["hints/selected/0"] == metrics["hints/selected/2"] == 0.5
    assert metrics["hints/utilisation"] == 0.5
    assert metrics["hints/utilisation/2"] == 1
    assert metrics["hints/all_correct"] == 0.5
    assert metrics["hints/plain_accuracy"] == 0.5
    assert metrics["hints/reward_without_hint"] == pytest.approx(4 / 6)
    assert metrics["frac_reward_zero_std"] == 0.5
    assert metrics["generated/completions"] == 16
    assert metrics["generated/tokens"] == 8 * 11 + 4 * 9 + 4 * 7


def test_a_question_is_asked_again_where_it_was_left(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Hints(levels=3, schedule=Ladder(decay=0.5)))
    asked = ruled(trainer, lambda question, given, place: given == 4 and place == 0)
    trainer._generate_and_score_completions(batch(trainer, 0, 1))
    assert trainer.memory[0] == Memory(2, 0.25)
    assert trainer.memory.attempts(0) == 1
    asked.clear()
    trainer._generate_and_score_completions(batch(trainer, 0, 2))
    assert [given for _, given in asked] == [4] * 4 + [0] * 4 + [2] * 4 + [4] * 4
    other = make_trainer(tmp_path / "other", Hints(levels=3))
    other.load_state_dict(trainer.state_dict())
    assert other.memory[0] == trainer.memory[0]
    assert other.generated == trainer.generated


def test_the_guard_cuts_hints_before_the_answer(tmp_path: Path) -> None:
    questions = [Question("1 2 . . . . . .", "5", steps=("1", "5", "3", "8", "9", "5"), row="leaky")] * 2

    def same(texts: list[str], answers: list[str]) -> list[float]:
        return [float(text == answer) for text, answer in zip(texts, answers, strict=True)]

    trainer = make_trainer(tmp_path, Hints(levels=3, judge=same), questions)
    asked = ruled(trainer, lambda question, given, place: False)
    trainer._generate_and_score_completions(batch(trainer, 0, 1))
    assert sorted({given for _, given in asked}) == [0, 1]  # levels 1 and 2 both shrink to the one step before it
    assert trainer.generated["completions"] == 16


def test_questions_without_rationale_are_plain_grpo_and_counted(tmp_path: Path) -> None:
    bare = [Question(each.question, each.answer, row=each.row) for each in draw_questions(8, (6,), seed=3)]
    trainer = make_trainer(tmp_path, Hints(levels=3), bare)
    outcomes = []

    def generate(prompt_ids: Any, images: Any, fields: Any, num_generations: int) -> Any:
        outcomes.append(len(prompt_ids))
        return [[5, 2]] * len(prompt_ids), None

    trainer._generate_single_turn = generate
    trainer._generate_and_score_completions(batch(trainer, 0, 1))
    assert outcomes == [8]
    assert trainer._metrics["train"]["hints/hintless"] == [1.0]


def test_groups_without_variance_lose_their_kl_only_where_asked(tmp_path: Path) -> None:
    for mask, moves in ((False, True), (True, False)):
        trainer = make_trainer(tmp_path / str(mask), Hints(levels=1, mask_zero_variance=mask))
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        first = trainer.train_dataset[0]["prompt"][-1]["content"]
        ruled(trainer, lambda question, given, place: False)
        output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
        trainer._compute_loss(trainer.model, output).backward()
        gradient = sum(float(each.grad.abs().sum()) for each in trainer.model.parameters() if each.grad is not None)
        assert (gradient > 0) is moves
        ruled(trainer, second_of(first))
        output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
        scored = (output["completion_mask"] * output["tool_mask"]).sum(1).tolist()
        assert [count > 0 for count in scored] == [True] * 4 + [not mask] * 4
        assert output["num_items_in_batch"].item() == sum(scored)


def test_dynamic_sampling_replaces_what_gives_no_gradient(tmp_path: Path) -> None:
    questions = draw_questions(16, (6,), seed=3)
    trainer = make_trainer(tmp_path, Hints(levels=1, refills=8), questions)
    good = {questions[number].question for number in range(8, 16)}
    ruled(trainer, lambda question, given, place: question in good and place == 0)
    output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
    assert trainer._metrics["train"]["frac_reward_zero_std"] == [0.0]
    assert output["advantages"].abs().min() > 0.4
    drawn = trainer.state_dict()["drawn"]
    assert drawn >= 2
    assert trainer._metrics["train"]["hints/utilisation"][0] < 1  # over all that were asked
    again = make_trainer(tmp_path / "again", Hints(levels=1, refills=8), questions)
    again.load_state_dict(trainer.state_dict())
    assert [row["number"] for row in again._draw(3)] == [row["number"] for row in trainer._draw(3)]
    seen = [row["number"] for row in make_trainer(tmp_path / "third", Hints(levels=1), questions)._draw(16)]
    assert sorted(seen) == list(range(16))  # none twice in a pass


class Counting:
    """A reward that remembers what it saw, and logs a column."""

    __name__ = "counting"

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(self, completions: Any, prefix: Any, log_extra: Any, log_metric: Any, **columns: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        self.seen += list(zip(prefix, texts, strict=True))
        log_extra("length", [len(text) for text in texts])
        log_metric("calls", 1.0)
        return [0.5] * len(texts)


def test_several_rewards_with_weights_each_asked_once(tmp_path: Path) -> None:
    counting = Counting()
    trainer = make_trainer(
        tmp_path,
        Hints(levels=2, success=0),
        rewards=[accuracy(), Format(), counting],
        reward_weights=[1.0, 0.25, 2.0],
    )
    ruled(trainer, on_top)
    output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
    # Format is right for all (it sees the prefill), so only accuracy sets a group's rewards apart.
    assert trainer._metrics["train"]["rewards/format/mean"] == [1.0]
    assert trainer._metrics["train"]["reward"][0] == pytest.approx(0.25 + 0.25 + 1.0)
    assert torch.allclose(output["advantages"][:4], torch.tensor([1.4997, -0.4999, -0.4999, -0.4999]), atol=1e-4)
    assert len(counting.seen) == trainer.generated["completions"] == 16
    assert {prefix for prefix, _ in counting.seen[:8]} == {"<think>"}
    assert all(prefix.startswith("<think>") and len(prefix) > 7 for prefix, _ in counting.seen[8:])
    assert all("<think>" not in text for _, text in counting.seen)
    assert list(trainer._logs["extra"]["length"]) == [len(text) for _, text in counting.seen[8:]]
    assert trainer._metrics["train"]["calls"] == [1.0]


def test_a_level_whose_total_is_positive_without_success_is_not_selected(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Hints(levels=2, success=0), rewards=[accuracy(), Format()])
    asked = ruled(trainer, lambda question, given, place: False)
    trainer._generate_and_score_completions(batch(trainer, 0, 1))
    assert len(asked) == 16  # well formed, and climbed all the same


def test_a_completion_that_nobody_can_score_is_no_success_and_no_variance(tmp_path: Path) -> None:
    """TRL leaves it out of its group: the group's other completions are all equal, and nothing is learnt from it."""

    def shaped(completions: Any, **columns: Any) -> list[float | None]:
        return [None if place % 4 == 0 else -1.0 for place in range(len(completions))]

    trainer = make_trainer(tmp_path, Hints(levels=2, success_above=-0.5, mask_zero_variance=True), rewards=[shaped])
    asked = ruled(trainer, lambda question, given, place: False)
    output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
    assert len(asked) == 16  # no level has a success
    assert output["advantages"].tolist() == [0.0] * 8
    assert output["tool_mask"].sum() == 0
    assert trainer._metrics["train"]["hints/utilisation"] == [0.0]


@pytest.mark.parametrize("aggregation", ["sum_then_normalize", "normalize_then_sum"])
def test_equal_sums_of_unlike_rewards_are_masked_only_where_the_sums_count(tmp_path: Path, aggregation: str) -> None:
    def against(completions: Any, answer: Any, **columns: Any) -> list[float]:
        right = accuracy()(completions=completions, answer=answer, **columns)
        return [2.0 - 2.0 * each for each in right]

    trainer = make_trainer(
        tmp_path,
        Hints(levels=1, success=0, mask_zero_variance=True),
        rewards=[accuracy(), against],
        reward_weights=[2.0, 1.0],
        multi_objective_aggregation=aggregation,
    )
    ruled(trainer, lambda question, given, place: place == 0)
    output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
    learnt = aggregation == "normalize_then_sum"
    assert bool(output["advantages"].any()) is learnt
    assert bool(output["tool_mask"].any()) is learnt
    assert trainer._metrics["train"]["hints/utilisation"] == [float(learnt)]


def test_the_model_writes_its_own_hint_when_a_group_collapses(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path,
        Hints(levels=2, schedule=SelfHint(), judge=lambda texts, answers: [float("leak" in text) for text in texts]),
    )
    tokenizer, calls = trainer._tokenizer, []

    def generate(prompt_ids: Any, images: Any, fields: Any, num_generations: int) -> Any:
        calls.append((num_generations, [tokenizer.decode(ids) for ids in prompt_ids]))
        return [tokenizer("4 4 <eos>", add_special_tokens=False)["input_ids"]] * len(prompt_ids), None

    trainer._generate_single_turn = generate
    trainer._generate_and_score_completions(batch(trainer, 0, 1))
    assert [(count, len(prompts)) for count, prompts in calls] == [(4, 8), (1, 2), (4, 8)]
    assert "= <think>" not in calls[1][1][0]  # asked for a hint, not to go on
    assert all(prompt.endswith("= <think> 4 4") for prompt in calls[2][1])
    assert trainer._metrics["train"]["hints/selected/0"] == [1.0]  # it did not help: level 0, as published


def test_a_hint_of_its_own_that_gives_the_answer_away_is_cut(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path,
        Hints(levels=1, schedule=SelfHint(), judge=lambda texts, answers: [float("7" in text) for text in texts]),
    )
    trainer._generate_single_turn = lambda *args: ([[5, 2]] * len(args[0]), None)
    trainer.processing_class.batch_decode = lambda ids, **_: ["Add first. Then it is 7. So done."] * len(ids)
    attempt = trainer.hint_sampler.new_attempt(trainer.train_dataset[0])
    assert trainer.hint_sampler.hints_for([Job(attempt, SELF)]) == ["Add first."]
