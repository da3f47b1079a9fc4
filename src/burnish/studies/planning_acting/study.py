"""Study of planning-acting: when are agents that plan while they act faster, safer and stronger than those that take
turns, and what does it cost?

Scripted policies with a latency of their own play in the embedded world; a cell is one world, in which every arm plays
(``arms.py``). Bounds: ``theory.py``. Claims, written before any judged run: ``claims.py``, ``fight_claims.py``. Source:
Parallelized Planning-Acting (AAMAS 2026).
"""

from __future__ import annotations

from burnish.core.cells import run_cells
from burnish.core.run import Run
from burnish.core.study import Outcome, Size, Study, StudyRecipe
from burnish.studies.planning_acting.arms import Design
from burnish.studies.planning_acting.experiment import Job, play_world
from burnish.studies.planning_acting.fight_claims import judge_worlds
from burnish.studies.planning_acting.records import World
from burnish.studies.planning_acting.report import glance, sections

ALL = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
DESIGNS: dict[Size, Design] = {
    "smoke": Design(
        worlds=1,
        ratios=(1.0,),
        moving=(1.0,),
        pieces=8,
        hostile_pieces=8,
        team_pieces=4,
        teams=(2,),
        boss=(4.0,),
        duel=(4.0,),
        limit=90,
    ),
    "tour": Design(ratios=(0.5, 1.0, 2.0), moving=(1.0,), pieces=32, hostile_pieces=16, teams=(1, 4), limit=450),
    "quick": Design(),
    "full": Design(worlds=4, ratios=ALL, moving=ALL, duel=(1.0, 4.0, 8.0, 16.0)),
}
"""What each size plays: ``quick`` has two worlds a seed, so six with its three seeds."""

FIRST_SEED = 5000
"""Worlds of smaller seeds were looked at while this study, or one of those before it, was built: seeds below 1000; from
1000 on with a serial team that its reflexes only stopped; from 2000 on with a planner that thought all the time; 4000
to 4047 (24 seeds of two worlds) while the runtime and some claims still changed. So the judged ones begin at 5000, and
how many seeds there are at most is fixed beforehand too: 24 (``--until-decided --max-seeds 24``)."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """World by world, then the claims."""
    design = DESIGNS[recipe.size]
    first = FIRST_SEED + recipe.seed
    jobs = [Job(first + number, design) for number in range(recipe.seeds * design.worlds)]
    worlds = run_cells(recipe, run, jobs, play_world, World, "worlds")
    return Outcome(judge_worlds(worlds), sections(worlds, design), glance(worlds))


STUDY = Study(
    title="When agents that plan while they act are faster than agents that take turns: L/A, moving worlds, fights",
    run=run,
)
