"""The claims of the TrainProVe study, written down before any judged run, and their verdicts. Knows numbers only.

A first judged run (seeds from 1000) came before the pictures asked about were held out of all sources; claims and rules stayed,
worlds were mended, and the judged seeds are new ones.

The unit of every interval over a mean is the seed (its own generators, its own models). False accusations are counted suspect
by suspect with the source hidden, and their interval is clustered: whole sources of a seed are drawn, since their models share
one training pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from burnish.prove.statistics import bootstrap_interval
from burnish.prove.trainprove.calibration import never_seen
from burnish.studies.claims import Claim, Interval, Verdict, judge, t_interval

Cells = Sequence[dict[str, Any]]
Row = dict[str, Any]
OURS, THEIRS = "agreement", "accuracy (published)"
HIDDEN = "the suspect's source hidden from the shadows"
FAIR = "neither its source nor its architecture among the shadows"
OVER_SEEDS = "the 95 % t interval over seeds"
SAME, HALF = "the very real pictures of the defender's", "other halves of the real pictures"


def suspects(cells: Cells, keep: Callable[[Row], bool]) -> list[Row]:
    """The suspects of all seeds that ``keep`` keeps."""
    return [row for cell in cells for row in cell["suspects"] if keep(row)]


def rate(cell: dict[str, Any], key: str, keep: Callable[[Row], bool]) -> float:
    """Mean of ``key`` over the suspects of a seed that ``keep`` keeps."""
    return float(np.mean([float(row[key]) for row in cell["suspects"] if keep(row)]))


def innocent(row: Row) -> bool:
    """Trained on an innocent source."""
    return bool(row["innocent"])


def guilty(row: Row) -> bool:
    """Trained on the defender's pictures only."""
    return bool(row["guilty"])


def fair(keep: Callable[[Row], bool]) -> Callable[[Row], bool]:
    """Of those, the ones with an architecture that no shadow has."""
    return lambda row: keep(row) and bool(row["fair"])


def balanced(cell: dict[str, Any]) -> float:
    """Mean of the shares of guilty suspects convicted and of innocent ones not convicted, sources hidden."""
    return (rate(cell, "hidden_convicted", guilty) + 1 - rate(cell, "hidden_convicted", innocent)) / 2


def published(cell: dict[str, Any], rule: str, keep: Callable[[Row], bool]) -> float:
    """Share of suspects that a published rule convicts; one that cannot be applied (equal batches) convicts nobody."""
    return float(np.mean([bool(row["published"][rule]) for row in cell["suspects"] if keep(row)]))


def published_balanced(cell: dict[str, Any], rule: str) -> float:
    """Balanced accuracy of a published rule."""
    return (published(cell, rule, guilty) + 1 - published(cell, rule, innocent)) / 2


def best_published(cells: Cells) -> str:
    """The published rule with the best balanced accuracy on these very seeds: the most that could be claimed for it."""
    rules: list[str] = list(cells[0]["suspects"][0]["published"])
    return max(rules, key=lambda rule: float(np.mean([published_balanced(cell, rule) for cell in cells])))


def clustered(cells: Cells, key: str, keep: Callable[[Row], bool]) -> Interval:
    """Mean of ``key`` with a 95 % bootstrap interval that draws whole sources of a seed."""
    rows = [(number, row) for number, cell in enumerate(cells) for row in cell["suspects"] if keep(row)]
    values = np.array([float(row[key]) for _, row in rows])
    names = [f"{number} {row['source']}" for number, row in rows]
    clusters = np.unique(names, return_inverse=True)[1].astype(np.int64)
    low, high = bootstrap_interval(values, np.random.default_rng(0), clusters=clusters)
    if values.max(initial=0.0) == 0.0:
        high = never_seen(len(np.unique(clusters)))  # a bootstrap of zeros knows no width
    return Interval(mean=float(values.mean()), low=low, high=high, n=len(np.unique(clusters)))


def over_seeds(values: Sequence[float], least: float = 0.0) -> Interval:
    """The t interval over seeds of shares (``least`` 0) or of differences of shares (-1), cut to what they can be."""
    found = t_interval(values)
    return found.model_copy(update={"low": max(found.low, least), "high": min(found.high, 1.0)})


def by_shared(cells: Cells, keep: Callable[[Row], bool]) -> str:
    """False accusations apart for sources that are made of the defender's real pictures, and of others, in words."""
    parts = []
    for words, same in ((SAME, True), (HALF, False)):
        rows = suspects(cells, lambda row, s=same: keep(row) and (row["shared"] == 1.0) == s)  # type: ignore[misc]
        if rows:
            accused = [float(row["hidden_convicted"]) for row in rows]
            parts.append(f"sources made of {words} {np.mean(accused):.3f} (of {len(rows)})")
    return "; ".join(parts)


def at_most(interval: Interval, bound: float) -> Verdict:
    """``holds`` if the whole interval lies at or below ``bound``, ``does not hold`` if it lies above, else undecided."""
    if interval.high <= bound:
        return "holds"
    return "does not hold" if interval.low > bound else "undecided"


def judge_cells(cells: Cells) -> list[Claim]:
    """All claims, each with its own verdict."""
    alpha = cells[0]["alpha"]
    rule = best_published(cells)
    return [
        _published_claim(cells),
        _attribution(cells, rule),
        _chance(cells),
        _area(cells, "hidden", HIDDEN),
        _area(cells, "fair", FAIR),
        _false_accusations(cells, "false-accusation", innocent, HIDDEN, alpha, rule),
        _false_accusations(cells, "false-accusation-fair", fair(innocent), FAIR, alpha, rule),
        _power(cells, rule),
        _mixtures(cells),
        _fraction(cells),
        _queries(cells),
    ]


def _published_claim(cells: Cells) -> Claim:
    accuracy = {
        name: float(np.mean([published_balanced(cell, name) for cell in cells]))
        for name in cells[0]["suspects"][0]["published"]
    }
    name = best_published(cells)
    interval = over_seeds([published_balanced(cell, name) for cell in cells])
    return Claim(
        name="published",
        claim="the published rule tells whose generator made a classifier's training pictures with 99 % accuracy",
        paper="above 99 %",
        rule=f"balanced accuracy of its best variant here: {OVER_SEEDS} lies above .99",
        ours=interval.mean,
        baseline=0.99,
        interval=interval,
        verdict=judge(interval, 0.99),
        note="Balanced accuracy of each variant: " + ", ".join(f"{key} {value:.2f}" for key, value in accuracy.items()),
    )


def _attribution(cells: Cells, rule: str) -> Claim:
    difference = over_seeds([balanced(cell) - published_balanced(cell, rule) for cell in cells], -1.0)
    return Claim(
        name="attribution",
        claim=f"our verdict attributes more rightly than the best published rule ({HIDDEN})",
        paper="not in the paper",
        rule=f"paired difference in balanced accuracy: {OVER_SEEDS} lies above 0",
        ours=float(np.mean([balanced(cell) for cell in cells])),
        baseline=float(np.mean([published_balanced(cell, rule) for cell in cells])),
        interval=difference,
        verdict=judge(difference),
        note=f"The rule compared with ({rule}) was chosen on these very seeds, in its favour.",
    )


def _chance(cells: Cells) -> Claim:
    interval = over_seeds([balanced(cell) for cell in cells])
    return Claim(
        name="chance",
        claim=f"our verdict attributes better than chance ({HIDDEN})",
        paper="not in the paper",
        rule=f"balanced accuracy: {OVER_SEEDS} lies above .5",
        ours=interval.mean,
        baseline=0.5,
        interval=interval,
        verdict=judge(interval, 0.5),
    )


def _area(cells: Cells, protocol: str, words: str) -> Claim:
    ours, theirs = ([cell["auc"][name][protocol] for cell in cells] for name in (OURS, THEIRS))
    difference = over_seeds([a - b for a, b in zip(ours, theirs, strict=True)], -1.0)
    others = {name: float(np.mean([cell["auc"][name][protocol] for cell in cells])) for name in cells[0]["auc"]}
    return Claim(
        name=f"auc-{protocol}",
        claim=f"label agreement separates guilty from innocent better than accuracy, the published statistic ({words})",
        paper="not in the paper",
        rule=f"paired difference in area under the curve: {OVER_SEEDS} lies above 0",
        ours=float(np.mean(ours)),
        baseline=float(np.mean(theirs)),
        interval=difference,
        verdict=judge(difference),
        note="All: " + ", ".join(f"{name} {value:.3f}" for name, value in others.items()),
    )


def _false_accusations(
    cells: Cells, name: str, keep: Callable[[Row], bool], words: str, alpha: float, rule: str
) -> Claim:
    interval = clustered(cells, "hidden_convicted", keep)
    theirs = float(np.mean([published(cell, rule, keep) for cell in cells]))
    pooled = clustered(cells, "hidden_pooled", keep)
    seen = float(np.mean([row["convicted"] for row in suspects(cells, keep)]))
    unlike = float(np.mean([row["hidden_novel"] for row in suspects(cells, keep)]))
    judged = f"{interval.mean / (1 - unlike):.3f} of the others" if unlike < 1 else "none is judged"
    return Claim(
        name=name,
        claim=f"our verdict accuses at most {alpha:g} of innocents ({words})",
        paper="not in the paper",
        rule=f"the 95 % interval of the rate, clustered by source and seed, lies at or below {alpha:g}",
        ours=interval.mean,
        baseline=theirs,
        interval=interval,
        verdict=at_most(interval, alpha),
        note=f"{len(suspects(cells, keep))} innocents of {interval.n} sources: {by_shared(cells, keep)}. Baseline: {rule}, published. {unlike:.3f} are not judged, being unlike any shadow, and count as not accused; accused are {judged}. "
        f"With its source among the shadows {seen:.3f}. The pooled closed-world p, source hidden: {pooled}. "
        f"A p of {cells[0]['least_p']:.3f} is the least that the sources left can give.",
    )


def _power(cells: Cells, rule: str) -> Claim:
    gaps = [rate(cell, "hidden_convicted", guilty) - rate(cell, "hidden_convicted", innocent) for cell in cells]
    fair_power = float(np.mean([rate(cell, "hidden_convicted", fair(guilty)) for cell in cells]))
    twin = float(np.mean([rate(cell, "hidden_convicted", lambda row: row["source"] == "twin") for cell in cells]))
    theirs = float(np.mean([published(cell, rule, guilty) for cell in cells]))
    interval = over_seeds(gaps, -1.0)
    return Claim(
        name="power",
        claim="guilty suspects are convicted more often than innocent ones are",
        paper="not in the paper",
        rule=f"difference of the rates: {OVER_SEEDS} lies above 0",
        ours=float(np.mean([rate(cell, "hidden_convicted", guilty) for cell in cells])),
        baseline=float(np.mean([rate(cell, "hidden_convicted", innocent) for cell in cells])),
        interval=interval,
        verdict=judge(interval),
        note=f"Power with an architecture that no shadow has: {fair_power:.2f}; the hidden few-step twin of the generator is "
        f"convicted at {twin:.2f}, so the verdict reads: this generator or a derivative of it. Published ({rule}): {theirs:.2f}.",
    )


def _mixtures(cells: Cells) -> Claim:
    fractions = sorted({row["fraction"] for row in suspects(cells, lambda row: row["source"] == "mixed")})

    def at(cell: dict[str, Any], fraction: float) -> float:
        return rate(cell, "hidden_convicted", lambda row: row["source"] == "mixed" and row["fraction"] == fraction)

    shown = {each: float(np.mean([at(cell, each) for cell in cells])) for each in fractions}
    top = fractions[-1]
    interval = over_seeds([at(cell, top) - rate(cell, "hidden_convicted", innocent) for cell in cells], -1.0)
    return Claim(
        name="mixtures",
        claim=f"a suspect with {top:.0%} of its pictures from the generator is convicted more often than innocents",
        paper="not in the paper",
        rule=f"difference of the rates: {OVER_SEEDS} lies above 0",
        ours=shown[top],
        baseline=float(np.mean([rate(cell, "hidden_convicted", innocent) for cell in cells])),
        interval=interval,
        verdict=judge(interval),
        note="Convicted at " + ", ".join(f"f = {each:g}: {value:.2f}" for each, value in shown.items()),
    )


def _fraction(cells: Cells) -> Claim:
    estimates = [[each for each in cell["fraction"]["estimates"] if 0 < each["truth"] < 1] for cell in cells]
    given = [[e for e in part if e["estimate"] is not None] for part in estimates]
    hits = [sum(e["low"] <= e["truth"] <= e["high"] for e in part) for part in given]
    covered = over_seeds([hit / len(part) for hit, part in zip(hits, estimates, strict=True)])
    error = _mean([abs(e["estimate"] - e["truth"]) for part in given for e in part])
    width = _mean([e["high"] - e["low"] for part in given for e in part])
    guess = _mean([abs(0.5 - e["truth"]) for part in given for e in part])
    none = sum(map(len, estimates)) - sum(map(len, given))
    return Claim(
        name="fraction",
        claim="the 95 % interval of the used fraction contains the truth for at least 85 % of the mixtures",
        paper="not in the paper",
        rule=f"share of mixtures covered: {OVER_SEEDS} lies above .85",
        ours=covered.mean,
        baseline=0.85,
        interval=covered,
        verdict=judge(covered, 0.85),
        note=f"Mean absolute error of the estimate {error}, mean width of the interval {width} (guessing .5 errs by {guess}). "
        f"{none} of {sum(map(len, estimates))} mixtures were outside the calibrated range: no estimate, counted as missed.",
    )


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f}" if values else "unknown"


def _queries(cells: Cells) -> Claim:
    chosen = next(name for name in cells[0]["auc"] if name.endswith("chosen images"))
    random = next(name for name in cells[0]["auc"] if name.endswith("random images"))
    interval = over_seeds([cell["auc"][chosen]["hidden"] - cell["auc"][random]["hidden"] for cell in cells], -1.0)
    return Claim(
        name="queries",
        claim="images chosen where the families of shadows dispute are worth more than as many random ones",
        paper="not in the paper",
        rule=f"paired difference in area under the curve: {OVER_SEEDS} lies above 0",
        ours=float(np.mean([cell["auc"][chosen]["hidden"] for cell in cells])),
        baseline=float(np.mean([cell["auc"][random]["hidden"] for cell in cells])),
        interval=interval,
        verdict=judge(interval),
        note=f"{chosen}; all {cells[0]['queries']:,} images: {np.mean([cell['auc'][OURS]['hidden'] for cell in cells]):.3f}.",
    )
