"""A sweep: one recipe with every combination of some settings, over seeds, and one table. Knows no method.

Each run is a run like any other, in a folder of its own below the sweep's; the sweep itself is the loop of a study
(:mod:`burnish.core.cells`), and so it resumes: runs that ended are not repeated, those that were stopped go on.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from burnish import api
from burnish.core.cells import run_cells
from burnish.core.errors import BurnishError, Interrupted, UserError
from burnish.core.launch import refuse_more_ranks
from burnish.core.method import load_recipe
from burnish.core.metrics import read_metrics
from burnish.core.paths import find_recipe
from burnish.core.recipe import Recipe
from burnish.core.recipe_source import plain, read_settings
from burnish.core.report import Section, run_report
from burnish.core.run import Run
from burnish.core.sweep_table import SweepCell, shown, table
from burnish.core.user_code import look_in
from burnish.core.yaml_marks import load_yaml

Choices = Sequence[str] | Mapping[str, Sequence[Any]]
"""What is varied: ``["lr=1e-3,1e-4"]`` as it is typed, or ``{"lr": [1e-3, 1e-4]}``."""
MOST = 10_000
"""Runs of a sweep: more is a mistake in the line."""


class SweepRecipe(Recipe):
    """What a sweep's run folder stores."""

    base: dict[str, Any]
    """The settings of the recipe that is varied, as they are written."""
    choices: dict[str, list[Any]]
    """Dotted settings, and the values that each takes; all combinations are run."""
    seeds: int = Field(default=1, ge=1)
    """Repetitions of each combination; the k-th has the recipe's seed plus k."""
    checkpoint_every: float = Field(default=0.0, ge=0)
    """A sweep's steps are whole runs: each is noted as it ends."""


@dataclass(frozen=True)
class SweepResult:
    """A sweep that ended.

    Attributes:
        path: its folder; ``artifacts/cells.json`` has every run, ``artifacts/table.json`` the table.
        report: its HTML report.
        rows: the table: a row a combination, a number as its mean over the seeds with a 95 % interval.
        cells: every run, in order.
    """

    path: Path
    report: Path
    rows: list[dict[str, Any]]
    cells: list[SweepCell]


@dataclass(frozen=True)
class _Job:
    base: dict[str, Any]
    modules: Path
    settings: dict[str, Any]
    seed: int
    path: Path
    allow_changed_code: bool


def sweep(
    recipe: str | Path | Mapping[str, Any],
    choices: Choices,
    out: str | Path | None = None,
    *,
    seeds: int = 1,
    executor: Literal["local", "ray"] = "local",
    workers: int = 2,
    ray_address: str | None = None,
    fresh: bool = False,
    allow_changed_code: bool = False,
) -> SweepResult:
    """Run or resume a sweep.

    Examples:
        >>> burnish.sweep("planning_acting/tiny", {"runtime.mode": ["parallel", "serial"]}, workers=1).rows[0]["runs"]
        1

    Args:
        recipe: a file, the name of a shipped recipe, or settings.
        choices: values of dotted settings, ``["a.b=1,2"]`` (each read as YAML) or ``{"a.b": [1, 2]}``.
        out: the sweep's folder; none: ``runs/sweep-METHOD-RECIPE``.
        seeds: repetitions of each combination.
        executor: where the runs go: processes of this machine, or a Ray cluster.
        workers: runs at a time.
        ray_address: of a Ray cluster; none: the one of ``RAY_ADDRESS``, or one that is started on this machine.
        fresh: throw an earlier sweep in that folder away first.
        allow_changed_code: go on although code that the recipe lends has changed since the sweep began.

    Raises:
        UserError: a setting or value that the recipe does not take (before anything runs); another sweep in the
            folder; code that has changed since it began; several ranks.
        Interrupted: a stop signal came; the same call goes on.
    """
    refuse_more_ranks("sweep", "executor")
    file = None if isinstance(recipe, Mapping) else find_recipe(str(recipe))
    grid = _grid(choices)
    base = read_settings(recipe if file is None else file)[0]
    modules = Path.cwd() if file is None else file.parent
    method, first = load_recipe(file or base)
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if len(combinations) * seeds > MOST:
        raise UserError(f"sweep: {len(combinations) * seeds:,} runs; at most {MOST:,}", arguments=("set", "seeds"))
    for each in combinations:
        method.require(load_recipe(file or base, each)[1])
    names = ["sweep", method.name, "" if file is None else file.stem]
    path = Path("runs") / "-".join(filter(None, names)) if out is None else Path(out)
    asked = SweepRecipe(
        method=f"sweep:{method.name}",
        base=base,
        choices=grid,
        seeds=seeds,
        executor=executor,
        workers=workers,
        ray_address=ray_address,
    )
    runs = [(each, seed) for each in combinations for seed in range(seeds)]
    jobs = [
        _Job(base, modules, each, first.seed + seed, path / "artifacts" / "runs" / f"{number:04d}", allow_changed_code)
        for number, (each, seed) in enumerate(runs)
    ]
    with Run(asked, path, fresh=fresh, allow_changed_code=allow_changed_code) as run:
        cells = run_cells(asked, run, jobs, carry_out, SweepCell, "runs", lambda cell: cell.numbers)
        rows = table(cells)
        run.artifact("table.json", rows)
    return SweepResult(path, run_report(path, [Section("Sweep", table=shown(rows))]), rows, cells)


def carry_out(job: _Job) -> SweepCell:
    """One run of a sweep, or what is left of it; its model stays here."""
    look_in([job.modules])
    state: Literal["finished", "failed"] = "finished"
    reason, value = "", None
    try:
        asked = {**job.settings, "seed": job.seed, "push": None}
        value = api.run(job.base, job.path, asked, allow_changed_code=job.allow_changed_code, quiet=True).value
    except (UserError, Interrupted):
        raise
    except BurnishError as error:
        state, reason = "failed", str(error)
    numbers: dict[str, float] = {}
    for line in read_metrics(job.path / "metrics.jsonl"):
        numbers |= {key: float(number) for key, number in line.items() if key != "step" and _is_number(number)}
    if _is_number(value):
        numbers["value"] = float(value)  # type: ignore[arg-type]  # a number
    seconds = json.loads((job.path / "run.json").read_text())["wall_seconds"]
    return SweepCell(
        settings=job.settings,
        seed=job.seed,
        folder=f"artifacts/runs/{job.path.name}",
        state=state,
        reason=reason,
        numbers=numbers,
        wall_seconds=seconds,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _grid(choices: Choices) -> dict[str, list[Any]]:
    """The values of each setting.

    Raises:
        UserError: a text that is not ``key=values``, no value, or the seed (which ``seeds`` varies).
    """
    grid: dict[str, list[Any]] = {}
    if isinstance(choices, Mapping):
        grid = {str(key): list(plain(list(values))) for key, values in choices.items()}
    else:
        for text in choices:
            key, equals, typed = text.partition("=")
            if not equals or not key.strip():
                raise UserError(f"choices {text}: write it as key=value,value,...", arguments=("set",))
            grid[key.strip()] = load_yaml(f"[{typed}]", name=f"choices {text}")[0]
    for key, values in grid.items():
        if not values:
            raise UserError(f"choices {key}: no value; write it as {key}=value,value,...", arguments=("set",))
        if key == "seed":
            raise UserError("choices: the seed is varied by `seeds`", arguments=("set", "seeds"))
    return grid
