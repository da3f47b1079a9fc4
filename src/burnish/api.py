"""What the command line calls, and a notebook may call as `burnish.run(...)`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.compare import Comparison, compare_runs
from burnish.core.errors import BurnishError, UserError
from burnish.core.files import NotMade, nothing_made, read_json
from burnish.core.hub import push_model
from burnish.core.launch import join_slurm, refuse_more_ranks
from burnish.core.method import all_methods, checked_rows, find_method, load_recipe
from burnish.core.metrics import activity, bytes_shown
from burnish.core.paths import checkout, find_recipe, shipped_recipes
from burnish.core.recipe import Overrides, Recipe
from burnish.core.report import Section, checked_sections, run_report
from burnish.core.result import RunResult
from burnish.core.run import Run, note_report_error, run_record
from burnish.core.run_folder import state_of
from burnish.core.stored_claims import check_judged
from burnish.core.stored_claims import store as store_claims
from burnish.core.study import Judgement, StudyRecipe, claim_rows
from burnish.core.sweep_table import shown
from burnish.core.user_code import lent_code, look_in, theirs
from burnish.core.yaml_marks import load_yaml
from burnish.studies.catalogue import draw_again, find_study, judged, perform, write_page

DEFAULT_SEEDS = {"smoke": 1, "tour": 1, "quick": 3, "full": 5}
MORE_SEEDS = 8
"""Times the seeds of the first look, where claims are looked at until they are decided: four looks."""
RecipeLike = str | Path | Recipe | Mapping[str, Any]
"""A file, the name of a shipped recipe (``rmm/tiny``), a recipe, or its settings as a mapping."""


def run(
    recipe: RecipeLike,
    out: str | Path | None = None,
    overrides: Overrides = (),
    *,
    fresh: bool = False,
    allow_changed_code: bool = False,
    quiet: bool = False,
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
        allow_changed_code: go on although code that the recipe lends (its method's module, a score, a world, a reward)
            has changed since the run began; ``run.json`` keeps both hashes.
        quiet: no progress on the terminal; ``run.log`` in the folder has all notes.

    Returns:
        The folder, the report, and what the method returned: equal on the first and on every later call.

    Raises:
        UserError: anything wrong with the recipe, its models, its data, the folder, or the code that the recipe lends;
            more ranks than the method can use.
        Interrupted: a stop signal came; the same call goes on.
    """
    join_slurm()
    stem = "" if isinstance(recipe, Recipe | Mapping) else find_recipe(str(recipe)).stem
    merge = _merge_config(recipe)
    if merge is not None:
        default = Path("runs") / "-".join(filter(None, ("merge", stem)))
        return _run_merge(merge, default if out is None else Path(out), overrides, fresh=fresh)
    method, asked = load_recipe(recipe, overrides)
    refuse_more_ranks(f"method: {method.shown}", method.parallel)
    path = Path("runs") / "-".join(filter(None, (method.name, stem))) if out is None else Path(out)
    method.require(asked)
    with activity(f"{path}: at work", quiet=quiet):
        with Run(asked, path, fresh=fresh, allow_changed_code=allow_changed_code, quiet=quiet) as open_run:
            if open_run.finished:
                open_run.note(f"{path}: already finished, nothing is repeated")
            else:
                with theirs(open_run.code, "method", _owner(asked.method)):
                    open_run.value = method.load("run")(asked, open_run)
        page = path / "report.html"
        if open_run.is_main and not (open_run.finished and _drawn_since(path)):
            report(path)
    if open_run.is_main and asked.push is not None:  # last: a hub that cannot be reached costs nobody the report
        push_model(open_run.value, asked.push, path)
    return RunResult(path, page, open_run.value, open_run.resumed)


def _drawn_since(path: Path) -> bool:
    """Whether the report is whole and of the finished run, not of an interrupted one that somebody looked at."""
    page = path / "report.html"
    whole = page.exists() and not run_record(path).get("report_error")
    return whole and page.stat().st_mtime_ns >= (path / "run.json").stat().st_mtime_ns


def _owner(method: str) -> str | None:
    """The user's method that whatever happens in it belongs to, if it is one."""
    return method if ":" in method else None


def _merge_config(recipe: RecipeLike) -> Path | Mapping[str, Any] | None:
    """The recipe, if it is a merge in mergekit's format, perhaps of several documents.

    Raises:
        UserError: it is a mixture of experts, which another command makes.
    """
    if isinstance(recipe, Recipe):
        return None
    from burnish.merge.documents import first_document

    source = recipe if isinstance(recipe, Mapping) else find_recipe(str(recipe))
    data = first_document(source) if isinstance(source, Path) else source
    if not isinstance(data, Mapping) or "method" in data:
        return None
    if {"base_model", "experts"} <= data.keys():
        shown = source if isinstance(source, Path) else "recipe"
        raise UserError(f"{shown}: a mixture of experts; it is made by `burnish merge moe {shown} OUT`")
    return source if "merge_method" in data or "slices" in data else None


def _run_merge(config: Path | Mapping[str, Any], out: Path, overrides: Overrides, *, fresh: bool) -> RunResult:
    refuse_more_ranks("merge")
    from burnish.merge import merge

    out = out.expanduser()
    existed = not fresh and out.is_dir() and any(out.iterdir())
    merge(config, out, overrides=overrides, fresh=fresh)
    return RunResult(out, out / "README.md", out, existed)


def report(path: str | os.PathLike[str], out: str | Path | None = None) -> Path:
    """Write ``report.html`` of a run again, with its method's own sections.

    Examples:
        >>> burnish.report("runs/agents")
        PosixPath('runs/agents/report.html')

    Args:
        path: the run's folder, or what :func:`run` gave back.
        out: the file to write instead of ``report.html`` in that folder.

    Raises:
        UserError: not a run, or a run that has nothing to show yet; what the method's own ``report`` raised, if it is
            the user's: the page is there then, without these sections, and says so.
    """
    path, page = Path(path), None if out is None else Path(out)
    record = run_record(path)
    if not record:
        raise UserError(f"{path}: not a run folder (no run.json that can be read)")
    if not (path / "recipe.yaml").exists():
        raise UserError(f"{path}: stopped before it began, so there is nothing to show yet; start it again")
    if record["method"].startswith("study:"):
        return draw_again(path, page)
    if record["method"].startswith("sweep:"):
        rows = read_json(path / "artifacts" / "table.json") or []
        return run_report(path, [Section("Sweep", table=shown(rows))] if rows else [], page)
    if record["status"] != "finished":
        return run_report(path, out=page)
    try:
        written = _with_own_sections(path, record, page)
    except Exception as error:
        said = str(error) if isinstance(error, BurnishError) else f"{type(error).__name__}: {error}"
        note_report_error(path, said)
        text = f"The run is finished and its results are kept; its method's own part of this page failed. {said}"
        run_report(
            path, [Section("What is missing here", f"{text} Once that is mended: `burnish report {path}`.")], page
        )
        raise
    if record.get("report_error"):
        note_report_error(path, None)
        os.utime(written)  # not older than the record
    return written


def _with_own_sections(path: Path, record: Mapping[str, Any], page: Path | None) -> Path:
    """The report of a finished run, with what its method adds."""
    look_in(map(Path, record.get("code", {}).get("git_revisions", {})))
    name = record["method"]
    with theirs(lent_code(load_yaml(path / "recipe.yaml")[0]), "report", _owner(name)):
        drawn = find_method(name).load("report")
        return run_report(path, [] if drawn is None else checked_sections(drawn(path), name), page)


def compare(runs: Sequence[str | os.PathLike[str]], out: str | Path = "compare.html") -> Comparison:
    """Runs of any methods beside each other: settings that differ, numbers, and a page with the curves over each other.

    Examples:
        >>> burnish.compare(["runs/agents", "runs/rftt-tiny"]).report
        PosixPath('compare.html')

    Args:
        runs: folders, finished or not, or what :func:`run` gave back.
        out: the HTML file.

    Raises:
        UserError: fewer than two runs, the same one twice, or a folder that is no run.
    """
    if isinstance(runs, str | os.PathLike):
        raise UserError(f"compare: {os.fspath(runs)} alone; give the runs as a list, and then the file to write")
    return compare_runs([Path(path) for path in runs], Path(out))


def recipes() -> list[dict[str, str]]:
    """The shipped recipes: name and what the file's first comment says.

    Examples:
        >>> burnish.recipes()[0]["recipe"]
        'dov4cl/paper'
    """
    return [{"recipe": name, "what": what} for name, what in shipped_recipes().items()]


def check(recipe: RecipeLike, overrides: Overrides = (), *, out: str | Path | None = None) -> list[dict[str, Any]]:
    """What a recipe, or a merge in mergekit's format, would do; nothing is started and nothing is written.

    Examples:
        >>> burnish.check("planning_acting/tiny")[0]
        {'what': 'method', 'value': 'planning_acting'}

    Args:
        recipe: as `run` takes it.
        overrides: as `run` takes them.
        out: the folder that a run would have; says what it holds, and how much room there is.

    Returns:
        Rows of ``what`` and ``value``: words, or numbers with their unit in the name. What a run of a method of the
        house would take is in ``memory_bytes``, ``disk_bytes`` and ``seconds``, a forecast
        (:class:`burnish.core.forecast.Forecast`). Where an embedded model or data set is not in the cache yet, the rows
        end with what a run would prepare first.

    Raises:
        UserError: anything that would stop it.
    """
    join_slurm()
    merge = _merge_config(recipe)
    if merge is not None:
        from burnish.merge.checking import rows_of

        try:
            with nothing_made():
                return rows_of(merge, Path("OUT") if out is None else Path(out), overrides)
        except NotMade as lacking:
            return _told(_prepared_first(lacking))
    method, asked = load_recipe(recipe, overrides)
    rows: list[tuple[str, Any]] = [("method", asked.method)]
    if method.paper is not None:
        rows.append(("paper", str(method.paper)))
    rows.append(("seed", str(asked.seed)))
    if asked.push is not None:
        rows.append(("push", f"the model goes to {asked.push} of the hub when the run is finished"))
    if out is not None:
        rows.append(("folder", _folder(asked, Path(out))))
    method.require(asked)
    preflight = method.load("check")
    if preflight is not None:
        with (
            theirs(lent_code(asked.model_dump(mode="json")), "check", _owner(asked.method)),
            activity(f"{asked.method}: looking at what it would do"),
            nothing_made(),
        ):
            try:
                rows += checked_rows(preflight(asked), asked.method)
            except NotMade as lacking:
                rows += _prepared_first(lacking)
    return _told(rows)


def _told(rows: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [{"what": what, "value": value} for what, value in rows]


def _prepared_first(lacking: NotMade) -> list[tuple[str, Any]]:
    """What a run would put into the cache before anything else, and why no more is known."""
    rows = [("prepares first", f"{what}{f': {takes}' * bool(takes)}") for what, takes in lacking.parts]
    commands = " and ".join(f"`burnish {what}`" for what, _ in lacking.parts)
    return [*rows, ("not known yet", f"the rest, memory, disk and time among it; prepare it now by {commands}")]


def _folder(recipe: Recipe, path: Path) -> str:
    """What a run would find at ``path``, and the room on its disk."""
    state = state_of(recipe, path, run_record(path))
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())
    return f"{path}: {state}; {bytes_shown(shutil.disk_usage(there).free)} free"


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
    allow_changed_code: bool = False,
) -> StudyResult:
    """Run or resume a study and write its report; with ``store``, ``docs/claims/NAME.json`` too.

    Examples:
        >>> burnish.study("planning_acting", size="smoke").report
        PosixPath('runs/study-planning_acting-smoke/report.html')

    Args:
        name: of the method, or ``module:STUDY`` (or ``module:METHOD`` of a method that has one) for one of your own.
        size: ``smoke`` (does every line run), ``tour`` (how it works), ``quick`` or ``full`` (judged).
        seeds: repetitions; none: 3 for ``quick``, 5 for ``full``, 1 otherwise.
        out: the run's folder; none: ``runs/study-NAME-SIZE``, of a study of your own with the module's name.
        until_decided: add seeds, twice as many at each look, until every claim is decided or there are ``max_seeds``.
            How the looks share the error: :mod:`burnish.core.looks`.
        max_seeds: none: eight times ``seeds``.
        store: write the judged result into the checkout.
        workers: processes.
        fresh: throw an earlier run in that folder away first.
        allow_changed_code: as for `run`.

    Raises:
        UserError: unknown study or size, a count below 1, a size that is not judged with ``store``, or one of your own
            with it; several ranks.
    """
    refuse_more_ranks(f"study: {name}", "executor")
    if size not in DEFAULT_SEEDS:
        raise UserError(f"size: `{size}` is none of {', '.join(DEFAULT_SEEDS)}", arguments=("size",))
    with activity(f"study {name}"):
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
        if ":" in name:
            raise UserError(
                "store: of methods with a name, in a checkout; a study of your own is kept by its run's folder"
            )
        check_judged(recipe)
    path = Path(out or f"runs/study-{name.partition(':')[0].replace('.', '-')}-{size}")
    with activity(f"study {name}"):
        done = perform(found, recipe, path, fresh=fresh, allow_changed_code=allow_changed_code)
        if root is not None:
            store_claims(name, recipe, path, done, root)
        return StudyResult(claim_rows(done.claims), write_page(found, recipe, path, done), done)


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
