"""The claims of the DOV4CL study and their verdicts. Knows numbers only.

Written down before any judged run, but for two: after it, the rule for false accusations was made stricter (the
interval and no longer the share itself must lie at or below the level), and the claim of uniform p-values was worded
for what a test that fails to reject can say.

Unit of intervals: the owner for power (an owner has one thief; owners' pictures are disjoint), the suspect for false
accusations (one encoder's many owners are not independent).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from burnish.core.findings import Finding
from burnish.core.intervals import LEVEL, Interval, share_interval
from burnish.core.looks import Look
from burnish.core.study import Claim, Measured, Rule, Verdict
from burnish.prove.statistics import bootstrap_interval, draws_for, uniformity_p
from burnish.studies.dov4cl.records import ALPHA, Geometry, OwnerCell, Suspect

WANTED = 0.8
POWER = Rule("share of thieves found", kind="share", bound=WANTED)
FALSE = Rule("share of innocents accused", kind="bootstrap share", bound=ALPHA, side="at most", over="suspects")
AREA = Rule("leave-one-out area under the ROC curve", kind="bootstrap share", bound=WANTED, over="cells", least=3)
Cells = Sequence[OwnerCell]


@dataclass(frozen=True)
class NoDeparture:
    """When a claim of no departure holds: a test that could see one (on enough suspects) does not reject.

    Attributes:
        alpha: level of the test.
        least: p-values below which nothing is decided in its favour.
    """

    alpha: float
    least: int

    @property
    def sentence(self) -> str:
        """The rule in words."""
        return (
            f"a Kolmogorov-Smirnov test of one p a suspect and owner gives p > {self.alpha:.4g} on {self.least} "
            "suspects or more; a p-value has no interval"
        )

    def verdict(self, p: float, n: int) -> Verdict:
        """From the p of the test of ``n`` p-values."""
        return "does not hold" if p <= self.alpha else "undecided" if n < self.least else "holds"


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
    """Share of innocents accused, and its interval: bootstrap over suspects, or Clopper-Pearson where it is wider.

    (Without a single accusation the bootstrap has no width.)
    """
    kept = [each for each in rows if test in each.row.p]
    hits = np.array([each.row.accused(test) for each in kept], dtype=float)
    _, clusters = np.unique([each.encoder for each in kept], return_inverse=True)
    rng = np.random.default_rng(0)
    low, high = bootstrap_interval(hits, rng, clusters=clusters, level=level, draws=draws_for(level))
    exact = share_interval(int(hits.sum()), len(hits), level)
    low, high = min(low, exact.low), max(high, exact.high)
    return Interval(mean=float(hits.mean()), low=low, high=high, n=len(hits), kind=FALSE.kind, level=level)


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
        """The claim with its verdict; the test's level is what the look may spend."""
        p, rule = uniformity_p(self.values), NoDeparture(round(1 - look.level, 12), least=20)
        return Claim(
            name=self.name,
            claim="p-values of innocents (image permutation test, unary relationship) show no departure from uniform "
            "ones",
            paper="not in the paper",
            rule=rule.sentence,
            ours=p,
            baseline=rule.alpha,
            interval=None,
            verdict=rule.verdict(p, len(self.values)),
            note=f"{len(self.values)} suspects; all pairs of suspect and owner are in the report's figure.",
            seeds=look.seeds,
        )


def _geometry(cells: Cells) -> Measured:
    name, paper = "geometry", "not in the paper; TrainProVe's default, carried over to embeddings"
    claim = "kernel ridge on agreement of geometry (CKA) tells thieves of one public set from innocents: area above .8"
    areas = [area(cell.geometry) for cell in cells if cell.geometry is not None]
    if not areas:
        return Measured(name, claim, paper, AREA, None)
    shown = ", ".join(f"{one:.2f}" for one in areas)
    found = Finding(partial(area_interval, areas), float(np.mean(areas)), 0.5)
    return Measured(name, claim, paper, AREA, found, f"areas: {shown}")


def area_interval(areas: Sequence[float], level: float = LEVEL) -> Interval:
    """Mean area and its bootstrap interval; of one cell alone, which has no spread to draw from, the whole range."""
    mean, low, high = float(np.mean(areas)), 0.0, 1.0
    if len(areas) > 1:
        low, high = bootstrap_interval(np.array(areas), np.random.default_rng(0), level=level, draws=draws_for(level))
    return Interval(mean=mean, low=min(low, mean), high=max(high, mean), n=len(areas), kind=AREA.kind, level=level)


def area(geometry: Geometry) -> float:
    """Area under the ROC curve of the scores: the share of (thief, innocent) pairs in the right order."""
    scores, guilty = np.array(geometry.scores), np.array(geometry.guilty, dtype=bool)
    return float((scores[guilty][:, None] > scores[~guilty]).mean())
