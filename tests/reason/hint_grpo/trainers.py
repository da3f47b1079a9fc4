"""Trainers small enough to compute by hand, and a sampler whose completions are decided by a rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import trl

from burnish.dialogue.models import ChatModel
from burnish.dialogue.rewards import Accuracy
from burnish.dialogue.rows import Question
from burnish.dialogue.verify import Verifier
from burnish.reason.hint_grpo.hint_sampler import Hints
from burnish.reason.hint_grpo.recipe import HintGRPORecipe
from burnish.reason.hint_grpo.rows import read_table, write_table
from burnish.reason.hint_grpo.trainer import HintGRPOTrainer
from burnish.testbeds.arithmetic import draw_questions, make_tokenizer, train_base
from tests.reason.hint_grpo.contract import SETTINGS

Rule = Callable[[str, int, int], bool]
"""From a question's text, the steps given and the place in its group: is the completion right?"""


def recipe(base: Path, **changes: Any) -> HintGRPORecipe:
    """Ten steps in which every batch of completions is used twice, over more than one epoch, with refilled batches."""
    settings = {**SETTINGS, "method": "burnish.reason.hint_grpo:METHOD", "model": str(base), "checkpoint_every": 0}
    return HintGRPORecipe.model_validate(settings | changes)


@cache
def accuracy() -> Accuracy:
    return Accuracy(Verifier(), "answer")  # plain digits: no process ever starts


def chain(folder: Path) -> ChatModel:
    """An untrained model of the arithmetic world, on disk as TRL wants its reference."""
    torch.manual_seed(0)
    model, tokenizer = train_base(steps=0, width=32), make_tokenizer()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model.config._name_or_path = str(folder)
    return ChatModel(model, tokenizer, "chain")


def make_trainer(
    folder: Path,
    hints: Hints,
    questions: Sequence[Question] | None = None,
    *,
    chat: ChatModel | None = None,
    rewards: Sequence[Any] | None = None,
    options: dict[str, Any] | None = None,
    **config: Any,
) -> HintGRPOTrainer:
    """G = 4, two questions a step; ``config`` overrides TRL's arguments."""
    chat = chat or chain(folder / "model")
    questions = questions or draw_questions(8, (6,), seed=3)
    table = write_table(folder / "questions.arrow", questions, takes_images=chat.takes_images)
    settings = {
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 16,
        "beta": 0.04,
        "loss_type": "grpo",
        "use_bias_correction_kl": False,
        "learning_rate": 1e-2,
        "max_steps": 2,
        "activation_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        **config,
    }
    trainer = HintGRPOTrainer(
        chat.model,
        list(rewards or [accuracy()]),
        trl.GRPOConfig(**settings),
        read_table(table),
        chat.processor,
        hints,
        **(options or {}),
    )
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer.model.train()
    return trainer


def ruled(trainer: HintGRPOTrainer, rule: Rule, logprob: float | None = None) -> list[tuple[str, int]]:
    """Replace the sampler: completions follow ``rule``. Returns the list of what is asked: (question, steps given)."""
    asked: list[tuple[str, int]] = []
    tokenizer = trainer._tokenizer
    answers = {row["prompt"][-1]["content"]: list(row["steps"]) for row in trainer.train_dataset}

    def generate(prompt_ids: Any, images: Any, fields: Any, num_generations: int, has_tool_images: bool = False) -> Any:
        places: Counter[tuple[int, ...]] = Counter()
        found = []
        for ids in prompt_ids:
            question, _, begun = tokenizer.decode(ids).partition(" = <think>")
            steps = answers[question]
            given = len(begun.split())
            assert begun.split() == steps[:given]  # the hint is the first steps, right after the prefill
            right = rule(question, given, places[tuple(ids)] % num_generations)
            places[tuple(ids)] += 1
            asked.append((question, given))
            answer = steps[-1] if right else str((int(steps[-1]) + 1) % 10)
            rest = " ".join(steps[given:])
            text = f" {rest}</think><answer>{answer}</answer><eos>"
            found.append(tokenizer(text, add_special_tokens=False)["input_ids"])
        return found, None if logprob is None else [[logprob] * len(ids) for ids in found]

    trainer._generate_single_turn = generate
    return asked


def on_top(question: str, given: int, place: int) -> bool:
    """Nothing is right without a hint; with one, the first of a group is."""
    return given > 0 and place == 0


def batch(trainer: HintGRPOTrainer, *numbers: int) -> list[dict[str, Any]]:
    """Rows of the table as TRL's sampler repeats them."""
    return [trainer.train_dataset[number] for number in numbers for _ in range(trainer.num_generations)]
