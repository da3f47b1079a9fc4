"""Study of TrainProVe: does a classifier give away the generator of its training pictures, and how often is an innocent
accused?

Small generators and classifiers, all trained here on real digits. The claims are written down in ``claims.py``; what a
seed makes is in ``experiment.py``, what is measured on it in ``measure.py``.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from burnish.core.cells import make_files, run_cells
from burnish.core.run import Run
from burnish.core.study import Outcome, Size, Study, StudyRecipe
from burnish.prove.trainprove.recipe import Training
from burnish.studies.trainprove.claims import judge_cells
from burnish.studies.trainprove.experiment import FAMILIES, Design, Job, draw_pictures, path, train_models
from burnish.studies.trainprove.measure import SeedJob, measure
from burnish.studies.trainprove.records import SeedCell
from burnish.studies.trainprove.report import glance, sections
from burnish.testbeds.generators import Spend

QUICK = Design(
    spend=Spend(ddpm=180, distill=60, flow=350, cascade=200, heads=4, solver=9),
    cheap=("pca_gmm", "kde", "vae", "mixup", "affine", "blur", "elastic", "thin", "cutmix", "occluded"),
)
TINY = Spend(ddpm=2, distill=2, flow=2, cascade=2, solver=2, few=1)
DESIGNS: dict[Size, Design] = {
    "smoke": Design(
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
    "full": Design(
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
"""Statistic, gate and thresholds were settled on worlds below 100, and those from 1000 on were judged before the worlds
were corrected: no judged one is among them."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Generators, then models, then measures: pictures and answers are files, and what is there is not made again."""
    design = DESIGNS[recipe.size]
    seeds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + recipe.seeds)
    folder = (run.path / "artifacts").resolve()
    draws = [Job(seed, family, design, folder) for family in FAMILIES for seed in seeds]
    trainings = [Job(seed, source, design, folder) for seed in seeds for source in design.sources]
    make_files(recipe, run, draws, draw_pictures, _drawn, "generators x seeds")
    make_files(recipe, run, trainings, train_models, _trained, "sources x seeds")
    jobs = [SeedJob(seed, design, folder) for seed in seeds]
    cells = run_cells(recipe, run, jobs, measure, SeedCell, "seeds measured", areas)
    return Outcome(judge_cells(cells), sections(cells, design, folder), glance(cells))


def areas(cell: SeedCell) -> dict[str, float]:
    """Area under the curve of each statistic, sources hidden."""
    return {re.sub(r"\W+", "_", name).strip("_"): area.hidden for name, area in cell.auc.items()}


def _drawn(job: Job) -> Path:
    """The last file that a family's item writes."""
    last = {"ddpm": "twin", "cheap": job.design.cheap[-1]}
    return path(job, "pictures", last.get(job.name, job.name))


def _trained(job: Job) -> Path:
    return path(job, "answers", job.name)


STUDY = Study(
    title="TrainProVe: whose generator made a classifier's training pictures, against the published rule",
    run=run,
)
