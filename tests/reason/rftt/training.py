"""Trainers of RFTT small enough to compute by hand, on an engine whose steps come out of hashes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path as Folder
from typing import Any

import torch
import trl
from datasets import Dataset

from burnish.dialogue.verify import Verifier
from burnish.reason.rftt.generators.protocol import Path, Proposal, Sampling, Written
from burnish.reason.rftt.grammar import rftt_grammar
from burnish.reason.rftt.prm import ProcessScores
from burnish.reason.rftt.reinforcement import LOSS
from burnish.reason.rftt.rewards import Judge, Rewards
from burnish.reason.rftt.rollouts import Branching
from burnish.reason.rftt.trainer import Objective, RFTTTrainer
from burnish.reason.rftt.vocabulary import Vocabulary, extend
from burnish.reason.rftt.walk import SearchRules
from tests.reason.rftt.scripted import Scripted, digest
from tests.reason.rftt.tiny import tiny_llama, tiny_tokenizer

GRAMMAR = rftt_grammar(max_depth=4)
OPENINGS = (("clarify", "analysis"), ("clarify", "next_step"), ("next_step", "output"), ("next_step", "next_step"))


class Hashed(Scripted):
    """Tokens of a vocabulary; an output gives the right answer (1) in half of the cases."""

    def __init__(self, vocabulary: Vocabulary, **options: Any) -> None:
        super().__init__(GRAMMAR, **options)
        self.vocabulary = vocabulary

    def opening(self, action: str) -> tuple[int, ...]:
        return (self.vocabulary.opens[action],)

    def complete(
        self, paths: Sequence[Path], actions: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Written]:
        found = []
        for action, each in zip(actions, super().complete(paths, actions, sampling, seeds), strict=True):
            ids = [10 + token % 200 for token in each.ids]
            text = rf"\boxed{{{ids[0] % 2}}}" if action == "output" else each.text
            if each.closed:
                ids.append(self.vocabulary.closes[action])
            log_probs = tuple(-0.1 - (token % 7) for token in ids)
            found.append(Written(tuple(ids), log_probs, text, each.closed))
        return found


class Certain(Hashed):
    """Proposes one action, so that trees have no draws of their own."""

    def propose(self, paths: Sequence[Path]) -> list[Proposal]:
        return [Proposal((GRAMMAR.legal(path.actions)[-1],), (math.log(0.25),)) for path in paths]


def step_scores(questions: list[str], solutions: list[list[str]]) -> list[list[float]]:
    """A process reward that depends on the solution so far."""
    return [
        [digest(question, steps[: place + 1]) % 10 / 10 for place in range(len(steps))]
        for question, steps in zip(questions, solutions, strict=True)
    ]


def make_rewards(kind: Any = "prm_released") -> Rewards:
    return Rewards(kind, Judge(Verifier()), ProcessScores(step_scores, "hashed"))


def make_model(folder: Folder, *, tied: bool = False) -> tuple[Any, Any, Vocabulary]:
    """On disk as TRL wants its reference."""
    model, tokenizer = tiny_llama(tied=tied), tiny_tokenizer()
    vocabulary = extend(model, tokenizer, GRAMMAR, 0)
    with torch.no_grad():  # untrained rows are all of one size: let some tokens be likely
        model.lm_head.weight.mul_(20.0)
    model.save_pretrained(folder)
    model.config._name_or_path = str(folder)
    return model, tokenizer, vocabulary


def questions(tokenizer: Any, count: int) -> Dataset:
    rows = []
    for number in range(count):
        text = f"question {'long ' * (number % 3)}{number}"
        prompt = [{"role": "user", "content": text}]
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"]
        rows.append({"id": str(number), "prompt": prompt, "prompt_ids": ids, "question": text, "answer": "1"})
    return Dataset.from_list(rows)


def make_trainer(
    folder: Folder,
    objective: Objective | None = None,
    *,
    count: int = 4,
    engine: Any = Hashed,
    layout: Any = "branch",
    rewards: Rewards | None = None,
    trained: Any = None,
    options: dict[str, Any] | None = None,
    **config: Any,
) -> RFTTTrainer:
    """Two questions a step of four rollouts each; ``config`` overrides TRL's arguments."""
    model, tokenizer, vocabulary = trained or make_model(folder / "model")
    if layout == "branch":
        layout = Branching(engine(vocabulary), GRAMMAR, tokenizer.eos_token_id, SearchRules(), OPENINGS)
    settings = {
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 24,
        "beta": 0.0,
        "loss_type": LOSS,
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
    trainer = RFTTTrainer(
        model,
        trl.GRPOConfig(**settings),
        questions(tokenizer, count),
        tokenizer,
        rewards or make_rewards(),
        GRAMMAR,
        vocabulary,
        objective,
        layout,
        **(options or {}),
    )
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer.model.train()
    return trainer


def batch(trainer: RFTTTrainer, *numbers: int) -> list[dict[str, Any]]:
    """Rows of the data set as TRL's sampler repeats them."""
    return [trainer.train_dataset[number] for number in numbers for _ in range(trainer.num_generations)]
