"""Study of TrainProVe: does a classifier give away the generator of its training pictures, and how often is an innocent accused?

Small generators and classifiers, all trained here on real digits. The claims are written down in ``trainprove_claims.py``;
what a seed makes is in ``trainprove_cell.py``, what is measured on it in ``trainprove_measure.py``.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from burnish.core.parallel import Executor, executor
from burnish.core.run import Run
from burnish.prove.trainprove.recipe import Training
from burnish.studies.claims import Outcome, Size, Study, StudyRecipe
from burnish.studies.trainprove_cell import FAMILIES, Job, Plan, draw_pictures, path, train_models
from burnish.studies.trainprove_claims import judge_cells
from burnish.studies.trainprove_measure import measure
from burnish.studies.trainprove_report import sections
from burnish.testbeds.generators import Spend

QUICK = Plan(
    spend=Spend(ddpm=180, distill=60, flow=350, cascade=200, heads=4, solver=9),
    cheap=("pca_gmm", "kde", "vae", "mixup", "affine", "blur", "elastic", "thin", "cutmix", "occluded"),
)
TINY = Spend(ddpm=2, distill=2, flow=2, cascade=2, solver=2, few=1)
PLANS: dict[Size, Plan] = {
    "smoke": Plan(
        spend=TINY,
        cheap=("kde", "blur", "affine"),
        real=600,
        pool=60,
        own=60,
        reference=20,
        mine_each=2,
        mine_suspects=1,
        mixture_shadows=2,
        mixture_suspects=2,
        fractions=(0.5,),
        training=Training(steps=3, batch=16, learning_rate=3e-3, weight_decay=0.05),
        budget=20,
    ),
    "tour": dataclasses.replace(
        QUICK,
        spend=Spend(ddpm=90, distill=24, flow=150, cascade=90, heads=4, solver=6),
        mine_each=4,
        mixture_shadows=2,
        mixture_suspects=4,
        fractions=(0.5,),
        pool=600,
    ),
    "quick": QUICK,
    "full": Plan(
        spend=Spend(ddpm=1200, distill=300, flow=2500, cascade=1500),
        pool=1200,
        own=1000,
        reference=400,
        shadow_kinds=("mlp", "cnn", "normed"),
        mine_suspects=6,
        suspects_each=4,
        mixture_shadows=6,
        mixture_suspects=20,
        training=Training(steps=400, batch=64, learning_rate=3e-3, weight_decay=0.05),
        alpha=0.05,
    ),
}
"""What each size spends."""

FIRST_SEED = 2000
"""Statistic, gate and thresholds were settled on worlds below 100, and those from 1000 on were judged before the worlds were
mended: no judged one is among them."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Generators, then models, then measures; an interrupted study goes on with the first item whose file is not there."""
    plan = PLANS[recipe.size]
    seeds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + recipe.seeds)
    folder = (run.path / "artifacts").resolve()
    # what was made lies in the folder; a checkpoint holds no more than the number of the step
    steps = itertools.count(run.restore())
    draws = [Job(seed, family, plan, folder) for family in FAMILIES for seed in seeds]
    trainings = [Job(seed, source, plan, folder) for seed in seeds for source in plan.sources]
    with executor(recipe.executor, recipe.workers, recipe.ray_address) as pool:
        _carry_out(run, steps, pool, draw_pictures, draws, "generators x seeds", _drawn)
        _carry_out(run, steps, pool, train_models, trainings, "sources x seeds", _trained)
    cells = [measure(plan, seed, folder) for seed in run.progress(list(seeds), "seeds measured")]
    run.artifact("cells.json", cells)
    return Outcome(judge_cells(cells), sections(cells, plan, folder))


def _carry_out(
    run: Run,
    steps: Iterator[int],
    pool: Executor,
    function: Callable[[Job], None],
    jobs: Sequence[Job],
    label: str,
    made: Callable[[Job], Path],
) -> None:
    left = [job for job in jobs if not made(job).exists()]
    for _ in run.progress(pool.map(function, left), label, total=len(left)):
        step = next(steps)
        run.log(step, items=step + 1)
        run.checkpoint(step)


def _drawn(job: Job) -> Path:
    """The last file that a family's item writes."""
    last = {"ddpm": "twin", "cheap": job.plan.cheap[-1]}
    return path(job, "pictures", last.get(job.name, job.name))


def _trained(job: Job) -> Path:
    return path(job, "answers", job.name)


STUDY = Study(
    title="TrainProVe: whose generator made a classifier's training pictures, against the published rule",
    run=run,
)
