"""What the command line calls, and a notebook may call as `burnish.run(...)`."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import read_json
from burnish.core.method import Method, all_methods, find_method, load_recipe
from burnish.core.metrics import activity
from burnish.core.paths import checkout, find_recipe, shipped_recipes
from burnish.core.recipe import Overrides, Recipe
from burnish.core.report import Section, run_report
from burnish.core.result import RunResult
from burnish.core.run import Run, run_record
from burnish.core.study import Claim, Judgement, StudyRecipe, check_judged, claim_rows
from burnish.core.study import store as store_claims
from burnish.core.yaml_marks import load_yaml
from burnish.studies.catalogue import find_study, judged, perform

DEFAULT_SEEDS = {"smoke": 1, "tour": 1, "quick": 3, "full": 5}
MORE_SEEDS = 8
"""Times the seeds of the first look, where claims are looked at until they are decided: four looks."""
RecipeLike = str | Path | Recipe | Mapping[str, Any]
"""A file, the name of a shipped recipe (``rmm/tiny``), a recipe, or its settings as a mapping."""


def run(
    recipe: RecipeLike, out: str | Path | None = None, overrides: Overrides = (), *, fresh: bool = False
) -> RunResult:
    """Run or resume a recipe in its folder and write the report; a finished run is not repeated.

    Examples:
        >>> burnish.run("planning_acting/tiny", out="runs/agents")
        RunResult(path=PosixPath('runs/agents'), report=PosixPath('runs/agents/report.html'), value=..., resumed=False)

    Args:
        recipe: a file, the name of a shipped recipe (``rmm/tiny``), a recipe, or its settings as a mapping. A merge in
            mergekit's format is carried out too; its folder holds the merged model, its report is the model's card.
        out: the run's folder; none: ``runs/METHOD-RECIPE``.
        overrides: settings that replace the recipe's, ``["a.b=1"]`` or ``{"a.b": 1}``.
        fresh: throw an earlier run in that folder away first.

    Returns:
        The folder, the report, and what the method returned: equal on the first and on every later call.

    Raises:
        UserError: anything wrong with the recipe, its models, its data or the folder.
        Interrupted: a stop signal came; the same call goes on.
    """
    stem = "" if isinstance(recipe, Recipe | Mapping) else find_recipe(str(recipe)).stem
    merge = _merge_config(recipe)
    if merge is not None:
        default = Path("runs") / "-".join(filter(None, ("merge", stem)))
        return _run_merge(merge, default if out is None else Path(out), overrides, fresh=fresh)
    method, asked = load_recipe(recipe, overrides)
    path = Path("runs") / "-".join(filter(None, (method.name, stem))) if out is None else Path(out)
    method.require(asked)
    with Run(asked, path, fresh=fresh) as open_run:
        if open_run.finished:
            open_run.note(f"{path}: already finished, nothing is repeated")
        else:
            open_run.value = _performed(method, asked, open_run)
    page = path / "report.html"
    if open_run.is_main and not (open_run.finished and _drawn_since(path)):
        report(path)
    return RunResult(path, page, open_run.value, open_run.resumed)


def _drawn_since(path: Path) -> bool:
    """Whether the report is of the finished run, and not of an interrupted one that somebody looked at."""
    page = path / "report.html"
    return page.exists() and page.stat().st_mtime_ns >= (path / "run.json").stat().st_mtime_ns


def _performed(method: Method, recipe: Recipe, open_run: Run) -> Any:
    """What the loop returns; an exception of a user's own method is said as theirs."""
    try:
        with activity(str(open_run.path)):
            return method.load("run")(recipe, open_run)
    except BurnishError:
        raise
    except Exception as error:
        if ":" in recipe.method:
            raise UserError(_in_their_code(error, recipe.method)) from error
        raise


def _in_their_code(error: Exception, method: str) -> str:
    """Where in the user's own module an error came from."""
    file = getattr(sys.modules.get(method.partition(":")[0]), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f"{file}:{lines[-1]}" if lines else method
    return f"{where}: {type(error).__name__}: {error} (in your method)"


def _merge_config(recipe: RecipeLike) -> Path | Mapping[str, Any] | None:
    """The recipe, if it is a merge in mergekit's format."""
    if isinstance(recipe, Recipe):
        return None
    source = recipe if isinstance(recipe, Mapping) else find_recipe(str(recipe))
    data = load_yaml(source)[0] if isinstance(source, Path) else source
    is_merge = isinstance(data, Mapping) and "method" not in data and ("merge_method" in data or "slices" in data)
    return source if is_merge else None


def _run_merge(config: Path | Mapping[str, Any], out: Path, overrides: Overrides, *, fresh: bool) -> RunResult:
    from burnish.merge import merge

    _no_overrides(config, overrides)
    out = out.expanduser()
    existed = not fresh and out.is_dir() and any(out.iterdir())
    merge(config, out, fresh=fresh)
    return RunResult(out, out / "README.md", out, existed)


def _no_overrides(config: Path | Mapping[str, Any], overrides: Overrides) -> None:
    if overrides:
        where = config if isinstance(config, Path) else "recipe"
        raise UserError(f"{where}: overrides are for recipes; a merge in mergekit's format is changed in its file")


def report(path: str | Path) -> Path:
    """Write ``report.html`` of a run again, with its method's own sections.

    Examples:
        >>> burnish.report("runs/agents")
        PosixPath('runs/agents/report.html')

    Args:
        path: the run's folder.

    Raises:
        UserError: not a run, or a run that has nothing to show yet.
    """
    path = Path(path)
    record = run_record(path)
    if not record:
        raise UserError(f"{path}: not a run folder (no run.json that can be read)")
    sections: list[Section] = []
    if record["method"].startswith("study:"):
        outcome = _stored_outcome(path)
        sections = [Section("Claims", table=claim_rows(outcome))] if outcome else []
    elif record["status"] == "finished":
        drawn = find_method(record["method"]).load("report")
        sections = drawn(path) if drawn is not None else []
    return run_report(path, sections)


def recipes() -> list[dict[str, str]]:
    """The shipped recipes: name and what the file's first comment says.

    Examples:
        >>> burnish.recipes()[0]["recipe"]
        'dov4cl/paper'
    """
    return [{"recipe": name, "what": what} for name, what in shipped_recipes().items()]


def check(recipe: RecipeLike, overrides: Overrides = ()) -> list[dict[str, Any]]:
    """What a recipe, or a merge in mergekit's format, would do; nothing is started and nothing is written.

    Examples:
        >>> burnish.check("planning_acting/tiny")[0]
        {'what': 'method', 'value': 'planning_acting'}

    Args:
        recipe: as `run` takes it.
        overrides: as `run` takes them.

    Raises:
        UserError: anything that would stop it.
    """
    merge = _merge_config(recipe)
    if merge is not None:
        from burnish.merge import plan

        _no_overrides(merge, overrides)
        return plan(merge).rows()
    method, asked = load_recipe(recipe, overrides)
    rows = [("method", asked.method)]
    if method.paper is not None:
        rows.append(("paper", str(method.paper)))
    rows.append(("seed", str(asked.seed)))
    method.require(asked)
    preflight = method.load("check")
    with activity(f"{asked.method}: looking at what it would do"):
        rows += list(preflight(asked)) if preflight is not None else []
    return [{"what": what, "value": value} for what, value in rows]


@dataclass(frozen=True)
class StudyResult:
    """A study that ended: its claims as rows, its report."""

    rows: list[dict[str, Any]]
    report: Path
    judgement: Judgement


def study(
    name: str,
    size: str = "quick",
    seeds: int | None = None,
    out: str | Path | None = None,
    *,
    until_decided: bool = False,
    max_seeds: int | None = None,
    store: bool = False,
    workers: int = 2,
    fresh: bool = False,
) -> StudyResult:
    """Run or resume the study of one paper and write its report; with ``store``, ``docs/claims/NAME.json`` too.

    Examples:
        >>> burnish.study("planning_acting", size="smoke").report
        PosixPath('runs/study-planning_acting-smoke/report.html')

    Args:
        name: of the method.
        size: ``smoke`` (does every line run), ``tour`` (how it works), ``quick`` or ``full`` (judged).
        seeds: repetitions; none: 3 for ``quick``, 5 for ``full``, 1 otherwise.
        out: the run's folder; none: ``runs/study-NAME-SIZE``.
        until_decided: add seeds, twice as many at each look, until every claim is decided or there are ``max_seeds``.
            How the looks share the error: :mod:`burnish.core.looks`.
        max_seeds: none: eight times ``seeds``.
        store: write the judged result into the checkout.
        workers: processes.
        fresh: throw an earlier run in that folder away first.

    Raises:
        UserError: unknown study or size, a count below 1, or a size that is not judged with ``store``.
    """
    if size not in DEFAULT_SEEDS:
        raise UserError(f"size: `{size}` is none of {', '.join(DEFAULT_SEEDS)}", arguments=("size",))
    found = find_study(name)
    root = checkout() if store else None
    for name_of, count in (("seeds", seeds), ("max_seeds", max_seeds), ("workers", workers)):
        if count is not None and count < 1:
            raise UserError(f"{name_of}: at least 1, not {count}", arguments=(name_of,))
    first = DEFAULT_SEEDS[size] if seeds is None else seeds
    asked: dict[str, Any] = {"method": f"study:{name}", "size": size, "seeds": first, "workers": workers}
    if until_decided:
        asked["max_seeds"] = MORE_SEEDS * first if max_seeds is None else max_seeds
    elif max_seeds is not None:
        raise UserError("max_seeds: only with `until_decided`", arguments=("max_seeds", "until_decided"))
    recipe = StudyRecipe.load(asked)
    if store:
        check_judged(recipe)
    path = Path(out or f"runs/study-{name}-{size}")
    done = perform(found, recipe, path, fresh=fresh)
    if root is not None:
        store_claims(name, recipe, path, done, root)
    rows = claim_rows(done.claims)
    sections = [Section("Claims", f"{found.title}. {done.words}".strip(), table=rows), *done.outcome.sections]
    return StudyResult(rows, run_report(path, sections), done)


def list_studies() -> list[dict[str, str]]:
    """All methods: what they are, whether they are built, how they were judged; the fault of a plug-in as a row."""
    found, faults = all_methods()
    rows = []
    for method in found:
        stored = judged(method.name)
        rows.append(
            {
                "study": method.name,
                "capability": method.capability,
                "state": "built" if method.built else "planned",
                "judged claims": (stored.verdicts if stored else "") or "-",
                "paper": str(method.paper or "-"),
            }
        )
    return rows + [{**dict.fromkeys(rows[0], "-"), "state": "broken", "paper": fault} for fault in faults]


def _stored_outcome(path: Path) -> list[Claim]:
    return [Claim.model_validate(claim) for claim in read_json(path / "artifacts" / "claims.json") or []]
