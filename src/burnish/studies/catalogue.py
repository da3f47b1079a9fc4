"""Which methods have a study, how one is run in a run folder, and how it was judged. Knows no study from the inside."""

from __future__ import annotations

from pathlib import Path

from burnish.core.errors import UserError
from burnish.core.method import Method, all_methods, find_method, import_object
from burnish.core.metrics import activity
from burnish.core.paths import shipped
from burnish.core.report import Section, run_report
from burnish.core.run import Run, run_record
from burnish.core.stored_claims import Stored, load_stored
from burnish.core.study import Judgement, Study, StudyRecipe, claim_rows, decide
from burnish.core.user_code import look_in, theirs


def find_study(name: str) -> Study:
    """The study of the method ``name``, or the one of the user's own that ``module:STUDY`` names.

    Raises:
        UserError: no such method or object, one that is not built, or one without a study.
    """
    if ":" in name:
        own = import_object(name, "study")
        if isinstance(own, Study):
            return own
        if not isinstance(own, Method):
            raise UserError(
                f"study: `{name}` is a {type(own).__name__}; give a burnish.core.study.Study, or a Method with one"
            )
    method = find_method(name)
    found = method.load("study") if method.study is not None else None
    if found is None:
        there = ", ".join(method.name for method in all_methods()[0] if method.study is not None)
        why = "has no study" if method.built else "is planned and not built yet"
        raise UserError(f"study: `{name}` ({method.shown}) {why}; studies: {there}")
    if not isinstance(found, Study):
        raise UserError(f"study: that of `{name}` is a {type(found).__name__}, not a burnish.core.study.Study")
    return found


def perform(
    study: Study, recipe: StudyRecipe, path: Path, *, fresh: bool = False, allow_changed_code: bool = False
) -> Judgement:
    """Run, resume or (if it had ended) draw again a study in a run folder.

    Raises:
        UserError: the folder holds something else, or the study is the user's own and its code has changed.
        Interrupted: a stop signal came; the same call goes on.
    """
    with Run(recipe, path, fresh=fresh, allow_changed_code=allow_changed_code) as run:
        if run.finished:
            run.note(f"{path}: already finished, only drawn again")
        with theirs(run.code, "study"):
            found = decide(study, recipe, run)
        run.artifact("claims.json", [claim.model_dump(mode="json") for claim in found.claims])
    return found


def write_page(study: Study, recipe: StudyRecipe, path: Path, found: Judgement, out: Path | None = None) -> Path:
    """The report of a study that ended: claims, its own sections, curves, settings, machine.

    Args:
        study: for its title.
        recipe: for the command.
        path: the run's folder.
        found: what came of it.
        out: the file; none: ``report.html`` in the folder.
    """
    words = f"{study.title}. {found.words}".strip()
    sections = [Section("Claims", words, table=claim_rows(found.claims)), *found.outcome.sections]
    return run_report(path, sections, out, recipe.command)


def draw_again(path: Path, out: Path | None = None) -> Path:
    """The report of a study's run folder, from what it stored; where it has not ended, what was logged so far.

    Raises:
        UserError: the study, or what it stored, is of another version.
    """
    recipe = StudyRecipe.load(path / "recipe.yaml")
    record = run_record(path)
    if record["status"] != "finished":
        return run_report(path, out=out, command=recipe.command)
    look_in(map(Path, record.get("code", {}).get("git_revisions", {})))
    with activity(f"{path}: drawn again"):
        study = find_study(recipe.method.removeprefix("study:"))
        # Nothing is computed by code that has changed meanwhile: it only draws.
        return write_page(study, recipe, path, perform(study, recipe, path, allow_changed_code=True), out)


def judged(name: str) -> Stored | None:
    """The judged result of the method ``name``, if one was stored."""
    return load_stored(shipped("docs/claims") / f"{name}.json")
