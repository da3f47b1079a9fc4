"""Study of planning-acting: are agents that plan while they act faster, safer and stronger than those that take turns?

Scripted policies with a latency of their own play in the embedded world; a cell is one world, in which every arm plays
(``experiment.py``). The claims are written down in ``claims.py``. Source: Parallelized Planning-Acting (AAMAS 2026).
"""

from __future__ import annotations

from burnish.core.cells import run_cells
from burnish.core.run import Run
from burnish.core.study import Outcome, Size, Study, StudyRecipe
from burnish.studies.planning_acting.claims import judge_worlds
from burnish.studies.planning_acting.experiment import Design, Job, play_world
from burnish.studies.planning_acting.records import World
from burnish.studies.planning_acting.report import glance, sections

DESIGNS: dict[Size, Design] = {
    "smoke": Design(worlds=1, latencies=(4.0,), judged=4.0, teams=(2,), limit=150.0, duel=(4.0,)),
    "tour": Design(worlds=2),
    "quick": Design(),
    "full": Design(worlds=20, duel=(1.0, 4.0, 8.0, 16.0)),
}
"""What each size plays: ``quick`` has eight worlds a seed, so 24 with its three seeds."""

FIRST_SEED = 2000
"""Worlds of smaller seeds were looked at: below 1000 while the study was built; from 1000 on they were judged with a
serial team that its reflexes only stopped. That was corrected, the arms without any reflex were added, and the same
claims are judged in new worlds."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """World by world, then the claims."""
    design = DESIGNS[recipe.size]
    first = FIRST_SEED + recipe.seed
    jobs = [Job(first + number, design) for number in range(recipe.seeds * design.worlds)]
    worlds = run_cells(recipe, run, jobs, play_world, World, "worlds")
    return Outcome(judge_worlds(worlds), sections(worlds, design), glance(worlds))


STUDY = Study(
    title="Agents that plan while they act against agents that take turns: gathering, a boss, two teams",
    run=run,
)
