"""A study of any method: one recipe in several arms, seed by seed, and claims about paired differences between them.

An arm is the recipe with some settings changed. All arms of a seed start from that seed, so that a difference is taken
within it. Knows recipes, runs and studies; knows no method.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.cells import Record, run_cells
from burnish.core.errors import Interrupted, UserError
from burnish.core.findings import paired
from burnish.core.intervals import interval_of
from burnish.core.method import load_recipe
from burnish.core.report import Section, subplots
from burnish.core.run import Run
from burnish.core.study import Glance, Measured, Outcome, Rule, Size, Study, StudyRecipe
from burnish.core.study_picture import Dots, draw_dots, small_bars


@dataclass(frozen=True)
class Gain:
    """A claim, written down before the run: one arm scores above another.

    Attributes:
        name: of the claim, within its study.
        claim: in words.
        ours: the arm that is claimed to be better.
        baseline: the arm that it is held against.
        bound: by how much more than this; 0: better at all.
        paper: a published figure to show beside ours.
    """

    name: str
    claim: str
    ours: str
    baseline: str
    bound: float = 0.0
    paper: str = "-"


class ArmScore(Record):
    """What one arm scored at one seed."""

    seed: int
    arm: str
    score: float


@dataclass(frozen=True)
class _Job:
    recipe: str | Path | Mapping[str, Any]
    overrides: Mapping[str, Any]
    arm: str
    seed: int
    folder: Path
    score: Callable[[Path], float]
    allow_changed_code: bool


def study_of_arms(
    title: str,
    recipe: str | Path | Mapping[str, Any],
    arms: Mapping[str, Mapping[str, Any]],
    score: Callable[[Path], float],
    claims: Sequence[Gain],
    *,
    of: str = "score",
    sizes: Mapping[Size, Mapping[str, Any]] | None = None,
) -> Study:
    """A study for ``burnish study module:STUDY``: every arm at every seed, then the claims.

    Examples:
        >>> STUDY = study_of_arms(
        ...     "What the teacher adds",
        ...     {"method": "distil:METHOD"},
        ...     {"taught": {}, "labels only": {"alpha": 0}},
        ...     accuracy,
        ...     [Gain("teacher", "A teacher makes the student better", ours="taught", baseline="labels only")],
        ... )

    Args:
        title: one line.
        recipe: of any method: a file, the name of a shipped one, or settings. Its seed is replaced.
        arms: by name, the settings that differ (dotted keys); give each the same budget, or say so in the claim.
        score: from the folder of a finished run to a number, higher is better; a function of a module, so that worker
            processes find it.
        claims: each is judged from the 95 % interval of the mean difference between two arms over the seeds, paired.
        of: what the score is, in words, for the rules.
        sizes: settings of a size of the study, for all arms, for example fewer steps in ``smoke``.

    Raises:
        ValueError: fewer than two arms, or a claim about an arm that there is not.
    """
    unknown = {name for claim in claims for name in (claim.ours, claim.baseline)} - arms.keys()
    if len(arms) < 2 or unknown:
        raise ValueError(f"a study compares two arms or more; there are {sorted(arms)}, and no {sorted(unknown)}")

    folders = _folders(list(arms))

    def run(asked: StudyRecipe, study_run: Run) -> Outcome:
        jobs = [
            _Job(
                recipe,
                {**(sizes or {}).get(asked.size, {}), **changed, "seed": seed},
                arm,
                seed,
                study_run.path / "artifacts" / "runs" / f"{folders[arm]}-{seed}",
                score,
                study_run.allow_changed_code,
            )
            for seed in range(asked.seed, asked.seed + asked.seeds)
            for arm, changed in arms.items()
        ]
        scores = run_cells(asked, study_run, jobs, _measured, ArmScore, "arms x seeds", lambda cell: {of: cell.score})
        return _outcome(scores, list(arms), claims, of)

    return Study(title=title, run=run)


def _folders(arms: Sequence[str]) -> dict[str, str]:
    """A name for a folder each; arms that differ in signs only (``lr=1``, ``lr-1``, other scripts) are numbered."""
    plain = [re.sub(r"[^A-Za-z0-9]+", "-", arm) for arm in arms]
    return {
        arm: name if plain.count(name) == 1 else f"{name}.{number}"
        for number, (arm, name) in enumerate(zip(arms, plain, strict=True))
    }


def _measured(job: _Job) -> ArmScore:
    """One run of one arm, or the rest of it; its score."""
    method, asked = load_recipe(job.recipe, job.overrides)
    with Run(asked, job.folder, allow_changed_code=job.allow_changed_code, quiet=True) as run:
        if not run.finished:
            run.value = method.load("run")(asked, run)
        if run.stop_requested:  # it came after the last checkpoint: who runs the study has not heard of it
            raise Interrupted(f"{run.path}: stopped; the same command goes on", run.stop_signal)
    found = job.score(job.folder)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        name = getattr(job.score, "__name__", "score")
        raise UserError(f"study: {name} gave {str(found)[:80]} for {job.folder}; it gives a finite number")
    return ArmScore(seed=job.seed, arm=job.arm, score=float(found))


def _outcome(scores: Sequence[ArmScore], arms: Sequence[str], claims: Sequence[Gain], of: str) -> Outcome:
    seeds = sorted({cell.seed for cell in scores})
    by_seed = [{cell.arm: cell.score for cell in scores if cell.seed == seed} for seed in seeds]
    questions = [
        Measured(
            claim.name,
            claim.claim,
            claim.paper,
            Rule(f"{of} of {claim.ours} minus that of {claim.baseline}", bound=claim.bound, over="seeds"),
            paired(by_seed, _of(claim.ours), _of(claim.baseline)),
        )
        for claim in claims
    ]
    means = {arm: sum(row[arm] for row in by_seed) / len(by_seed) for arm in arms}
    rows = [
        {"seed": seed, **{arm: f"{row[arm]:.4g}" for arm in arms}} for seed, row in zip(seeds, by_seed, strict=True)
    ]
    rows.append({"seed": "mean", **{arm: f"{mean:.4g}" for arm, mean in means.items()}})
    figure, grid = subplots(1, 1, width=6.0, height=0.8 + 0.5 * len(arms))
    values = {arm: [row[arm] for row in by_seed] for arm in arms}
    draw_dots(
        grid[0, 0], [Dots(arm, interval_of("mean", found), {"": found}) for arm, found in values.items()], "{:.4g}"
    )
    grid[0, 0].set_xlabel(of)
    text = f"{of} of every arm at every seed; in the picture the mean of each with its 95 % interval."
    words = f"{of}: " + ", ".join(f"{arm} {mean:.4g}" for arm, mean in means.items()) + f" (means over {len(seeds)})"
    return Outcome(questions, [Section("Arms", text, rows, figure)], Glance(words, small_bars(means, "{:.3g}")))


def _of(arm: str) -> Callable[[Mapping[str, float]], float]:
    return lambda row: row[arm]
