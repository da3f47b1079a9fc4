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

import numpy as np

from burnish.core.findings import Finding
from burnish.core.intervals import Interval, share_interval
from burnish.core.study import Claim, Rule, Verdict, judge
from burnish.prove.statistics import bootstrap_interval, uniformity_p
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
            f"a Kolmogorov-Smirnov test of one p a suspect and owner gives p > {self.alpha:g} on {self.least} "
            "suspects or more; a p-value has no interval"
        )

    def verdict(self, p: float, n: int) -> Verdict:
        """From the p of the test of ``n`` p-values."""
        return "does not hold" if p <= self.alpha else "undecided" if n < self.least else "holds"


UNIFORM = NoDeparture(ALPHA, 20)


@dataclass(frozen=True)
class Tested:
    """One suspect of one owner, and a name for its encoder that no other has."""

    row: Suspect
    encoder: str


def rows_of(cells: Cells, *, guilty: bool) -> list[Tested]:
    """Pairs of owner and suspect."""
    return [Tested(row, cell.encoder(row)) for cell in cells for row in cell.suspects if row.guilty is guilty]


def judge_cells(cells: Cells) -> list[Claim]:
    """All claims, each with its own verdict."""
    thieves, innocents = rows_of(cells, guilty=True), rows_of(cells, guilty=False)
    ours, theirs = "the image permutation test", "the published t-test"
    family = "the mean test against the shadows (unary relationship)"
    return [
        _power(thieves, "power", f"{ours} (our default)", "image"),
        _false(innocents, "false-accusations", ours, "image"),
        _uniform(innocents),
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


def power_interval(rows: Sequence[Tested], test: str) -> Interval:
    """Share of thieves found, and its Clopper-Pearson interval."""
    return share_interval(*share(rows, test))


def false_interval(rows: Sequence[Tested], test: str) -> Interval:
    """Share of innocents accused, and its interval: bootstrap over suspects, or Clopper-Pearson where it is wider.

    (Without a single accusation the bootstrap has no width.)
    """
    kept = [each for each in rows if test in each.row.p]
    hits = np.array([each.row.accused(test) for each in kept], dtype=float)
    _, clusters = np.unique([each.encoder for each in kept], return_inverse=True)
    low, high = bootstrap_interval(hits, np.random.default_rng(0), clusters=clusters)
    exact = share_interval(int(hits.sum()), len(hits))
    low, high = min(low, exact.low), max(high, exact.high)
    return Interval(mean=float(hits.mean()), low=low, high=high, n=len(hits), kind=FALSE.kind)


def _power(rows: Sequence[Tested], name: str, words: str, test: str) -> Claim:
    interval = power_interval(rows, test)
    return judge(
        name,
        f"{words} finds four thieves in five at .05",
        "p far below .05 for every stolen encoder in its tables",
        POWER,
        Finding(interval, interval.mean, WANTED),
    )


def _false(rows: Sequence[Tested], name: str, words: str, test: str) -> Claim:
    interval = false_interval(rows, test)
    return judge(
        name,
        f"{words} accuses at most one innocent in twenty at .05",
        "p above .05 for every independent encoder in its tables",
        FALSE,
        Finding(interval, interval.mean, ALPHA),
        "The share itself is at or below .05. An exact test accuses one in twenty, so only many more would put the "
        "interval there."
        if interval.mean <= ALPHA < interval.high
        else "",
    )


def one_each(rows: Sequence[Tested], test: str) -> np.ndarray:
    """One p a suspect and one an owner: encoder j before owner j - 1. Pairs that share either are not independent."""
    owners = 1 + max(each.row.owner for each in rows)
    return np.array([each.row.p[test] for each in rows if each.row.suspect == (each.row.owner + 1) % owners])


def _uniform(rows: Sequence[Tested]) -> Claim:
    values = one_each(rows, "unary")
    p = uniformity_p(values)
    return Claim(
        name="uniform",
        claim="p-values of innocents (image permutation test, unary relationship) show no departure from uniform ones",
        paper="not in the paper",
        rule=UNIFORM.sentence,
        ours=p,
        baseline=ALPHA,
        interval=None,
        verdict=UNIFORM.verdict(p, len(values)),
        note=f"{len(values)} suspects; all pairs of suspect and owner are in the report's figure.",
    )


def _geometry(cells: Cells) -> Claim:
    name, paper = "geometry", "not in the paper; TrainProVe's default, carried over to embeddings"
    claim = "kernel ridge on agreement of geometry (CKA) tells thieves of one public set from innocents: area above .8"
    areas = [area(cell.geometry) for cell in cells if cell.geometry is not None]
    if not areas:
        return judge(name, claim, paper, AREA, None)
    mean = float(np.mean(areas))
    # one cell alone has no spread to draw from
    low, high = bootstrap_interval(np.array(areas), np.random.default_rng(0)) if len(areas) > 1 else (0.0, 1.0)
    interval = Interval(mean=mean, low=min(low, mean), high=max(high, mean), n=len(areas), kind=AREA.kind)
    shown = ", ".join(f"{one:.2f}" for one in areas)
    return judge(name, claim, paper, AREA, Finding(interval, mean, 0.5), f"areas: {shown}")


def area(geometry: Geometry) -> float:
    """Area under the ROC curve of the scores: the share of (thief, innocent) pairs in the right order."""
    scores, guilty = np.array(geometry.scores), np.array(geometry.guilty, dtype=bool)
    return float((scores[guilty][:, None] > scores[~guilty]).mean())
