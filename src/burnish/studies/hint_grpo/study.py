"""Study of Hint-GRPO: do hints raise utilisation and accuracy for the same tokens, and does calibration help to look?

Training on chained arithmetic (``experiment.py``) against GRPO with the same generated tokens; calibrated decoding of a
tiny vision-language model in a world where the text is a shortcut (``bias.py``). Source: Hint-GRPO, ICCV 2025.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from burnish.core.cells import run_cells
from burnish.core.report import Section
from burnish.core.run import Run
from burnish.core.study import Outcome, Size, Study, StudyRecipe
from burnish.studies.hint_grpo.bias import BiasDesign, BiasJob, bias_cell
from burnish.studies.hint_grpo.bias_claims import judge_bias
from burnish.studies.hint_grpo.bias_report import bias_sections
from burnish.studies.hint_grpo.claims import judge_training
from burnish.studies.hint_grpo.experiment import ARMS, TrainingDesign, TrainingJob, train_arms
from burnish.studies.hint_grpo.real import real_steps
from burnish.studies.hint_grpo.records import BiasCell, TrainingCell
from burnish.studies.hint_grpo.report import glance, training_sections
from burnish.testbeds.shortcut_model import Spend


class Design(NamedTuple):
    """What a size spends on either half."""

    training: TrainingDesign
    bias: BiasDesign


QUICK = Design(TrainingDesign(base=900, worlds=2), BiasDesign())
DESIGNS: dict[Size, Design] = {
    "smoke": Design(
        TrainingDesign(base=5, tokens=(200, 400), judged=400, questions=2, tests=8),
        BiasDesign(spend=Spend(scenes=128, looking=2, biased=2), questions=16),
    ),
    "tour": Design(dataclasses.replace(QUICK.training, worlds=1, tests=400), BiasDesign(questions=192)),
    "quick": QUICK,
    "full": Design(
        TrainingDesign(arms=tuple(ARMS), tokens=(15_000, 30_000, 60_000, 120_000), worlds=2, real=6),
        BiasDesign(emoji=True, questions=1024),
    ),
}
"""What each size spends: ``quick`` has two worlds of arithmetic and one vision-language model a seed."""

FIRST_SEED = 1000
"""Smaller seeds were looked at while the study was built, and showed that the budget matters: plain GRPO catches up by
60,000 tokens, when it solves most of these questions. The claims speak of 30,000, where it solves about a third; `full`
shows both."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Worlds and models, then the claims."""
    design = DESIGNS[recipe.size]
    first = FIRST_SEED + recipe.seed
    # seed by seed, so that more seeds come after those that are done; the longest of a seed first
    jobs: list[TrainingJob | BiasJob] = []
    for number in range(recipe.seeds):
        worlds = range(number * design.training.worlds, (number + 1) * design.training.worlds)
        jobs += [TrainingJob(first + world, design.training) for world in worlds]
        jobs.append(BiasJob(first + number, design.bias))
    cells = run_cells(recipe, run, jobs, carry_out, TrainingCell | BiasCell, "worlds and models")
    training = [cell for cell in cells if isinstance(cell, TrainingCell)]
    bias = [cell for cell in cells if isinstance(cell, BiasCell)]
    sections = [*training_sections(training), *bias_sections(bias)]
    if design.training.real is not None:
        sections.append(_real(run, design.training.real, recipe.seed))
    return Outcome([*judge_training(training), *judge_bias(bias)], sections, glance(training))


def carry_out(job: TrainingJob | BiasJob) -> TrainingCell | BiasCell:
    """One item, of either half."""
    return train_arms(job) if isinstance(job, TrainingJob) else bias_cell(job)


def _real(run: Run, steps: int, seed: int) -> Section:
    from burnish.testbeds.models import cached_model

    folder = cached_model("smollm2")
    if folder is None:
        return Section("SmolLM2-135M", "Left out: it is not in the cache (`burnish model smollm2`).")
    found = real_steps(folder, steps, seed)
    run.artifact("smollm2.json", found)
    return Section(
        "SmolLM2-135M, a few steps of the real path",
        f"A LoRA adapter on reasoning-gym's word problems: {found['completions']:,} completions, {found['tokens']:,} "
        "tokens. This shows that the path works, not that it helps.",
        table=_course(found["course"]),
    )


def _course(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    shown = ("hints/utilisation", "hints/plain_accuracy", "reward", "loss")
    return [
        {"step": str(step)} | {name: f"{row[name]:.3g}" for name in shown if name in row}
        for step, row in enumerate(rows, 1)
    ]


STUDY = Study(
    title="Hint-GRPO against GRPO for the same generated tokens, and decoding calibrated against text bias",
    run=run,
)
