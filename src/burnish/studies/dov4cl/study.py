"""Study of dataset ownership (DOV4CL): are thieves found, are the innocent left alone, by the published test and by
ours?

Encoders are trained from scratch on small pictures; a cell is one owner in one seed, method, collection and length of
training (``experiment.py``). The claims are written down in ``claims.py``. Source: DOV4CL, ICLR 2025.
"""

from __future__ import annotations

import dataclasses

from burnish.core.cells import make_files, run_cells
from burnish.core.run import Run
from burnish.core.study import Outcome, Size, Study, StudyRecipe
from burnish.prove.contrastive.train import train_encoder
from burnish.studies.dov4cl.claims import judge_cells
from burnish.studies.dov4cl.experiment import Design, Job, Setting, judge_owner, trainings
from burnish.studies.dov4cl.records import OwnerCell
from burnish.studies.dov4cl.report import glance, sections

QUICK = Design(objectives=("simclr",), data=("mnist",), owners=16, images=50, epochs=(400,), replicas=3)
DESIGNS: dict[Size, Design] = {
    "smoke": Design(
        objectives=("simclr",), data=("digits",), owners=4, images=40, epochs=(3,), replicas=1, draws=99, rounds=4
    ),
    "tour": dataclasses.replace(QUICK, owners=5, epochs=(300,), replicas=2),
    "quick": QUICK,
    "full": dataclasses.replace(
        QUICK,
        objectives=("simclr", "byol", "simsiam", "moco_v3", "dino"),
        data=("mnist", "digits", "emoji", "clipart"),
        owners=8,
        epochs=(150, 600),
    ),
}
"""What each size spends. ``quick`` trains 19 encoders a seed; ``full`` asks how the power grows with training, for five
methods and four collections."""

FIRST_SEED = 1000
"""Smaller seeds were looked at while views, pictures and length of training were settled: no judged one is among
them."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Train every encoder, then judge every owner."""
    design = DESIGNS[recipe.size]
    seeds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + recipe.seeds)
    settings = [
        Setting(seed, objective, data, epochs, design, run.path / "artifacts" / "encoders")
        for seed in seeds
        for data in design.data
        for objective in design.objectives
        for epochs in design.epochs
    ]
    if not run.finished:  # to draw a finished study again, its encoders are not needed
        tasks = [task for setting in settings for task in trainings(setting)]
        make_files(recipe, run, tasks, train_encoder, lambda task: task.folder / "config.json", "encoders")
    jobs = [Job(setting, owner) for setting in settings for owner in range(design.owners)]
    cells = run_cells(recipe, run, jobs, judge_owner, OwnerCell, "owners judged", rates)
    return Outcome(judge_cells(cells), sections(cells), glance(cells))


def rates(cell: OwnerCell) -> dict[str, float]:
    """p of the owner's thief, and the share of innocents that the image test accuses at .05."""
    innocent = [row.accused("image") for row in cell.suspects if not row.guilty]
    thief = next(row.p["image"] for row in cell.suspects if row.guilty)
    return {"thief_p": thief, "accused": sum(innocent) / len(innocent)}


STUDY = Study(
    title="Dataset ownership: thieves found and innocents accused, by the published test and by a permutation test",
    run=run,
)
