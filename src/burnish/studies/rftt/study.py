"""Study of RFTT: what functional tokens are worth against the same data without them.

A world has a base model of its own, which is taught the same solutions in three forms (``world.py``); then arms search,
mend and are reinforced for the same tokens (``search_part.py``, ``mend_part.py``, ``reinforce_part.py``). Theory:
``theory.py``. Claims, written before any judged run: ``claims.py``. Source: RFTT (ICLR 2026).
"""

from __future__ import annotations

from typing import NamedTuple

from burnish.core.cells import make_files, run_cells
from burnish.core.run import Run
from burnish.core.study import Outcome, Size, Study, StudyRecipe
from burnish.studies.rftt.claims import judge_cells
from burnish.studies.rftt.mend_part import MendDesign, MendJob, mend_world
from burnish.studies.rftt.models import SINGLE, TAUGHT, ModelJob, make_model, seconds_file
from burnish.studies.rftt.records import BARE, NO_PRM, Cell
from burnish.studies.rftt.reinforce_part import ARMS, JUDGED, ReinforceDesign, ReinforceJob, reinforce_arm
from burnish.studies.rftt.report import glance, sections
from burnish.studies.rftt.search_part import SearchDesign, SearchJob, search_world
from burnish.studies.rftt.world import Shape


class Design(NamedTuple):
    """What a size spends on a world.

    Attributes:
        shape: of the base model.
        tokens: of supervised training of each form; where a single way exists, ``single_tokens``.
        single_tokens: fewer, or nothing would be left to solve.
        search: first part.
        mend: second part.
        reinforce: third part.
    """

    shape: Shape = Shape()
    tokens: int = 128_000
    single_tokens: int = 24_000
    search: SearchDesign = SearchDesign()
    mend: MendDesign = MendDesign()
    reinforce: ReinforceDesign = ReinforceDesign()


DESIGNS: dict[Size, Design] = {
    "smoke": Design(
        Shape(16, 1, 4),
        1_500,
        500,
        SearchDesign(questions=8, temperatures=(1.0,), samples=2, late_rounds=2),
        MendDesign(searched=12, tokens=1_500, questions=8, voted=4, rollouts=(1, 2)),
        ReinforceDesign(arms=(*JUDGED, "bare, least certain"), rates=(3e-4,), tokens=(200, 400), questions=2, tests=8),
    ),
    "tour": Design(
        Shape(steps=450),
        search=SearchDesign(questions=150, temperatures=(1.0,)),
        mend=MendDesign(questions=150, voted=60),
        reinforce=ReinforceDesign(arms=(NO_PRM, BARE), rates=(3e-4,), tokens=(10_000, 20_000)),
    ),
    "quick": Design(),
    "full": Design(Shape(128, 4), reinforce=ReinforceDesign(arms=tuple(ARMS))),
}
"""What each size spends. Models have .14 M parameters, what trains in the time of ``quick``, and 1.07 M in ``full``,
which gives them the same steps and tokens, and more arms."""

FIRST_SEED = 1000
"""Worlds below were looked at while rates, budgets and lengths of training were settled: at learning rates of 6e-4 and
more nearly every arm of reinforcement fell below its start there, so the grid of ``quick`` ends below."""


def run(recipe: StudyRecipe, run: Run) -> Outcome:
    """Base models, then what they are taught, then the three parts of each world."""
    design = DESIGNS[recipe.size]
    folder = (run.path / "artifacts" / "models").resolve()
    worlds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + recipe.seeds)
    if not run.finished:  # to draw a finished study again, its models are not needed
        bases = [ModelJob(world, "base", design.shape, 0, folder) for world in worlds]
        taught = [
            ModelJob(world, name, design.shape, design.single_tokens if SINGLE in name else design.tokens, folder)
            for world in worlds
            for name in TAUGHT
        ]
        make_files(recipe, run, bases, make_model, seconds_file, "base models")
        make_files(recipe, run, taught, make_model, seconds_file, "taught models")
    jobs: list[Job] = []
    for world in worlds:  # seed by seed, so that more seeds come after those that are done
        jobs += [SearchJob(world, design.search, folder), MendJob(world, design.mend, folder)]
        jobs += [ReinforceJob(world, arm, design.reinforce, folder) for arm in design.reinforce.arms]
    cells = run_cells(recipe, run, jobs, carry_out, Cell, "parts of worlds")
    return Outcome(judge_cells(cells), sections(cells), glance(cells))


Job = SearchJob | MendJob | ReinforceJob


def carry_out(job: Job) -> Cell:
    """One item, of any part."""
    if isinstance(job, SearchJob):
        return search_world(job)
    return mend_world(job) if isinstance(job, MendJob) else reinforce_arm(job)


STUDY = Study(
    title="RFTT: searching, mending and reinforcing with functional tokens, against the same data without them",
    run=run,
)
