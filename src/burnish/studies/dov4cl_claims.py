"""The claims of the DOV4CL study and their verdicts. Knows numbers only.

Written down before any judged run, but for two: after it, the rule for false accusations was made stricter (the interval and
no longer the share itself must lie at or below the level), and the claim of uniform p-values was worded for what a test that
fails to reject can say.

Unit of intervals: the owner for power (an owner has one thief; owners' pictures are disjoint), the suspect for false
accusations (one encoder's many owners are not independent).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.prove.statistics import binomial_interval, bootstrap_interval, uniformity_p
from burnish.studies.claims import Claim, Interval, Verdict

Results = Sequence[dict[str, Any]]
ALPHA, WANTED = 0.05, 0.8
POWER_RULE = f"holds if the Clopper-Pearson interval of the share lies above {WANTED}, does not hold if it lies below"
FALSE_RULE = (
    f"holds if the interval (bootstrap over suspects) lies at or below {ALPHA}; does not hold if it lies above; else "
    "undecided"
)


def rows_of(results: Results, *, guilty: bool) -> list[dict[str, Any]]:
    """Pairs of owner and suspect, with a name for the suspect's encoder that no other has."""
    return [
        {**row, "encoder": f"{each['data']}-{each['objective']}-{each['epochs']}-{each['seed']}-{row['suspect']}"}
        for each in results
        for row in each["suspects"]
        if row["guilty"] is guilty
    ]


def judge_cells(results: Results) -> list[Claim]:
    """All claims, each with its own verdict."""
    thieves, innocents = rows_of(results, guilty=True), rows_of(results, guilty=False)
    return [
        _power(thieves, "power", "the image permutation test (our default) finds four thieves in five at .05", "image"),
        _false(
            innocents,
            "false-accusations",
            "the image permutation test accuses at most one innocent in twenty at .05",
            "image",
        ),
        _uniform(innocents),
        _power(thieves, "published-power", "the published t-test finds four thieves in five at .05", "published"),
        _false(
            innocents, "published-false-accusations", "the published t-test accuses at most one innocent in twenty at .05",
            "published",
        ),
        _power(
            thieves,
            "family-power",
            "the mean test against the shadows (unary relationship) finds four thieves in five at .05",
            "mean unary",
        ),
        _false(
            innocents,
            "family-false-accusations",
            "the mean test against the shadows (unary relationship) accuses at most one innocent in twenty at .05",
            "mean unary",
        ),
        _geometry(results),
    ]  # fmt: skip


def share(rows: Sequence[dict[str, Any]], test: str) -> tuple[int, int]:
    """Rows that ``test`` accuses at .05, and rows that it was made on."""
    made = [row[test] for row in rows if test in row]
    return sum(p <= ALPHA for p in made), len(made)


def power_interval(rows: Sequence[dict[str, Any]], test: str) -> Interval:
    """Share of thieves found, and its Clopper-Pearson interval."""
    hits, count = share(rows, test)
    low, high = binomial_interval(hits, count)
    return Interval(mean=hits / max(1, count), low=low, high=high, n=count)


def false_interval(rows: Sequence[dict[str, Any]], test: str) -> Interval:
    """Share of innocents accused, and its interval: bootstrap over suspects, or Clopper-Pearson where it is wider.

    (Without a single accusation the bootstrap has no width.)
    """
    kept = [row for row in rows if test in row]
    hits = np.array([row[test] <= ALPHA for row in kept], dtype=float)
    _, clusters = np.unique([row["encoder"] for row in kept], return_inverse=True)
    low, high = bootstrap_interval(hits, np.random.default_rng(0), clusters=clusters)
    exact_low, exact_high = binomial_interval(int(hits.sum()), len(hits))
    return Interval(mean=float(hits.mean()), low=min(low, exact_low), high=max(high, exact_high), n=len(hits))


def _power(rows: Sequence[dict[str, Any]], name: str, claim: str, test: str) -> Claim:
    interval = power_interval(rows, test)
    verdict: Verdict = "holds" if interval.low > WANTED else "does not hold" if interval.high < WANTED else "undecided"
    return Claim(
        name=name,
        claim=claim,
        paper="p far below .05 for every stolen encoder in its tables",
        rule=POWER_RULE,
        ours=interval.mean,
        baseline=WANTED,
        interval=interval,
        verdict=verdict,
    )


def _false(rows: Sequence[dict[str, Any]], name: str, claim: str, test: str) -> Claim:
    interval = false_interval(rows, test)
    verdict: Verdict = "holds" if interval.high <= ALPHA else "does not hold" if interval.low > ALPHA else "undecided"
    return Claim(
        name=name,
        claim=claim,
        paper="p above .05 for every independent encoder in its tables",
        rule=FALSE_RULE,
        ours=interval.mean,
        baseline=ALPHA,
        interval=interval,
        verdict=verdict,
        note="The share itself is at or below .05. An exact test accuses one in twenty, so only many more would put the interval there."
        if interval.mean <= ALPHA < interval.high
        else "",
    )


def one_each(rows: Sequence[dict[str, Any]], test: str) -> np.ndarray:
    """One p a suspect and one an owner: encoder j before owner j - 1. Pairs that share either are not independent."""
    owners = 1 + max(row["owner"] for row in rows)
    return np.array([row[test] for row in rows if row["suspect"] == (row["owner"] + 1) % owners])


def _uniform(rows: Sequence[dict[str, Any]]) -> Claim:
    values = one_each(rows, "unary")
    p = uniformity_p(values)
    verdict: Verdict = "does not hold" if p <= ALPHA else "undecided" if len(values) < 20 else "holds"
    return Claim(
        name="uniform",
        claim="p-values of innocents (image permutation test, unary relationship) show no departure from uniform ones",
        paper="not in the paper",
        rule="holds if a Kolmogorov-Smirnov test of one p a suspect and owner gives p > .05 on 20 suspects or more; a p-value has no "
        "interval",
        ours=p,
        baseline=ALPHA,
        interval=None,
        verdict=verdict,
        note=f"{len(values)} suspects; all pairs of suspect and owner are in the report's figure.",
    )


def _geometry(results: Results) -> Claim:
    areas = [area(each["geometry"]) for each in results if "geometry" in each]
    mean = float(np.mean(areas)) if areas else None
    verdict: Verdict = "undecided"
    interval = None
    if mean is not None and len(areas) >= 3:
        low, high = bootstrap_interval(np.array(areas), np.random.default_rng(0))
        interval = Interval(mean=mean, low=low, high=high, n=len(areas))
        verdict = "holds" if low > WANTED else "does not hold" if high < WANTED else "undecided"
    return Claim(
        name="geometry",
        claim="kernel ridge on agreement of geometry (CKA) tells thieves of one public set from innocents: area above .8",
        paper="not in the paper; TrainProVe's default, carried over to embeddings",
        rule="holds if the bootstrap interval over cells of the leave-one-out area under the ROC curve lies above .8 (3 or more)",
        ours=mean,
        baseline=0.5,
        interval=interval,
        verdict=verdict,
        note=f"areas: {', '.join(f'{one:.2f}' for one in areas)}" if areas else "not run at this size",
    )


def area(geometry: dict[str, Any]) -> float:
    """Area under the ROC curve of the scores: the share of (thief, innocent) pairs in the right order."""
    scores, guilty = np.array(geometry["scores"]), np.array(geometry["guilty"], dtype=bool)
    return float((scores[guilty][:, None] > scores[~guilty]).mean())
