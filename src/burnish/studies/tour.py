"""The tour: every study that is built, a merge of a real model, and one report a person may want to show."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.core.hardware import environment
from burnish.core.method import Method, all_methods
from burnish.core.metrics import Progress, activity, duration
from burnish.core.report import Section, machine_rows, moment, write_report
from burnish.core.run import run_record
from burnish.core.stored_claims import Stored
from burnish.core.study import Glance, StudyRecipe, claim_rows
from burnish.studies.catalogue import find_study, judged, perform
from burnish.studies.tour_merge import show_merges

SIZES = ("smoke", "tour")
SMOKE = "A smoke run: it shows that every line runs, in a minute; its figures mean nothing."
METHODS_TEXT = (
    "What each paper claims. A verdict comes from the stored result of `burnish study NAME --size quick|full --store`, "
    "over several seeds with intervals; a tour runs one seed to show how a method works and judges nothing."
)


def run_tour(size: str = "tour", out: Path = Path("runs/tour"), *, fresh: bool = False) -> Path:
    """Run the studies at ``size`` and merge a real model; studies that finished before are not run again.

    Args:
        size: ``smoke`` (every line runs) or ``tour`` (shows how it works).
        out: folder of the report; each study is a run below it.
        fresh: repeat what was finished.

    Returns:
        The report, ``out/report.html``.

    Raises:
        UserError: an unknown size.
    """
    if size not in SIZES:
        raise UserError(
            f"size: a tour is {' or '.join(SIZES)}, not `{size}`; judged sizes belong to a study", arguments=("size",)
        )
    with activity("tour"):
        return _tour(size, out, fresh)


def _tour(size: str, out: Path, fresh: bool) -> Path:
    say = Progress().note
    shown: list[_Shown] = []
    for method in all_methods()[0]:
        if method.study is not None:
            say(f"{method.shown}: {find_study(method.name).title}")
            shown.append(_study(method, size, out, fresh))
    say("merging two fine-tunes of a real model" if size == "tour" else "merging a small model")
    with activity("merging"):
        merged = _merge(size, out)
    found = environment()
    machine = machine_rows({**found["hardware"], **found["versions"]}, found["git_revision"])
    table = Section("", table=[each.row for each in (merged, *shown)], compact=True)
    planned = Section("All methods, built and planned", METHODS_TEXT, table=method_rows(), folded=True)
    rest = [*(each.details for each in (merged, *shown)), planned, Section("Where it ran", table=machine, folded=True)]
    command = f"burnish tour --size {size} --out {out} --fresh"
    lead = summary(merged.row["what came of it"], len(shown), [each.stored for each in shown if each.stored])
    lead = f"{SMOKE} {lead}" if size == "smoke" else lead
    return write_report(out / "report.html", "A tour of Burnish", lead, [table, *rest], command, moment(time.time()))


def summary(merged: str, methods: int, stored: Sequence[Stored]) -> str:
    """What the tour did and what came of it, for who reads three sentences.

    Args:
        merged: what came of the merge.
        methods: that ran here.
        stored: judged results of those that have one.
    """
    verdicts = Counter(claim.verdict for one in stored for claim in one.claims)
    judged_words = (
        f" Verdicts are not a tour's to give; stored studies over several seeds judged {verdicts.total()} claims: "
        f"{verdicts['holds']} hold, {verdicts['does not hold']} do not, {verdicts['undecided']} are undecided."
    )
    return (
        f"{merged} {methods} published methods ran on this machine, one seed each, on small models."
        f"{judged_words if stored else ''} Details unfold below."
    )


@dataclass(frozen=True)
class _Shown:
    """One method in the tour: its row of the table on top, and all the rest, folded."""

    row: dict[str, Any]
    details: Section
    stored: Stored | None = None


def method_rows() -> list[dict[str, Any]]:
    """All methods as a table: claim and state."""
    return [
        {
            "method": method.shown,
            "capability": method.capability,
            "claim": method.claim,
            "paper": str(method.paper or "-"),
            "state": "built" if method.built else "planned",
        }
        for method in all_methods()[0]
    ]


def _study(method: Method, size: str, out: Path, fresh: bool) -> _Shown:
    study, path = find_study(method.name), out / method.name
    recipe = StudyRecipe.load({"method": f"study:{method.name}", "size": size, "seeds": 1, "workers": 2})
    with activity(method.name):
        found = perform(study, recipe, path, fresh=fresh)
    stored = judged(method.name)
    if stored is None:
        claims = Section("One seed, to look at", study.title, table=claim_rows(found.claims))
    else:
        words = f"Judged with {stored.seeds} seeds at size {stored.size} on {stored.date}: `{stored.command}`."
        claims = Section("What was claimed, what came out", words, table=claim_rows(stored.claims))
    seconds = run_record(path)["wall_seconds"]
    row = _row(method.shown, found.outcome.glance, stored.verdicts if stored else "not judged yet", seconds)
    details = Section(
        f"{method.shown}: {method.claim}", str(method.paper), parts=[claims, *found.outcome.sections], folded=True
    )
    return _Shown(row, details, stored)


def _row(method: str, glance: Glance, verdict: str, seconds: float) -> dict[str, Any]:
    return {
        "method": method,
        "model": glance.model,
        "what came of it": glance.words,
        "picture": glance.figure,
        "its claims, judged": verdict,
        "took": duration(seconds),
    }


def _merge(size: str, out: Path) -> _Shown:
    started = time.monotonic()
    shown = show_merges(size, out)
    row = _row("merge", shown.glance, "-", time.monotonic() - started)
    return _Shown(row, dataclasses.replace(shown.section, folded=True))
