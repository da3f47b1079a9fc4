"""The trainer at its edges: vLLM's logprobs, evaluation, epochs, budgets, batches, chat templates."""

from pathlib import Path

import pytest
import torch
import trl

from burnish.core.errors import UserError
from burnish.reason.hint_grpo.hint_sampler import Hints
from burnish.reason.hint_grpo.schedule import Fixed
from burnish.reason.hint_grpo.trainer import HintGRPOTrainer
from tests.reason.hint_grpo.trainers import accuracy, batch, chain, make_trainer, on_top, ruled


def test_completions_of_vllm_carry_their_logprobs_past_the_hint(tmp_path: Path) -> None:
    """The importance ratio is the model's probability over the sampler's; tokens of a hint take no part in it."""
    trainer = make_trainer(tmp_path, Hints(levels=2))
    ruled(trainer, on_top, logprob=-1.5)
    trainer.use_vllm, trainer._last_loaded_step = True, 0  # as after the round's own synchronization of weights
    output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
    written = (output["completion_mask"] * output["tool_mask"]).bool()
    assert torch.equal(output["sampling_per_token_logps"][written], torch.full((int(written.sum()),), -1.5))
    ratio = (torch.exp((output["old_per_token_logps"] + 1.5) * written)).prod(dim=1)
    assert torch.allclose(output["importance_sampling_ratio"].squeeze(1), ratio.clamp(max=3.0), atol=1e-4)
    assert torch.isfinite(trainer._compute_loss(trainer.model, output))


def test_evaluation_has_no_hints(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Hints(levels=3), options={"eval_dataset": None}, per_device_eval_batch_size=4)
    asked = ruled(trainer, lambda question, given, place: place % 2 == 0)
    trainer.eval_dataset = trainer.train_dataset
    trainer.model.eval()
    output = trainer._generate_and_score_completions(batch(trainer, 0))
    assert {given for _, given in asked} == {0}
    assert trainer._metrics["eval"]["rewards/accuracy/mean"] == [0.5]
    assert torch.allclose(output["advantages"], torch.tensor([0.8659, -0.8659, 0.8659, -0.8659]), atol=1e-4)
    assert trainer.evaluate()["eval_rewards/accuracy/mean"] == pytest.approx(0.5)


def test_an_epochs_order_depends_on_the_epoch_alone(tmp_path: Path) -> None:
    trainer, other = make_trainer(tmp_path / "a", Hints()), make_trainer(tmp_path / "b", Hints())
    sampler, resumed = trainer._get_train_sampler(), other._get_train_sampler()
    first = list(sampler)
    trainer.state.epoch = 1.0
    second = list(sampler)
    other.state.epoch = 1.5
    assert first != second
    assert list(resumed) == second  # a run resumed in its second epoch sees the second order
    assert len(sampler) == len(first)


def test_a_budget_of_generated_tokens_ends_the_training(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Hints(levels=2, schedule=Fixed(0), token_budget=150), max_steps=50)
    ruled(trainer, lambda question, given, place: place == 0)
    trainer.train()
    assert trainer.state.global_step == 2  # 8 completions of 11 tokens a step
    assert trainer.generated["tokens"] == 176


def test_batches_hold_whole_groups(tmp_path: Path) -> None:
    chat = chain(tmp_path / "model")
    args = trl.GRPOConfig(
        per_device_train_batch_size=8, num_generations=4, output_dir=str(tmp_path), use_cpu=True, bf16=False
    )
    args.per_device_train_batch_size = 2  # the same 8 completions over four processes: a group would lie on two of them
    with pytest.raises(
        UserError, match="generates 2 completions at a time, which is not a multiple of the group size 4"
    ):
        HintGRPOTrainer(chat.model, [accuracy()], args, list(range(8)), chat.processor, Hints())
    with pytest.raises(UserError, match="8 questions are fewer than the 20 of one step"):
        make_trainer(tmp_path, Hints(), chat=chat, per_device_train_batch_size=80)


def test_no_chat_template_is_one_line(tmp_path: Path) -> None:
    chat = chain(tmp_path / "model")
    chat.processor.chat_template = None
    with pytest.raises(UserError, match="has no chat template"):
        make_trainer(tmp_path, Hints(), chat=chat)


def test_a_template_that_opens_the_thought_itself_is_not_given_it_twice(tmp_path: Path) -> None:
    chat = chain(tmp_path / "model")
    chat.processor.chat_template = "{% for m in messages %}{{ m['content'] }} = {% endfor %}<think>"
    trainer = make_trainer(tmp_path, Hints(levels=2), chat=chat)
    asked = ruled(trainer, on_top)
    trainer._generate_and_score_completions(batch(trainer, 0, 1))
    assert {given for _, given in asked} == {0, 3}
    assert trainer.hint_sampler.prefix("1 2").text == "<think>1 2"  # the format reward still sees it


def test_a_template_may_open_the_thought_because_it_is_told_to(tmp_path: Path) -> None:
    chat = chain(tmp_path / "model")
    chat.processor.chat_template += "{% if thoughts %}<think>{% endif %}"
    for told, count in (({"thoughts": True}, 0), ({}, 1)):
        trainer = make_trainer(tmp_path / str(count), Hints(), chat=chat, chat_template_kwargs=told)
        assert len(trainer.hint_sampler.prefix("").ids) == count
