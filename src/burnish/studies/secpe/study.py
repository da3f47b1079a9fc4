"""Study of SecPE: what an ensemble of prompts is worth under attack, and what answering under encryption costs.

A seed draws texts, fits heads, attacks both classifiers and asks the circuit (``experiment.py``), and times argmaxes in
one process (``timing.py``). Claims, written before any judged run: ``claims.py``. Source: SecPE (arXiv 2502.00847,
2025); it names neither tasks nor prompts, so both are ours. The encoder of a judged size is MiniLM; a tour without it
(`burnish model minilm`) has a BERT of random weights on procedural texts, and its report says so.
"""

from __future__ import annotations

from typing import NamedTuple

from burnish.core.cells import run_cells
from burnish.core.run import Run
from burnish.core.study import JUDGED, Outcome, Size, Study, StudyRecipe
from burnish.private.attacks.search import AttackPlan
from burnish.studies.secpe.claims import judge_cells
from burnish.studies.secpe.experiment import TaskDesign, TaskJob, run_task
from burnish.studies.secpe.records import Cell
from burnish.studies.secpe.report import glance, sections
from burnish.studies.secpe.timing import ArgmaxDesign, ArgmaxJob, RefreshJob, run_argmax, run_refresh
from burnish.testbeds.models import cached_model, prepare_model
from burnish.testbeds.texts import PROCEDURAL, TASKS, has_data


class Design(NamedTuple):
    """What a size spends on a seed.

    Attributes:
        tasks: by name.
        task: on each.
        sealed: tasks that SEAL is asked about: how many texts, and how many questions are timed.
        argmax: timings; none where nothing is timed.
        refresh: whether a bootstrap is timed, once; about 50 CPU seconds and nine gigabytes.
        real: MiniLM is wanted, if it is there.
    """

    tasks: tuple[str, ...]
    task: TaskDesign = TaskDesign()
    sealed: dict[str, tuple[int, int]] = {}  # noqa: RUF012 - never written to
    argmax: ArgmaxDesign | None = ArgmaxDesign()
    refresh: bool = False
    real: bool = True


TINY = TaskDesign(24, 12, 12, 3, 2, AttackPlan(budget=8), attacked=3, eps=0.25, lanes=2, max_tokens=20)
DESIGNS: dict[Size, Design] = {
    "smoke": Design(("reviews", "triage"), TINY, argmax=ArgmaxDesign((4, 8), 0.25, 16384, 33, "clear"), real=False),
    "tour": Design(
        ("subjects", "triage"),
        TaskDesign(120, 40, 60, 5, 4, AttackPlan(budget=30), attacked=8),
        argmax=ArgmaxDesign((4,), 0.125, 16384, 33),
    ),
    "quick": Design(("emails", "emoji"), sealed={"emails": (72, 5)}, refresh=True),
    "full": Design(
        tuple(TASKS),
        TaskDesign(400, 200, 400, 8, 8, AttackPlan(budget=150), attacked=60, eps=2.0**-6, max_tokens=64),
        sealed={"emails": (80, 10), "emoji": (40, 5)},
        argmax=ArgmaxDesign(eps=2.0**-8, scale_bits=35),
        refresh=True,
    ),
}
"""What each size spends."""

STAND_IN = "reviews"
FIRST_SEED = 1100
"""Those before were looked at: while templates, budgets and the number of timed questions were settled, and in a judged
run whose single prompt was chosen on clean texts only."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Every task of each seed, then its timings."""
    design = DESIGNS[recipe.size]
    # the bootstrap comes first: more seeds add to the end
    jobs: list[TaskJob | ArgmaxJob | RefreshJob] = [RefreshJob()] if design.refresh else []
    encoder, tasks = ("", design.tasks) if run.finished else _there(recipe.size, design, run)
    for seed in range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + recipe.seeds):
        both = (design.sealed.get(task, (0, 0)) for task in tasks)
        of_task = (design.task._replace(sealed=texts, timed=questions) for texts, questions in both)
        jobs += [TaskJob(seed, task, encoder, each) for task, each in zip(tasks, of_task, strict=True)]
        if design.argmax is not None:
            jobs.append(ArgmaxJob(seed, design.argmax))
    cells = run_cells(recipe, run, jobs, carry_out, Cell, "cells")
    return Outcome(judge_cells(cells), sections(cells), glance(cells))


def _there(size: Size, design: Design, run: Run) -> tuple[str, tuple[str, ...]]:
    """The encoder's folder, and the tasks; where a real one's texts are not there, a procedural one stands in, at no
    judged size though."""
    if size in JUDGED:
        return str(prepare_model("minilm")), design.tasks
    folder = cached_model("minilm") if design.real else None
    real = {task for task in design.tasks if folder is not None and has_data(task)}
    tasks = tuple(task if task in real or task in PROCEDURAL else STAND_IN for task in design.tasks)
    if design.real and (folder is None or tasks != design.tasks):
        run.note(f"{run.path}: MiniLM or real texts are not prepared (`burnish model minilm`, `burnish data emails`)")
    return str(folder or prepare_model("tiny-bert")), tasks


def carry_out(job: TaskJob | ArgmaxJob | RefreshJob) -> Cell:
    """One item."""
    if isinstance(job, RefreshJob):
        return run_refresh(job)
    return run_task(job) if isinstance(job, TaskJob) else run_argmax(job)


STUDY = Study(
    title="SecPE: ensembles of prompts under attack, and the price of answering under encryption",
    run=run,
)
