"""Study of dataset ownership (DOV4CL): are thieves found, are the innocent left alone, by the published test and by ours?

Encoders are trained from scratch on small pictures; a cell is one seed, method, collection and length of training
(``dov4cl_cell.py``). The claims are written down in ``dov4cl_claims.py``. Source: DOV4CL, ICLR 2025.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from burnish.core.errors import Interrupted
from burnish.core.parallel import executor, one_thread
from burnish.core.run import Run
from burnish.prove.contrastive.train import train_encoder
from burnish.studies.claims import Outcome, Results, Size, Study, StudyRecipe
from burnish.studies.dov4cl_cell import Cell, Plan, judge_owner, trainings
from burnish.studies.dov4cl_claims import judge_cells
from burnish.studies.dov4cl_report import sections

QUICK = Plan(objectives=("simclr",), data=("mnist",), owners=16, images=50, epochs=(400,), replicas=3)
PLANS: dict[Size, Plan] = {
    "smoke": Plan(
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
"""What each size spends. ``quick`` trains 19 encoders a seed; ``full`` asks how the power grows with training, for five methods and four collections."""

FIRST_SEED = 1000
"""Smaller seeds were looked at while views, pictures and length of training were settled: no judged one is among them."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Train every encoder, then judge every owner; an interrupted study goes on with the first it lacks."""
    plan = PLANS[recipe.size]
    seeds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + recipe.seeds)
    cells = [
        Cell(seed, objective, data, epochs, plan, run.path / "artifacts" / "encoders")
        for seed in seeds
        for data in plan.data
        for objective in plan.objectives
        for epochs in plan.epochs
    ]
    done = Results()
    start = run.restore(done)
    questions = [(cell, owner) for cell in cells for owner in range(plan.owners)]
    left = questions[start:]
    tasks = [task for cell in cells for task in trainings(cell)] if left else []
    workers = max(1, min(recipe.workers, len(tasks)))
    with one_thread(), executor(recipe.executor, workers, recipe.ray_address) as pool:
        # a trained encoder is a file of its own: what is there is not trained again
        for _ in run.progress(pool.map(train_encoder, tasks), "encoders trained", total=len(tasks)):
            if run.stop_requested:
                raise Interrupted(f"{run.path}: stopped between encoders; the same command goes on", run.stop_signal)
        found = pool.map(judge_owner, left)
        for step, result in enumerate(run.progress(found, "owners judged", total=len(left)), start):
            cell = questions[step][0]
            done.results.append(
                {"seed": cell.seed, "objective": cell.objective, "data": cell.data, "epochs": cell.epochs, **result}
            )
            run.log(step, **rates(result))
            run.checkpoint(step, done)
    run.artifact("owners.json", done.results)
    return Outcome(judge_cells(done.results), sections(done.results))


def rates(result: dict[str, Any]) -> dict[str, float]:
    """p of the owner's thief, and the share of innocents that the image test accuses at .05."""
    innocent = [row["image"] <= 0.05 for row in result["suspects"] if not row["guilty"]]
    thief = next(row["image"] for row in result["suspects"] if row["guilty"])
    return {"thief_p": thief, "accused": sum(innocent) / len(innocent)}


STUDY = Study(
    title="Dataset ownership: thieves found and innocents accused, by the published test and by a permutation test",
    run=run,
)
