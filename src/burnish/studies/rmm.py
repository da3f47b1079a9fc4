"""Study of Reinforced Model Merging: does a layer-wise search beat tuned uniform merges, at what cost, against what rivals?

Tiny vision transformers are trained from scratch and merged (``burnish.testbeds.experts``); a cell is one regime and seed.
The claims are written down in ``rmm_claims.py``, the arms in ``rmm_cell.py``. Source: arXiv:2503.21272.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from burnish.core.parallel import executor
from burnish.core.run import Run
from burnish.studies.claims import Outcome, Results, Size, Study, StudyRecipe
from burnish.studies.rmm_cell import ARMS, SUBSET_ARMS, Cell, Plan, run_cell
from burnish.studies.rmm_claims import judge_cells
from burnish.studies.rmm_report import sections
from burnish.testbeds.experts import Budget

QUICK = Plan(
    regimes=("two", "half"),
    # the arms that a claim speaks of; `full` has all
    arms=("published", "mended", "cma", "random", *SUBSET_ARMS),
    budget=160,
    tuning=60,
    world=Budget(),
    probes=8,
    repeats=5,
)
PLANS: dict[Size, Plan] = {
    "smoke": Plan(
        regimes=("two",),
        arms=(*ARMS, *SUBSET_ARMS),
        budget=4,
        tuning=3,
        world=Budget(pretraining=2, finetuning=0.02, validation=200, test=50),
        probes=4,
        repeats=1,
    ),
    "tour": Plan(
        regimes=("two",),
        arms=("published", "mended", "cma", "greedy"),
        budget=60,
        tuning=30,
        world=Budget(validation=600),
        probes=12,
        repeats=3,
    ),
    "quick": QUICK,
    "full": dataclasses.replace(
        QUICK, regimes=("two", "half", "far"), arms=(*ARMS, *SUBSET_ARMS), probes=60, repeats=20
    ),
}
"""What each size spends. ``quick`` takes the first two regimes of the specification's list."""


FIRST_SEED = 1000
"""Worlds 0 and 100 were looked at while the length of their training was settled: no judged one is among them."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Every cell through the executor, then the claims. An interrupted study goes on with the first cell it lacks."""
    plan = PLANS[recipe.size]
    # seed by seed, so that an interrupted study has whole seeds; the regime of most experts, which takes longest, first
    seeds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + recipe.seeds)
    cells = [Cell(regime, seed, plan) for seed in seeds for regime in reversed(plan.regimes)]
    done = Results()
    start = run.restore(done)
    left = cells[start:]
    with executor(recipe.executor, max(1, min(recipe.workers, len(left))), recipe.ray_address) as pool:
        found = pool.map(run_cell, left)
        for step, result in enumerate(run.progress(found, "regimes x seeds", total=len(left)), start):
            done.results.append(result)
            run.log(step, **gains(result))
            run.checkpoint(step, done)
    run.artifact("cells.json", done.results)
    return Outcome(judge_cells(done.results), sections(done.results, plan.budget, plan.tuning))


def gains(result: dict[str, Any]) -> dict[str, float]:
    """Test accuracy of each arm minus the tuned uniform merge's, in points."""
    tuned = result["merges"]["tuned"]["test"]
    return {arm.replace(" ", "_").replace(",", ""): found["test"] - tuned for arm, found in result["arms"].items()}


STUDY = Study(
    title="Reinforced Model Merging: layer-wise search against tuned uniform merges, at equal budget",
    run=run,
)
