"""How a claim is earned: written down before the run, judged by a rule from an interval, stored by one command.

Knows statistics and records. Knows no study.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import read_json, write_atomic
from burnish.core.recipe import Recipe, Settings
from burnish.core.report import Section
from burnish.core.run import Run

Size = Literal["smoke", "tour", "quick", "full"]
Verdict = Literal["holds", "does not hold", "undecided"]
JUDGED: tuple[Size, ...] = ("quick", "full")


class Interval(Settings):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.mean:.3g} (one seed)"
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


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


class StudyRecipe(Recipe):
    """What a study's run folder stores."""

    size: Size = "quick"
    """`smoke` (every line runs), `tour` (how it works), `quick` and `full` (judged)."""
    checkpoint_every: float = Field(default=0.0, ge=0)
    """A study's steps are whole trainings: each is saved as it ends."""
    seeds: int = Field(default=3, ge=1)
    """Repetitions; at least 3 for a verdict in `quick`, 5 in `full`."""


@dataclass(frozen=True)
class Outcome:
    """What a study found: claims, and report sections."""

    claims: list[Claim]
    sections: list[Section]


class Results:
    """What a study has found so far, in order (cells, owners): the state of an interrupted one."""

    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"results": list(self.results)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.results = list(state["results"])


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
        return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's t interval of a mean; infinitely wide for fewer than two values.

    Args:
        values: independent values, for a paired comparison the differences (one a seed).
        level: of confidence.
    """
    from scipy import stats

    data = np.asarray(values, dtype=float)
    mean = float(data.mean())
    if len(data) < 2:
        return Interval(mean=mean, low=-np.inf, high=np.inf, n=len(data))
    half = float(stats.t.ppf((1 + level) / 2, len(data) - 1) * data.std(ddof=1) / np.sqrt(len(data)))
    return Interval(mean=mean, low=mean - half, high=mean + half, n=len(data))


def judge(interval: Interval, threshold: float = 0.0) -> Verdict:
    """``holds`` if the whole interval lies above ``threshold``, ``does not hold`` if it lies at or below, else undecided."""
    if interval.low > threshold:
        return "holds"
    return "does not hold" if interval.high <= threshold else "undecided"


def check_judged(recipe: StudyRecipe) -> None:
    """Refuse to store what no verdict may come from.

    Raises:
        UserError: the size is not a judged one, or too few seeds for it.
    """
    least = {"quick": 3, "full": 5}
    if recipe.size not in JUDGED:
        raise UserError(f"--store: size `{recipe.size}` is not judged; use --size quick or full")
    if recipe.seeds < least[recipe.size]:
        raise UserError(f"--store: size `{recipe.size}` needs --seeds {least[recipe.size]} or more")


def store(name: str, recipe: StudyRecipe, run_path: Path, outcome: Outcome, root: Path) -> Path:
    """Write ``docs/claims/NAME.json`` below ``root`` from a judged run.

    Raises:
        UserError: the size is not a judged one, or too few seeds for it.
    """
    check_judged(recipe)
    run = read_json(run_path / "run.json")
    if run is None:
        raise BurnishError(f"{run_path}/run.json: missing or unreadable; run the study again with --fresh")
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
        raise BurnishError(f"{path}: damaged ({error.error_count()} faults); write it again with --store") from None


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
