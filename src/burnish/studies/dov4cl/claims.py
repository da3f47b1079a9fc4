"""The claims of the DOV4CL study and their verdicts. Knows numbers only.

Written down before any judged run, but for these: after it, the rule for false accusations was made stricter (the
interval and no longer the share itself must lie at or below the level), and the claim of uniform p-values was worded
for what a test that fails to reject can say. Later the bootstrap intervals, which missed the truth too often, gave way
to Korn and Graubard's, and no failure to reject counts before the last look.

Unit of intervals: the owner for power (an owner has one thief; owners' pictures are disjoint), the suspect for false
accusations (one encoder's many owners are not independent), the seed for the area.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from burnish.core.findings import Finding, average, units
from burnish.core.intervals import LEVEL, Interval, mean_share_interval, share_interval
from burnish.core.looks import Look
from burnish.core.study import Claim, Measured, Rule, Verdict
from burnish.prove.statistics import uniformity_p
from burnish.studies.dov4cl.records import ALPHA, Geometry, OwnerCell, Suspect

WANTED = 0.8
POWER = Rule("share of thieves found", kind="share", bound=WANTED)
FALSE = Rule("share of innocents accused", kind="mean share", bound=ALPHA, side="at most", over="suspects")
AREA = Rule("leave-one-out area under the ROC curve", kind="mean share", bound=WANTED, over="seeds", least=3)
Cells = Sequence[OwnerCell]


@dataclass(frozen=True)
class NoDeparture:
    """When a claim of no departure holds: a test that could see one (on enough suspects) does not reject.

    A departure may be found at any look, at the level that it may spend, so that all looks together find one that is
    not there with at most 5 %. That there is none is said only at the last look, and at the full level: to fail to
    reject is the easier the fewer the suspects and the stricter the level, and so says nothing before.

    Attributes:
        least: p-values below which nothing is decided.
    """

    least: int

    def sentence(self, look: Look) -> str:
        """The rule in words."""
        return (
            f"at the last look a Kolmogorov-Smirnov test of one p a suspect and owner gives p > {_spent(LEVEL):g} on "
            f"{self.least} suspects or more (it does not hold where p <= {_spent(look.level):g} at this look); a "
            "p-value has no interval"
        )

    def verdict(self, p: float, n: int, look: Look) -> Verdict:
        """From the p of the test of ``n`` p-values."""
        if n < self.least:
            return "undecided"
        if p <= _spent(look.level):
            return "does not hold"
        return "holds" if look.last and p > _spent(LEVEL) else "undecided"


def _spent(level: float) -> float:
    """What a level of confidence leaves for error."""
    return round(1 - level, 12)


@dataclass(frozen=True)
class Tested:
    """One suspect of one owner, and a name for its encoder that no other has."""

    row: Suspect
    encoder: str


def rows_of(cells: Cells, *, guilty: bool) -> list[Tested]:
    """Pairs of owner and suspect."""
    return [Tested(row, cell.encoder(row)) for cell in cells for row in cell.suspects if row.guilty is guilty]


def judge_cells(cells: Cells) -> list[Measured | Uniform]:
    """All claims, each with its own verdict."""
    thieves, innocents = rows_of(cells, guilty=True), rows_of(cells, guilty=False)
    ours, theirs = "the image permutation test", "the published t-test"
    family = "the mean test against the shadows (unary relationship)"
    return [
        _power(thieves, "power", f"{ours} (our default)", "image"),
        _false(innocents, "false-accusations", ours, "image"),
        Uniform(one_each(innocents, "unary")),
        _power(thieves, "published-power", theirs, "published"),
        _false(innocents, "published-false-accusations", theirs, "published"),
        _power(thieves, "family-power", family, "mean unary"),
        _false(innocents, "family-false-accusations", family, "mean unary"),
        _geometry(cells),
    ]


def share(rows: Sequence[Tested], test: str) -> tuple[int, int]:
    """Rows that ``test`` accuses at .05, and rows that it was made on."""
    made = [each.row for each in rows if test in each.row.p]
    return sum(row.accused(test) for row in made), len(made)


def power_interval(rows: Sequence[Tested], test: str, level: float = LEVEL) -> Interval:
    """Share of thieves found, and its Clopper-Pearson interval."""
    return share_interval(*share(rows, test), level)


def false_interval(rows: Sequence[Tested], test: str, level: float = LEVEL) -> Interval:
    """Share of innocents accused, and its interval over suspects: all owners of one encoder make one value."""
    kept = [each for each in rows if test in each.row.p]
    accused = units(kept, lambda each: each.row.accused(test), lambda each: each.encoder)
    return mean_share_interval(accused, level=level)


def _power(rows: Sequence[Tested], name: str, words: str, test: str) -> Measured:
    return Measured(
        name,
        f"{words} finds four thieves in five at .05",
        "p far below .05 for every stolen encoder in its tables",
        POWER,
        Finding(partial(power_interval, rows, test), power_interval(rows, test).mean, WANTED),
    )


def _false(rows: Sequence[Tested], name: str, words: str, test: str) -> Measured:
    interval = false_interval(rows, test)
    return Measured(
        name,
        f"{words} accuses at most one innocent in twenty at .05",
        "p above .05 for every independent encoder in its tables",
        FALSE,
        Finding(partial(false_interval, rows, test), interval.mean, ALPHA),
        "The share itself is at or below .05. An exact test accuses one in twenty, so only many more would put the "
        "interval there."
        if interval.mean <= ALPHA < interval.high
        else "",
    )


def one_each(rows: Sequence[Tested], test: str) -> np.ndarray:
    """One p a suspect and one an owner: encoder j before owner j - 1. Pairs that share either are not independent."""
    owners = 1 + max(each.row.owner for each in rows)
    return np.array([each.row.p[test] for each in rows if each.row.suspect == (each.row.owner + 1) % owners])


@dataclass(frozen=True)
class Uniform:
    """The claim that innocents' p-values are uniform: judged by a test, not from an interval.

    Attributes:
        values: one p a suspect and owner.
    """

    values: np.ndarray
    name: str = "uniform"

    def judged(self, look: Look) -> Claim:
        """The claim with its verdict."""
        p, rule = uniformity_p(self.values), NoDeparture(least=20)
        return Claim(
            name=self.name,
            claim="p-values of innocents (image permutation test, unary relationship) show no departure from uniform "
            "ones",
            paper="not in the paper",
            rule=rule.sentence(look),
            ours=p,
            baseline=_spent(LEVEL),
            interval=None,
            verdict=rule.verdict(p, len(self.values), look),
            note=f"{len(self.values)} suspects; all pairs of suspect and owner are in the report's figure.",
            seeds=look.seeds,
        )


def _geometry(cells: Cells) -> Measured:
    name, paper = "geometry", "not in the paper; TrainProVe's default, carried over to embeddings"
    claim = "kernel ridge on agreement of geometry (CKA) tells thieves of one public set from innocents: area above .8"
    found = [(cell.seed, area(cell.geometry)) for cell in cells if cell.geometry is not None]
    if not found:
        return Measured(name, claim, paper, AREA, None)
    shown = ", ".join(f"{one:.2f}" for _, one in found)
    by_seed = average(found, lambda each: each[1], 0.5, AREA.kind, lambda each: each[0])
    return Measured(name, claim, paper, AREA, by_seed, f"areas: {shown}")


def area(geometry: Geometry) -> float:
    """Area under the ROC curve of the scores: the share of (thief, innocent) pairs in the right order."""
    scores, guilty = np.array(geometry.scores), np.array(geometry.guilty, dtype=bool)
    return float((scores[guilty][:, None] > scores[~guilty]).mean())
