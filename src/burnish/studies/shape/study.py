"""Study of SHAPE: does preferring what a model agrees on with itself make its descriptions more complete, and no less
true?

A world has scenes of its own and a start of its own, a tiny vision-language model that learnt from captions which leave
things out (``world.py``); then every arm learns from the same records (``experiment.py``). Theory: ``theory.py``.
Claims, written before any judged run: ``claims.py``. Source: SHAPE (arXiv 2503.04858).
"""

from __future__ import annotations

from typing import NamedTuple

from burnish.core.cells import make_files, run_cells
from burnish.core.run import Run
from burnish.core.study import Outcome, Size, Study, StudyRecipe
from burnish.studies.shape.claims import judge_cells
from burnish.studies.shape.experiment import ArmDesign, ArmJob, train_arm
from burnish.studies.shape.records import CAPTIONS, GATED, PUBLISHED, START, Cell, Regime
from burnish.studies.shape.report import glance, sections
from burnish.studies.shape.world import WorldDesign, WorldJob, cell_file, load_start, make_start
from burnish.testbeds.scene_model import Spend


class Design(NamedTuple):
    """What a size spends on a world."""

    world: WorldDesign = WorldDesign()
    arms: ArmDesign = ArmDesign()


DESIGNS: dict[Size, Design] = {
    "smoke": Design(
        WorldDesign(
            Spend(scenes=64, seeing=3, steps=3, batch=8),
            weak=Spend(scenes=64, seeing=0, steps=2, batch=8),
            records=8,
            views=2,
            tests=6,
            validation=4,
        ),
        ArmDesign(rates=(1e-4,), supervised_rates=(1e-3,), steps=2, batch=4),
    ),
    "tour": Design(
        WorldDesign(weak=None, tests=200, validation=100),
        ArmDesign(arms=(CAPTIONS, PUBLISHED, GATED), rates=(3e-4,), supervised_rates=(3e-4,)),
    ),
    "quick": Design(),
    "full": Design(
        WorldDesign(
            Spend(seeing=3000, steps=6000),
            weak=Spend(seeing=0, steps=1200),
            records=1000,
            tests=1000,
            validation=300,
            sprites=True,
        ),
        ArmDesign(rates=(3e-5, 1e-4, 3e-4, 1e-3), supervised_rates=(1e-4, 3e-4, 1e-3), steps=125),
    ),
}
"""What each size spends: plain shapes everywhere but in ``full``, which composes real pictures."""

FIRST_SEED = 1000
"""Worlds below were looked at while the start, the grids and the lengths of training were settled."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Starts with their answers on views, then every arm of each world."""
    design = DESIGNS[recipe.size]
    folder = (run.path / "artifacts" / "starts").resolve()
    worlds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + recipe.seeds)
    regimes: tuple[Regime, ...] = ("fit",) if design.world.weak is None else ("fit", "weak")
    starts = [WorldJob(world, regime, design.world, folder) for world in worlds for regime in regimes]
    if not run.finished:  # to draw a finished study again, its models are not needed
        make_files(recipe, run, starts, make_start, cell_file, "starts")
    jobs = []
    for start in starts:  # seed by seed, so that more seeds come after those that are done
        arms = design.arms.arms if start.regime == "fit" else design.arms.weak_arms
        jobs += [ArmJob(start, arm, design.arms) for arm in (START, *arms)]
    cells = run_cells(recipe, run, jobs, carry_out, Cell, "arms")
    return Outcome(judge_cells(cells), sections(cells), glance(cells))


def carry_out(job: ArmJob) -> Cell:
    """One item: the start is measured already."""
    return load_start(job.start).cell if job.arm == START else train_arm(job)


STUDY = Study(
    title="SHAPE: preferring what a model agrees on with itself, against the same records without it",
    run=run,
)
