"""Study of Reinforced Model Merging: does a layer-wise search beat tuned uniform merges, at what cost, against what
rivals?

Tiny vision transformers are trained from scratch and merged (``burnish.testbeds.experts``); a cell is one regime and
seed. The claims are written down in ``claims.py``, the arms in ``experiment.py``. Source: arXiv:2503.21272.
"""

from __future__ import annotations

import dataclasses

from burnish.core.cells import run_cells
from burnish.core.run import Run
from burnish.core.study import Outcome, Size, Study, StudyRecipe
from burnish.studies.rmm.claims import judge_cells
from burnish.studies.rmm.experiment import ARMS, Design, Job, run_cell
from burnish.studies.rmm.records import Cell
from burnish.studies.rmm.report import glance, sections
from burnish.testbeds.experts import Budget

QUICK = Design(
    regimes=("two", "half"),
    # the arms that a claim speaks of; `full` has all
    arms=("published", "corrected", "cma", "random"),
    budget=160,
    tuning=60,
    world=Budget(),
    probes=8,
    repeats=5,
)
DESIGNS: dict[Size, Design] = {
    "smoke": Design(
        regimes=("two",),
        arms=tuple(ARMS),
        budget=4,
        tuning=3,
        world=Budget(pretraining=2, finetuning=0.02, validation=200, test=50),
        probes=4,
        repeats=1,
    ),
    "tour": Design(
        regimes=("two",),
        arms=("published", "corrected", "cma", "greedy"),
        budget=60,
        tuning=30,
        world=Budget(validation=600),
        probes=12,
        repeats=3,
    ),
    "quick": QUICK,
    "full": dataclasses.replace(QUICK, regimes=("two", "half", "far"), arms=tuple(ARMS), probes=60, repeats=20),
}
"""What each size spends. ``quick`` takes the first two regimes of the specification's list."""


FIRST_SEED = 1000
"""Worlds 0 and 100 were looked at while the length of their training was settled: no judged one is among them."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Every cell, then the claims."""
    design = DESIGNS[recipe.size]
    # seed by seed, so that an interrupted study has whole seeds; the regime of most experts, which takes longest, first
    seeds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + recipe.seeds)
    jobs = [Job(regime, seed, design) for seed in seeds for regime in reversed(design.regimes)]
    cells = run_cells(recipe, run, jobs, run_cell, Cell, "regimes x seeds", gains)
    return Outcome(judge_cells(cells), sections(cells, design.budget, design.tuning), glance(cells))


def gains(cell: Cell) -> dict[str, float]:
    """Test accuracy of each arm minus the tuned uniform merge's, in points."""
    tuned = cell.test("tuned")
    return {name.replace(" ", "_").replace(",", ""): arm.test - tuned for name, arm in cell.arms.items()}


STUDY = Study(
    title="Reinforced Model Merging: layer-wise search against tuned uniform merges, at equal budget",
    run=run,
)
