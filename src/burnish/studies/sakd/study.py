"""Study of SAKD: whether easy and diverse subsets and adaptive strength pay, where something could be won by choosing.

A world has samples, a teacher who knows more, and students (``world.py``); in a regime something is wrong with the
samples or the teacher (``experiment.py``), and all arms (``arms.py``) train the same student for the same FLOPs, frozen
passes and the teacher's table included, and again for the same updates. Claims, written before any judged run:
``claims.py``. Source: SAKD (ACM Multimedia 2025).
"""

from __future__ import annotations

from typing import NamedTuple

from burnish.core.cells import make_files, run_cells
from burnish.core.run import Run
from burnish.core.study import Outcome, Size, Study, StudyRecipe
from burnish.studies.sakd.arms import ARMS, Spending
from burnish.studies.sakd.claims import judge_cells
from burnish.studies.sakd.experiment import RegimeJob, run_regime
from burnish.studies.sakd.records import CE, FULL, PERTURBED, SAKD, Regime, RegimeCell
from burnish.studies.sakd.report import glance, sections
from burnish.studies.sakd.world import CROWD, Kind, WorldDesign, WorldJob, facts_file, make_world


class Design(NamedTuple):
    """What a size spends on a world.

    Attributes:
        world: samples and models.
        spending: on a student.
        crowded: where there are :data:`~burnish.studies.sakd.world.CROWD` times as many samples: as many in an epoch.
        tuned: where a tenth of the samples make an epoch.
        pictures: on a vision transformer.
        arms: of each regime.
    """

    world: WorldDesign = WorldDesign()
    spending: Spending = Spending()
    crowded: Spending = Spending(share=0.25 / CROWD)
    tuned: Spending = Spending(epochs=40, share=0.1, batch=12, learning_rate=6e-3)
    pictures: Spending = Spending(batch=15, learning_rate=2e-3)
    arms: dict[Regime, tuple[str, ...]] = ARMS


_FEW = ((4.0, 0.9),)
_SHORT = Spending(epochs=2, share=0.5, interval=1, batch=6, grid=_FEW)
DESIGNS: dict[Size, Design] = {
    "smoke": Design(
        WorldDesign(samples=24, validation=16, tests=16, student=4, teacher=8, steps=200),
        _SHORT,
        _SHORT,
        _SHORT,
        _SHORT,
    ),
    "tour": Design(
        spending=Spending(grid=_FEW),
        crowded=Spending(share=0.25 / CROWD, grid=_FEW),
        arms={"clean": (CE, FULL, SAKD, PERTURBED), "duplicates": (CE, PERTURBED), "wrong teacher": (CE, PERTURBED)},
    ),
    "quick": Design(),
    "full": Design(
        WorldDesign(samples=960, validation=1000, tests=2000, side=32, student=12, teacher=40, steps=4000, real=True),
        Spending(epochs=100, share=0.2, batch=16, grid=tuple((t, w) for t in (1.0, 2.0, 4.0) for w in (0.5, 0.9))),
        Spending(epochs=100, share=0.2 / CROWD, batch=16),
        Spending(epochs=100, share=0.1, batch=16, learning_rate=3e-3),
        Spending(epochs=100, share=0.2, batch=16, learning_rate=2e-3),
    ),
}
"""What each size spends."""

FIRST_SEED = 1000
"""Worlds below were looked at while models, grids and lengths of training were settled."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Samples and teachers, then every regime of each world."""
    design = DESIGNS[recipe.size]
    folder = (run.path / "artifacts" / "worlds").resolve()
    worlds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + recipe.seeds)
    jobs = [
        RegimeJob(WorldJob(world, _kind(regime), design.world, folder), regime, _spending(design, regime), arms)
        for world in worlds  # seed by seed, so that more seeds come after those that are done
        for regime, arms in design.arms.items()
    ]
    if not run.finished:  # to draw a finished study again, its worlds are not needed
        make_files(recipe, run, list(dict.fromkeys(job.world for job in jobs)), make_world, facts_file, "worlds")
    cells = run_cells(recipe, run, jobs, run_regime, RegimeCell, "regimes")
    return Outcome(judge_cells(cells), sections(cells), glance(cells))


def _kind(regime: Regime) -> Kind:
    return "pictures" if regime == "pictures" else "clips"


def _spending(design: Design, regime: Regime) -> Spending:
    crowded = dict.fromkeys(("duplicates", "long tail"), design.crowded)
    return {**crowded, "pre-trained": design.tuned, "pictures": design.pictures}.get(regime, design.spending)


STUDY = Study(
    title="SAKD: easy and diverse subsets and adaptive strength, against fresh random subsets at the same cost",
    run=run,
)
