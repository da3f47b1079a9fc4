"""First half of the Hint-GRPO study: one world of chained arithmetic, its sloppy base model, and every arm trained on it.

All arms of a world start from the same weights and see the same questions in the same order; they differ in how completions
are sampled and which of them are learnt from. Arms stop when they have *generated* the same number of tokens, what was
thrown away included; one arm repeats the published comparison at equal steps. Accuracy is measured without hints.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from burnish.core.parallel import one_thread
from burnish.dialogue.models import ChatModel, load_chat_model
from burnish.dialogue.rewards import Accuracy
from burnish.dialogue.rows import Question
from burnish.dialogue.verify import Verifier
from burnish.reason.hint_grpo.loop import practise, score
from burnish.reason.hint_grpo.recipe import HintGRPORecipe
from burnish.worlds.arithmetic import draw_questions, make_tokenizer, train_base

LEVELS = 3
KEPT = ("utilisation", "reward_without_hint", "plain_accuracy", *(f"selected/{level}" for level in range(LEVELS)))


@dataclass(frozen=True)
class Arm:
    """One way of sampling: completions a group, and the hints."""

    generations: int
    hints: Mapping[str, Any]


PLAIN = {"levels": 1}
ARMS = {
    "GRPO": Arm(4, PLAIN),
    "GRPO, groups of 12": Arm(12, PLAIN),
    "exhaustive": Arm(4, {"levels": LEVELS, "schedule": "exhaustive"}),
    "ladder": Arm(4, {"levels": LEVELS}),
    "ladder without memory": Arm(4, {"levels": LEVELS, "remember": False}),
    "always one third": Arm(4, {"levels": LEVELS, "schedule": "fixed", "level": 1}),
    "always two thirds": Arm(4, {"levels": LEVELS, "schedule": "fixed", "level": 2}),
    "random level": Arm(4, {"levels": LEVELS, "schedule": "random"}),
    "own hints": Arm(4, {"levels": LEVELS, "schedule": "self_hint"}),
}
AT_EQUAL_STEPS = "exhaustive, as many steps"
"""The published comparison: the exhaustive schedule with the number of steps that plain GRPO had, at several times its tokens."""


@dataclass(frozen=True)
class Plan:
    """What one size spends on a world.

    Attributes:
        arms: of :data:`ARMS`.
        base: steps of supervised training of the base model.
        tokens: that every arm may generate.
        questions: a step.
        lengths: of the training questions, in arithmetic steps; tests have 2, 4, 6 and 8.
        tests: test questions.
        learning_rate: of all arms.
        worlds: worlds a seed.
        real: steps on SmolLM2-135M, once; none leaves it out.
    """

    arms: tuple[str, ...] = ("GRPO", "GRPO, groups of 12", "exhaustive", "ladder")
    base: int = 1200
    tokens: int = 60_000
    questions: int = 8
    lengths: tuple[int, ...] = (6, 7, 8)
    tests: int = 1200
    learning_rate: float = 2e-4
    worlds: int = 1
    real: int | None = None


class Job(NamedTuple):
    """One item for the executor: a world."""

    world: int
    plan: Plan


def train_arms(job: Job) -> dict[str, Any]:
    """Base model and all arms of one world: plain numbers, JSON as they stand.

    Keys: ``world``, ``base`` (accuracy before), ``arms`` {name: ``accuracy``, ``steps``, ``completions``, ``tokens``,
    ``utilisation`` (mean over steps), ``course`` [one a step: tokens so far and the metrics in :data:`KEPT`]},
    ``seconds`` of CPU time.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    plan, started = job.plan, time.process_time()
    training = draw_questions(4096, plan.lengths, seed=job.world)
    tests = draw_questions(plan.tests, (2, 4, 6, 8), seed=500_000 + job.world)
    with one_thread(), tempfile.TemporaryDirectory() as work, Verifier(5.0, 1) as verifier:
        base = Path(work) / "base"
        train_base(plan.base, seed=job.world).save_pretrained(base)
        make_tokenizer().save_pretrained(base)
        accuracy = Accuracy(verifier, "answer")
        found: dict[str, Any] = {}
        for name in plan.arms:
            recipe = _recipe(job, base, ARMS[name], tokens=plan.tokens)
            found[name] = _practised(recipe, training, tests, accuracy)
        if "GRPO" in plan.arms and "exhaustive" in plan.arms:
            recipe = _recipe(job, base, ARMS["exhaustive"], steps=found["GRPO"]["steps"])
            found[AT_EQUAL_STEPS] = _practised(recipe, training, tests, accuracy)
        before = score(recipe, _loaded(base), tests, accuracy)
    return {"world": job.world, "base": before, "arms": found, "seconds": time.process_time() - started}


def _recipe(job: Job, base: Path, arm: Arm, *, tokens: int | None = None, steps: int = 1_000_000) -> HintGRPORecipe:
    return HintGRPORecipe.model_validate(
        {
            "model": str(base),
            "data": {"source": "burnish.worlds.arithmetic:training"},
            "system": None,
            "device": "cpu",
            "seed": job.world,
            # A state is one digit: a step that equals the answer is a coincidence, not a leak.
            "hints": {"guard": False, **arm.hints},
            "judge": "answer",
            "generations": arm.generations,
            "questions": job.plan.questions,
            "completion_tokens": 16,
            "temperature": 1.0,
            "steps": steps,
            "token_budget": tokens,
            "learning_rate": job.plan.learning_rate,
            "lr_scheduler": "constant",
        }
    )


def _loaded(folder: Path) -> ChatModel:
    return load_chat_model(str(folder))


def _practised(
    recipe: HintGRPORecipe, training: Sequence[Question], tests: Sequence[Question], accuracy: Accuracy
) -> dict[str, Any]:
    import torch

    torch.manual_seed(recipe.seed)
    chat = _loaded(Path(recipe.model))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # transformers warns of a name of its own that TRL still reads
        warnings.simplefilter("ignore", FutureWarning)
        trainer = practise(recipe, chat, training, accuracy, Path(folder))
    course = [
        {"tokens": row["generated/tokens"]} | {key: row[f"hints/{key}"] for key in KEPT if f"hints/{key}" in row}
        for row in trainer.state.log_history
        if "hints/utilisation" in row
    ]
    return {
        "accuracy": score(recipe, chat, tests, accuracy),
        "steps": trainer.state.global_step,
        "completions": trainer.generated["completions"],
        "tokens": trainer.generated["tokens"],
        "utilisation": sum(row["utilisation"] for row in course) / len(course),
        "course": course,
    }
