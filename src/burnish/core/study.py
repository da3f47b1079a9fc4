"""How a claim is earned: written down before the run, judged by a rule from an interval, stored by one command.

A :class:`Rule` gives both its sentence and its verdict, so that neither can drift from the other. Knows no study.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import read_json, write_atomic
from burnish.core.findings import Finding
from burnish.core.intervals import SCALES, Interval, Kind
from burnish.core.recipe import Recipe, Settings
from burnish.core.report import Section
from burnish.core.run import Run

Size = Literal["smoke", "tour", "quick", "full"]
Verdict = Literal["holds", "does not hold", "undecided"]
JUDGED: tuple[Size, ...] = ("quick", "full")


@dataclass(frozen=True)
class Rule:
    """When a claim holds: the whole interval of a quantity lies on the claimed side of a bound.

    Attributes:
        of: the quantity, in words.
        kind: of its interval.
        bound: what the interval is held against.
        side: where the claim puts the quantity; the bound itself belongs to ``at most``.
        over: the independent units of the interval, in words; none where they are what is counted.
        least: units below which nothing is decided.
    """

    of: str
    kind: Kind = "mean"
    bound: float = 0.0
    side: Literal["above", "at most"] = "above"
    over: str = ""
    least: int = 1

    @property
    def sentence(self) -> str:
        """The rule in words."""
        over = f" over {self.over}" if self.over else ""
        few = f" ({self.least} or more)" if self.least > 1 else ""
        where = "above" if self.side == "above" else "at or below"
        return f"{SCALES[self.kind].words}{over}{few} of the {self.of} lies {where} {self.bound:g}"

    def verdict(self, interval: Interval) -> Verdict:
        """``holds`` if all of the interval lies on the claimed side, ``does not hold`` if on the other, else
        ``undecided``.

        Raises:
            ValueError: an interval of another kind than the sentence speaks of.
        """
        if interval.kind != self.kind:
            raise ValueError(f"the rule is about a {self.kind} ({self.sentence}), the interval is of a {interval.kind}")
        if interval.n < self.least:
            return "undecided"
        above, below = interval.low > self.bound, interval.high <= self.bound
        holds, fails = (above, below) if self.side == "above" else (below, above)
        return "holds" if holds else "does not hold" if fails else "undecided"


class Claim(Settings):
    """One claim of a paper and what came out here."""

    name: str
    claim: str
    """In words, as written down before the run."""
    paper: str
    """The paper's own figure."""
    rule: str
    """How the verdict follows from the interval."""
    ours: float | None
    baseline: float | None
    interval: Interval | None
    """Of the difference or ratio that the rule speaks of."""
    verdict: Verdict
    note: str = ""
    """What was tried, or what limits the verdict."""


def judge(name: str, claim: str, paper: str, rule: Rule, found: Finding | None, note: str = "") -> Claim:
    """A claim with its verdict; without a finding it is undecided.

    Args:
        name: of the claim, within its study.
        claim: in words, as written down before the run.
        paper: the paper's own figure.
        rule: of the verdict.
        found: what was measured.
        note: what was tried, or what limits the verdict; without a finding the default says that it was not run.
    """
    if found is None:
        ours = baseline = interval = None
        verdict: Verdict = "undecided"
        note = note or "not run at this size"
    else:
        ours, baseline, interval = found.ours, found.baseline, found.interval
        verdict = rule.verdict(interval)
    return Claim(
        name=name,
        claim=claim,
        paper=paper,
        rule=rule.sentence,
        ours=ours,
        baseline=baseline,
        interval=interval,
        verdict=verdict,
        note=note,
    )


class StudyRecipe(Recipe):
    """What a study's run folder stores."""

    size: Size = "quick"
    """`smoke` (every line runs), `tour` (how it works), `quick` and `full` (judged)."""
    checkpoint_every: float = Field(default=0.0, ge=0)
    """A study's steps are whole trainings: each is saved as it ends."""
    seeds: int = Field(default=3, ge=1)
    """Repetitions; at least 3 for a verdict in `quick`, 5 in `full`."""


@dataclass(frozen=True)
class Glance:
    """What a study did, for who has one look.

    Attributes:
        words: one sentence with its main figures.
        figure: one small picture of them (:func:`burnish.core.study_picture.small_bars`).
    """

    words: str
    figure: Any


@dataclass(frozen=True)
class Outcome:
    """What a study found.

    Attributes:
        claims: judged.
        sections: of its report.
        glance: its row of the tour.
    """

    claims: list[Claim]
    sections: list[Section]
    glance: Glance


@dataclass(frozen=True)
class Study:
    """One paper's claim, rebuilt small.

    Attributes:
        title: one line.
        run: the loop, over a run folder like any other.
    """

    title: str
    run: Callable[[StudyRecipe, Run], Outcome]


class Stored(Settings):
    """A judged result as stored in ``docs/claims/NAME.json``."""

    study: str
    size: Size
    seeds: int
    command: str
    versions: dict[str, str]
    git_revision: str | None
    hardware: dict[str, Any]
    date: str
    wall_seconds: float
    cpu_seconds: float
    claims: list[Claim]

    @property
    def verdicts(self) -> str:
        """How many claims came out how, in words."""
        counts = Counter(claim.verdict for claim in self.claims)
        words: dict[Verdict, str] = {"holds": "hold", "does not hold": "do not hold", "undecided": "undecided"}
        return ", ".join(f"{counts[verdict]} {said}" for verdict, said in words.items() if counts[verdict])


def check_judged(recipe: StudyRecipe) -> None:
    """Refuse to store what no verdict may come from.

    Raises:
        UserError: the size is not a judged one, or too few seeds for it.
    """
    least = {"quick": 3, "full": 5}
    if recipe.size not in JUDGED:
        raise UserError(f"store: size `{recipe.size}` is not judged; quick and full are", arguments=("size",))
    if recipe.seeds < least[recipe.size]:
        raise UserError(f"store: size `{recipe.size}` needs {least[recipe.size]} seeds or more", arguments=("seeds",))


def store(name: str, recipe: StudyRecipe, run_path: Path, outcome: Outcome, root: Path) -> Path:
    """Write ``docs/claims/NAME.json`` below ``root`` from a judged run.

    Raises:
        UserError: the size is not a judged one, or too few seeds for it.
        BurnishError: the run's record is missing.
    """
    check_judged(recipe)
    run = read_json(run_path / "run.json")
    if run is None:
        raise BurnishError(f"{run_path}/run.json: missing or unreadable; run the study afresh", arguments=("fresh",))
    stored = Stored(
        study=name,
        size=recipe.size,
        seeds=recipe.seeds,
        command=f"burnish study {name} --size {recipe.size} --seeds {recipe.seeds} --store",
        versions=run["versions"],
        git_revision=run["git_revision"],
        hardware=run["hardware"],
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        wall_seconds=run["wall_seconds"],
        cpu_seconds=run["cpu_seconds"],
        claims=outcome.claims,
    )
    return write_atomic(root / "docs" / "claims" / f"{name}.json", stored.model_dump_json(indent=1) + "\n")


def load_stored(path: Path) -> Stored | None:
    """A stored result; ``None`` if there is none.

    Raises:
        BurnishError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return Stored.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BurnishError(
            f"{path}: damaged ({error.error_count()} faults); store it again", arguments=("store",)
        ) from None


def claim_rows(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Claims as rows of a report's table."""
    return [
        {
            "claim": claim.claim,
            "paper": claim.paper,
            "ours": "-" if claim.ours is None else f"{claim.ours:.4g}",
            "baseline": "-" if claim.baseline is None else f"{claim.baseline:.4g}",
            "interval": "-" if claim.interval is None else str(claim.interval),
            "verdict": claim.verdict,
        }
        for claim in claims
    ]
