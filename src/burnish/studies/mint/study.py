"""Study of MINT: whether it pays to plan, to correct, and to part experts, at equal CPU seconds of training.

A cell is a model of one seed: trained, drawn with in all its ways, judged exactly on scenes that training has not seen
(``experiment.py``). Claims, written before any judged run: ``claims.py``. Source: MINT (arXiv 2503.01298).
"""

from __future__ import annotations

from typing import NamedTuple

from burnish.core.cells import run_cells
from burnish.core.run import Run
from burnish.core.study import Outcome, Size, Study, StudyRecipe
from burnish.studies.mint.arms import TWINS, Spending, world_of
from burnish.studies.mint.claims import judge_cells
from burnish.studies.mint.experiment import ModelJob, run_model
from burnish.studies.mint.records import DENSE, FUNCTION, MODALITY, PLAIN, REAL, REAL_PLAIN, REFINED, WIDE, ModelCell
from burnish.studies.mint.report import glance, sections


class Design(NamedTuple):
    """What a size trains, and for how long."""

    spending: Spending = Spending()
    models: tuple[str, ...] = (PLAIN, FUNCTION, REFINED)


DESIGNS: dict[Size, Design] = {
    "smoke": Design(
        Spending(seconds=0.5, prompts=7, scenes=64, drafts=4, width=32, layers=2, batch=4),
        (PLAIN, FUNCTION, REFINED, DENSE),
    ),
    "tour": Design(Spending(seconds=60.0, prompts=28, drafts=96), (PLAIN, FUNCTION)),
    "quick": Design(),
    "full": Design(models=(PLAIN, FUNCTION, REFINED, DENSE, MODALITY, WIDE, REAL, REAL_PLAIN)),
}
"""What each size spends: `full` as much as `quick` a model. It trains those of `quick` too, so that what it stores
answers every claim. Shapes everywhere; of emoji and stamps `full` trains two models."""

FIRST_SEED = 1200
"""Seeds below were looked at: while lengths of training were settled; 1000 to 1002 in a first judged run, of 180
seconds a model; 1100 to 1102 in a second, whose models learnt to reflect on drafts with a plan only (docs/mint.md)."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Every model of each seed."""
    design = DESIGNS[recipe.size]
    first = FIRST_SEED + recipe.seed
    if not run.finished:
        for model in TWINS.keys() & set(design.models):
            world_of(model)  # here, lest two processes fetch the pictures at once; and if they are missing, at once
    jobs = [
        ModelJob(seed, model, design.spending)
        for seed in range(first, first + recipe.seeds)  # seed by seed, so that more seeds come after those done
        for model in design.models
    ]
    cells = run_cells(recipe, run, jobs, run_model, ModelCell, "models")
    return Outcome(judge_cells(cells), sections(cells), glance(cells))


STUDY = Study(
    title="MINT: a plan before the picture, a look after it, and experts by function, at equal CPU time", run=run
)
