"""Third part of the rftt study: reinforcement of one arm in one world, at every learning rate of the grid.

Every arm is trained by the product's trainer on the same questions until it has generated the same number of tokens,
with the same clipping, divergence from its start, batch and grid; accuracy is that of plain greedy answers.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from burnish.core.metrics import Pulse
from burnish.core.parallel import one_thread
from burnish.core.trainer import keep_to_themselves
from burnish.dialogue.rows import Question
from burnish.dialogue.training import device_settings
from burnish.dialogue.verify import Verifier
from burnish.reason.grpo.settings import batch_settings, grpo_config
from burnish.reason.rftt.evaluate import make_prompts, plain_accuracy
from burnish.reason.rftt.prm import ProcessScores
from burnish.reason.rftt.rewards import Judge, Rewards
from burnish.reason.rftt.rollouts import Layout
from burnish.studies.rftt.records import (
    BARE,
    FULL,
    MASKED,
    NO_PRM,
    NO_SEARCH,
    NO_SFT,
    SIBLINGS,
    ReinforceCell,
    Trained,
)
from burnish.studies.rftt.sampling import BRANCHES, TagBranching, TokenBranching
from burnish.studies.rftt.world import GRAMMAR, LONGEST, Warm, last_digit, load, step_scores
from burnish.testbeds.ways import draw_questions

ROUNDS = 2
"""Texts of each branch: with three branches six completions a question, as independent sampling has."""


@dataclass(frozen=True)
class Arm:
    """One way to reinforce.

    Attributes:
        model: where it starts.
        layout: how completions are drawn.
        objective: of :class:`burnish.reason.rftt.trainer.Objective`, where it is not the paper's.
        reward: by the answer alone, or with the true process reward.
    """

    model: str
    layout: Literal["branch", "iid", "first", "least certain"]
    objective: Mapping[str, Any]
    reward: Literal["outcome", "prm_released"] = "outcome"


ARMS: dict[str, Arm] = {
    NO_PRM: Arm("tags", "branch", {}),
    BARE: Arm("bare", "iid", {}),
    MASKED: Arm("tags", "branch", {"forced": "mask"}),
    SIBLINGS: Arm("tags", "branch", {"advantage": "siblings"}),
    FULL: Arm("tags", "branch", {}, "prm_released"),
    NO_SEARCH: Arm("tags", "iid", {}),
    NO_SFT: Arm("base", "branch", {}),
    "words, iid": Arm("words", "iid", {}),
    "words, least certain": Arm("words", "least certain", {}),
    "bare, first token": Arm("bare", "first", {}),
    "bare, least certain": Arm("bare", "least certain", {}),
    "bare, least certain, siblings": Arm("bare", "least certain", {"advantage": "siblings"}),
    "tags, branch, importance": Arm("tags", "branch", {"forced": "importance"}),
}
"""The claims speak of the first seven; the others are drawn in the report of size ``full``."""
JUDGED = tuple(ARMS)[:7]


class ReinforceDesign(NamedTuple):
    """What one arm costs.

    Attributes:
        arms: of :data:`ARMS`.
        rates: the grid.
        tokens: generated when it is measured, rising; the claims speak of the last.
        questions: a step.
        tests: questions to measure on, and as many again to choose the learning rate by.
        beta: weight of the divergence from the start.
    """

    arms: tuple[str, ...] = JUDGED
    rates: tuple[float, ...] = (1e-4, 3e-4)
    tokens: tuple[int, ...] = (20_000, 40_000)
    questions: int = 8
    tests: int = 300
    beta: float = 0.01


class ReinforceJob(NamedTuple):
    """One item for the executor."""

    world: int
    arm: str
    design: ReinforceDesign
    folder: Path


def reinforce_arm(job: ReinforceJob) -> ReinforceCell:
    """One arm at every learning rate."""
    started = time.process_time()
    with one_thread(), Verifier() as verifier:
        judge = Judge(verifier, last_digit)
        runs = {f"{rate:g}": _train(job, rate, judge) for rate in job.design.rates}
    return ReinforceCell(world=job.world, arm=job.arm, runs=runs, seconds=time.process_time() - started)


def _train(job: ReinforceJob, rate: float, judge: Judge) -> Trained:
    import transformers

    design, arm = job.design, ARMS[job.arm]
    keep_to_themselves()
    transformers.utils.logging.disable_progress_bar()
    transformers.set_seed(job.world % 2**32)
    warm = load(job.folder / f"{job.world}-{arm.model}")
    watch = _Watch(warm, design, job, judge)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(job, arm, warm, rate, judge, folder)
        watch.measure(0)
        trainer.add_callback(watch.callback(trainer))
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return Trained(
        tokens=tuple(watch.tokens),
        accuracy=tuple(watch.accuracy),
        chosen=tuple(watch.chosen),
        steps=trainer.state.global_step,
        course=_course(trainer),
    )


def _trainer(job: ReinforceJob, arm: Arm, warm: Warm, rate: float, judge: Judge, folder: str) -> Any:
    from datasets import Dataset

    from burnish.reason.rftt.trainer import Objective, RFTTTrainer

    design = job.design
    samples = BRANCHES * ROUNDS
    config = grpo_config(
        {
            **batch_settings(design.questions, samples, None),
            "max_steps": 100_000,  # the budget ends it
            "max_completion_length": LONGEST,
            "temperature": 1.0,
            "learning_rate": rate,
            "lr_scheduler_type": "constant",
            "beta": design.beta,
            "loss_type": "bnpo",
            "activation_checkpointing": False,
            **device_settings("cpu", None),
            "logging_steps": 1,
            "use_bias_correction_kl": False,
        },
        {
            "output_dir": folder,
            "seed": job.world % 2**32,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        },
        {},
    )
    questions = draw_questions(2048, seed=job.world)
    prompts = make_prompts(warm.chat, warm.vocabulary, questions)
    rows = [
        {
            "id": prompt.id,
            "prompt": [{"role": "user", "content": question.question}],
            "prompt_ids": list(prompt.ids),
            "question": question.question,
            "answer": question.answer,
        }
        for prompt, question in zip(prompts, questions, strict=True)
    ]
    scores = ProcessScores(step_scores, "the true process reward") if arm.reward == "prm_released" else None
    return RFTTTrainer(
        warm.chat.model,
        config,
        Dataset.from_list(rows),
        warm.chat.tokenizer,
        Rewards(arm.reward, judge, scores),
        GRAMMAR,
        warm.vocabulary,
        Objective(**arm.objective),
        _layout(arm, warm),
        design.tokens[-1],
    )


def _layout(arm: Arm, warm: Warm) -> Layout | None:
    """Text inside branches is drawn at 1, as independent completions are: only what is branched at differs."""
    if arm.layout == "iid":
        return None
    if arm.layout == "branch":
        return TagBranching(warm, ROUNDS, 1.0)
    return TokenBranching(warm, arm.layout, ROUNDS, 1.0)


class _Watch:
    """Measures the model whenever a budget is spent."""

    def __init__(self, warm: Warm, design: ReinforceDesign, job: ReinforceJob, judge: Judge) -> None:
        self._warm, self._judge = warm, judge
        self._left = list(design.tokens)
        self._sets = [draw_questions(design.tests, seed=first + job.world) for first in (500_000, 600_000)]
        self._pulse = Pulse(f"rftt, world {job.world}, {job.arm}")
        self.tokens: list[float] = []
        self.accuracy: list[float] = []
        self.chosen: list[float] = []

    def measure(self, tokens: float) -> None:
        """Accuracy on both sets."""
        self.tokens.append(tokens)
        for found, questions in zip((self.accuracy, self.chosen), self._sets, strict=True):
            found.append(self._accuracy(questions))

    def _accuracy(self, questions: Sequence[Question]) -> float:
        chat, vocabulary = self._warm.chat, self._warm.vocabulary
        prompts = make_prompts(chat, vocabulary, questions)
        answers = [question.answer for question in questions]
        return plain_accuracy(
            chat, vocabulary, GRAMMAR, prompts, answers, self._judge, tokens=LONGEST, batch=512
        ).accuracy

    def callback(self, trainer: Any) -> Any:
        """For the trainer: after each step."""
        from transformers import TrainerCallback

        watch = self

        class Measuring(TrainerCallback):
            def on_step_end(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
                spent = trainer.generated["tokens"]
                watch._pulse.beat(f"step {state.global_step}, {spent:,.0f} tokens generated")
                if watch._left and spent >= watch._left[0]:
                    watch._left = [each for each in watch._left if each > spent]
                    watch.measure(spent)

        return Measuring()


def _course(trainer: Any) -> tuple[dict[str, float], ...]:
    return tuple(
        {
            "tokens": row["generated/tokens"],
            "right": row["rollouts/correct"],
            **{key: value for key, value in row.items() if key.startswith("steps/")},
        }
        for row in trainer.state.log_history
        if "rollouts/correct" in row
    )
