"""Study of planning-acting: are agents that plan while they act faster, safer and stronger than those that take turns?

Scripted policies with a latency of their own play in the embedded world; a cell is one world, in which every arm plays
(``planning_acting_cell.py``). The claims are written down in ``planning_acting_claims.py``. Source: Parallelized
Planning-Acting (AAMAS 2026).
"""

from __future__ import annotations

from burnish.core.parallel import executor
from burnish.core.run import Run
from burnish.studies.claims import Outcome, Results, Size, Study, StudyRecipe
from burnish.studies.planning_acting_cell import Job, Plan, play_world
from burnish.studies.planning_acting_claims import judge_worlds
from burnish.studies.planning_acting_report import sections

PLANS: dict[Size, Plan] = {
    "smoke": Plan(worlds=1, latencies=(4.0,), judged=4.0, teams=(2,), limit=150.0, duel=(4.0,)),
    "tour": Plan(worlds=2),
    "quick": Plan(),
    "full": Plan(worlds=20, duel=(1.0, 4.0, 8.0, 16.0)),
}
"""What each size plays: ``quick`` has eight worlds a seed, so 24 with its three seeds."""

FIRST_SEED = 2000
"""Worlds of smaller seeds were looked at: below 1000 while the study was built; from 1000 on they were judged with a serial team that
its reflexes only stopped. That was mended, the arms without any reflex were added, and the same claims are judged in new worlds.
"""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """World by world; an interrupted study goes on with the first that it lacks."""
    plan = PLANS[recipe.size]
    first = FIRST_SEED + recipe.seed
    jobs = [Job(first + number, plan) for number in range(recipe.seeds * plan.worlds)]
    done = Results()
    start = run.restore(done)
    with executor(recipe.executor, max(1, min(recipe.workers, len(jobs))), recipe.ray_address) as pool:
        found = pool.map(play_world, jobs[start:])
        for step, world in enumerate(run.progress(found, "worlds", total=len(jobs) - start), start):
            done.results.append(world)
            run.log(step, done=step + 1)
            run.checkpoint(step, done)
    run.artifact("worlds.json", done.results)
    return Outcome(judge_worlds(done.results), sections(done.results, plan))


STUDY = Study(
    title="Agents that plan while they act against agents that take turns: gathering, a boss, two teams",
    run=run,
)
