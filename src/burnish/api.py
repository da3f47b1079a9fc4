"""What the command line calls, and a notebook may call as `burnish.run(...)`."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import read_json
from burnish.core.method import find_method
from burnish.core.paths import checkout, find_recipe, shipped_recipes
from burnish.core.recipe import method_of
from burnish.core.report import Section, run_report
from burnish.core.run import Run, run_record
from burnish.core.study import Claim, Outcome, StudyRecipe, check_judged, claim_rows
from burnish.core.study import store as store_claims
from burnish.core.yaml_marks import load_yaml
from burnish.studies.catalogue import CATALOGUE, find

DEFAULT_SEEDS = {"smoke": 1, "tour": 1, "quick": 3, "full": 5}


@dataclass(frozen=True)
class Done:
    """A run that ended well."""

    path: Path
    was_finished: bool
    found: dict[str, Any]


def run(name: str, out: Path | None = None, overrides: Sequence[str] = (), *, fresh: bool = False) -> Done:
    """Run or resume a recipe in its folder and write the report.

    Raises:
        UserError: anything wrong with the recipe, its models, its data or the folder.
        Interrupted: a stop signal came; the same call goes on.
    """
    source = find_recipe(name)
    method = find_method(method_of(source, overrides))
    recipe = method.recipe.load(source, overrides)
    path = out or Path("runs") / f"{recipe.method.partition(':')[0]}-{source.stem}"
    with Run(recipe, path, fresh=fresh) as open_run:
        if open_run.finished:
            return Done(path, True, {"report": path / "report.html"})
        try:
            result = method.run(recipe, open_run)
        except Exception as error:
            if ":" in recipe.method and not isinstance(error, BurnishError):
                raise UserError(_in_their_code(error, recipe.method)) from error
            raise
    if not open_run.is_main:
        return Done(path, False, {})
    found = {} if result is None else {"result": result}
    return Done(path, False, {**found, "report": report(path)})


def report(path: Path) -> Path:
    """Write ``report.html`` of a run, with its method's own sections.

    Raises:
        UserError: not a run, or a run that has nothing to show yet.
    """
    record = run_record(path)
    if not record:
        raise UserError(f"{path}: not a run folder (no run.json that can be read)")
    sections: list[Section] = []
    if record["method"].startswith("study:"):
        outcome = _stored_outcome(path)
        sections = [Section("Claims", table=claim_rows(outcome))] if outcome else []
    else:
        method = find_method(record["method"])
        if method.report is not None and record["status"] == "finished":
            sections = method.report(path)
    return run_report(path, sections)


def _in_their_code(error: Exception, method: str) -> str:
    """Where in the user's own module an error came from."""
    file = getattr(sys.modules.get(method.partition(":")[0]), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f"{file}:{lines[-1]}" if lines else method
    return f"{where}: {type(error).__name__}: {error} (in your method; --debug shows the traceback)"


def recipes() -> list[dict[str, str]]:
    """The shipped recipes: name and what the file's first comment says."""
    return [{"recipe": name, "what": what} for name, what in shipped_recipes().items()]


def check(name: str, overrides: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What a recipe, or a merge in mergekit's format, would do; nothing is started.

    Raises:
        UserError: anything that would stop it.
    """
    source = find_recipe(name)
    data, _ = load_yaml(source)
    if isinstance(data, dict) and "method" not in data and ("merge_method" in data or "slices" in data):
        from burnish.merge import plan

        if overrides:
            raise UserError(f"{source}: --set is for recipes; a merge in mergekit's format is changed in its file")
        return plan(source).rows()
    method = find_method(method_of(source, overrides))
    recipe = method.recipe.load(source, overrides)
    rows = [("method", recipe.method), ("reference", method.reference), ("seed", str(recipe.seed))]
    rows += list(method.check(recipe)) if method.check is not None else []
    return [{"what": what, "value": value} for what, value in rows]


@dataclass(frozen=True)
class StudyDone:
    """A study that ended: its claims as rows, its report."""

    rows: list[dict[str, Any]]
    report: Path
    outcome: Outcome


def study(
    name: str,
    size: str = "quick",
    seeds: int | None = None,
    out: Path | None = None,
    *,
    store: bool = False,
    workers: int = 2,
    fresh: bool = False,
) -> StudyDone:
    """Run or resume the study of one paper and write its report; with ``store``, ``docs/claims/NAME.json`` too.

    Raises:
        UserError: unknown study or size, or a size that is not judged with ``store``.
    """
    if size not in DEFAULT_SEEDS:
        raise UserError(f"--size {size}: choose one of {', '.join(DEFAULT_SEEDS)}")
    entry = find(name)
    root = checkout() if store else None
    asked = {"method": f"study:{name}", "size": size, "seeds": seeds or DEFAULT_SEEDS[size], "workers": workers}
    recipe = StudyRecipe.load(json.dumps(asked))
    if store:
        check_judged(recipe)
    path = out or Path("runs") / f"study-{name}-{size}"
    outcome = entry.perform(recipe, path, fresh=fresh)
    if root is not None:
        store_claims(name, recipe, path, outcome, root)
    sections = [Section("Claims", entry.load().title, table=claim_rows(outcome.claims)), *outcome.sections]
    return StudyDone(claim_rows(outcome.claims), run_report(path, sections), outcome)


def list_studies() -> list[dict[str, str]]:
    """The ten methods: what they are, whether they are built, how they were judged."""
    rows = []
    for entry in CATALOGUE:
        stored = entry.stored()
        judged = stored.verdicts if stored else ""
        state = "built" if entry.exists else "planned"
        rows.append(
            {
                "study": entry.name,
                "capability": entry.capability,
                "state": state,
                "judged claims": judged or "-",
                "paper": entry.paper,
            }
        )
    return rows


def _stored_outcome(path: Path) -> list[Claim]:
    return [Claim.model_validate(claim) for claim in read_json(path / "artifacts" / "claims.json") or []]
