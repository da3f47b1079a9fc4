"""The claims of the TrainProVe study, written down before any judged run, and their verdicts. Knows numbers only.

A first judged run (seeds from 1000) came before the pictures asked about were held out of all sources; claims and rules
stayed, worlds were corrected, and the judged seeds are new ones.

The unit of every interval over a mean is the seed (its own generators, its own models). False accusations are counted
suspect by suspect with the source hidden; the unit of their interval is the source of a seed, since its models share
one training pool. (A bootstrap of whole sources, with which the first judged results were stored, missed the truth too
often.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from burnish.core.findings import Finding, paired, units
from burnish.core.intervals import LEVEL, Interval, mean_share_interval
from burnish.core.study import Measured, Rule
from burnish.studies.trainprove.records import SeedCell, Suspect

Cells = Sequence[SeedCell]
Keep = Callable[[Suspect], bool]
Rate = Literal["convicted", "hidden_convicted", "hidden_novel", "hidden_pooled"]
OURS, THEIRS = "agreement", "accuracy (published)"
HIDDEN = "the suspect's source hidden from the shadows"
FAIR = "neither its source nor its architecture among the shadows"
SAME, HALF = "the very real pictures of the defender's", "other halves of the real pictures"
NOT_IN_PAPER = "not in the paper"

BEST = Rule("balanced accuracy of the published rule's best variant here", kind="mean share", bound=0.99, over="seeds")
ATTRIBUTES = Rule("paired difference in balanced accuracy", kind="share difference", over="seeds")
CHANCE = Rule("balanced accuracy", kind="mean share", bound=0.5, over="seeds")
AREA = Rule("paired difference in area under the curve", kind="share difference", over="seeds")
RATES = Rule("difference of the rates", kind="share difference", over="seeds")
COVERED = Rule("share of mixtures covered", kind="mean share", bound=0.85, over="seeds")


def false_rule(alpha: float) -> Rule:
    """The rule of false accusations, at a nominal level."""
    return Rule("rate", kind="mean share", bound=alpha, side="at most", over="sources of a seed")


def suspects(cells: Cells, keep: Keep) -> list[Suspect]:
    """The suspects of all seeds that ``keep`` keeps."""
    return [row for cell in cells for row in cell.suspects if keep(row)]


def mean_of(rows: Sequence[Suspect], key: Rate) -> float:
    """Mean of a rate over suspects."""
    return float(np.mean([float(getattr(row, key)) for row in rows]))


def rate(cell: SeedCell, key: Rate, keep: Keep) -> float:
    """Mean of a rate over the suspects of a seed that ``keep`` keeps."""
    return mean_of(suspects([cell], keep), key)


def innocent(row: Suspect) -> bool:
    """Trained on an innocent source."""
    return row.innocent


def guilty(row: Suspect) -> bool:
    """Trained on the defender's pictures only."""
    return row.guilty


def fair(keep: Keep) -> Keep:
    """Of those, the ones with an architecture that no shadow has."""
    return lambda row: keep(row) and row.fair


def balanced(cell: SeedCell) -> float:
    """Mean of the shares of guilty suspects convicted and of innocent ones not convicted, sources hidden."""
    return (rate(cell, "hidden_convicted", guilty) + 1 - rate(cell, "hidden_convicted", innocent)) / 2


def published(cell: SeedCell, rule: str, keep: Keep) -> float:
    """Share of suspects that a published rule convicts; one that cannot be applied (equal batches) convicts nobody."""
    return float(np.mean([bool(row.published[rule]) for row in suspects([cell], keep)]))


def published_balanced(cell: SeedCell, rule: str) -> float:
    """Balanced accuracy of a published rule."""
    return (published(cell, rule, guilty) + 1 - published(cell, rule, innocent)) / 2


def best_published(cells: Cells) -> str:
    """The published rule with the best balanced accuracy on these very seeds: the most that could be claimed for it."""
    rules: list[str] = list(cells[0].suspects[0].published)
    return max(rules, key=lambda rule: over(cells, lambda cell: published_balanced(cell, rule)))


def over(cells: Cells, number: Callable[[SeedCell], float]) -> float:
    """Mean over seeds."""
    return float(np.mean([number(cell) for cell in cells]))


def clustered(cells: Cells, key: Rate, keep: Keep, level: float = LEVEL) -> Interval:
    """Mean of a rate over the sources of all seeds: the models of one source make one value."""
    rows = [(number, row) for number, cell in enumerate(cells) for row in cell.suspects if keep(row)]
    rates = units(rows, lambda each: float(getattr(each[1], key)), lambda each: (each[0], each[1].source))
    return mean_share_interval(rates, level=level)


def by_shared(cells: Cells, keep: Keep) -> str:
    """False accusations apart for sources that are made of the defender's real pictures, and of others, in words."""
    parts = []
    for words, same in ((SAME, True), (HALF, False)):
        rows = [row for row in suspects(cells, keep) if (row.shared == 1.0) == same]
        if rows:
            parts.append(f"sources made of {words} {mean_of(rows, 'hidden_convicted'):.3f} (of {len(rows)})")
    return "; ".join(parts)


def judge_cells(cells: Cells) -> list[Measured]:
    """All claims, each with its own verdict."""
    alpha = cells[0].alpha
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


def _published_claim(cells: Cells) -> Measured:
    def accuracy(name: str) -> Callable[[SeedCell], float]:
        return lambda cell: published_balanced(cell, name)

    shown = ", ".join(f"{each} {over(cells, accuracy(each)):.2f}" for each in cells[0].suspects[0].published)
    return Measured(
        "published",
        "the published rule tells whose generator made a classifier's training pictures with 99 % accuracy",
        "above 99 %",
        BEST,
        _accuracy(cells, accuracy(best_published(cells)), BEST.bound),
        f"Balanced accuracy of each variant: {shown}",
    )


def _accuracy(cells: Cells, number: Callable[[SeedCell], float], bound: float) -> Finding:
    """Mean balanced accuracy; where it is perfect, it has been tested as often as the rarer kind of suspect says."""
    trials = min(len(suspects(cells, keep)) for keep in (guilty, innocent))
    values = units(cells, number)
    return Finding(lambda level: mean_share_interval(values, trials, level), float(np.mean(values)), bound)


def _attribution(cells: Cells, rule: str) -> Measured:
    return Measured(
        "attribution",
        f"our verdict attributes more rightly than the best published rule ({HIDDEN})",
        NOT_IN_PAPER,
        ATTRIBUTES,
        paired(cells, balanced, lambda cell: published_balanced(cell, rule), ATTRIBUTES.kind),
        f"The rule compared with ({rule}) was chosen on these very seeds, in its favour.",
    )


def _chance(cells: Cells) -> Measured:
    return Measured(
        "chance",
        f"our verdict attributes better than chance ({HIDDEN})",
        NOT_IN_PAPER,
        CHANCE,
        _accuracy(cells, balanced, CHANCE.bound),
    )


def _area(cells: Cells, protocol: Literal["hidden", "fair"], words: str) -> Measured:
    def area(name: str) -> Callable[[SeedCell], float]:
        return lambda cell: float(getattr(cell.auc[name], protocol))

    others = {name: over(cells, area(name)) for name in cells[0].auc}
    return Measured(
        f"auc-{protocol}",
        f"label agreement separates guilty from innocent better than accuracy, the published statistic ({words})",
        NOT_IN_PAPER,
        AREA,
        paired(cells, area(OURS), area(THEIRS), AREA.kind),
        "All: " + ", ".join(f"{name} {value:.3f}" for name, value in others.items()),
    )


def _false_accusations(cells: Cells, name: str, keep: Keep, words: str, alpha: float, rule: str) -> Measured:
    interval = clustered(cells, "hidden_convicted", keep)
    rows = suspects(cells, keep)
    pooled = clustered(cells, "hidden_pooled", keep)
    unlike = mean_of(rows, "hidden_novel")
    judged = f"{interval.mean / (1 - unlike):.3f} of the others" if unlike < 1 else "none is judged"
    return Measured(
        name,
        f"our verdict accuses at most {alpha:g} of innocents ({words})",
        NOT_IN_PAPER,
        false_rule(alpha),
        Finding(
            lambda level: clustered(cells, "hidden_convicted", keep, level),
            interval.mean,
            over(cells, lambda cell: published(cell, rule, keep)),
        ),
        f"{len(rows)} innocents of {interval.n} sources: {by_shared(cells, keep)}. Baseline: {rule}, published. "
        f"{unlike:.3f} are not judged, being unlike any shadow, and count as not accused; accused are {judged}. With "
        f"its source among the shadows {mean_of(rows, 'convicted'):.3f}. The pooled closed-world p, source hidden: "
        f"{pooled}. A p of {cells[0].least_p:.3f} is the least that the sources left can give.",
    )


def _rate_of(keep: Keep) -> Callable[[SeedCell], float]:
    return lambda cell: rate(cell, "hidden_convicted", keep)


def _power(cells: Cells, rule: str) -> Measured:
    fair_power = over(cells, _rate_of(fair(guilty)))
    twin = over(cells, _rate_of(lambda row: row.source == "twin"))
    theirs = over(cells, lambda cell: published(cell, rule, guilty))
    return Measured(
        "power",
        "guilty suspects are convicted more often than innocent ones are",
        NOT_IN_PAPER,
        RATES,
        paired(cells, _rate_of(guilty), _rate_of(innocent), RATES.kind),
        f"Power with an architecture that no shadow has: {fair_power:.2f}; the hidden few-step twin of the generator "
        f"is convicted at {twin:.2f}, so the verdict reads: this generator or a derivative of it. Published ({rule}): "
        f"{theirs:.2f}.",
    )


def _mixtures(cells: Cells) -> Measured:
    fractions = sorted({row.fraction for row in suspects(cells, lambda row: row.source == "mixed")})

    def at(fraction: float) -> Callable[[SeedCell], float]:
        return _rate_of(lambda row: row.source == "mixed" and row.fraction == fraction)

    top = fractions[-1]
    return Measured(
        "mixtures",
        f"a suspect with {top:.0%} of its pictures from the generator is convicted more often than innocents",
        NOT_IN_PAPER,
        RATES,
        paired(cells, at(top), _rate_of(innocent), RATES.kind),
        "Convicted at " + ", ".join(f"f = {each:g}: {over(cells, at(each)):.2f}" for each in fractions),
    )


def _fraction(cells: Cells) -> Measured:
    mixtures = [[each for each in cell.fractions if 0 < each.truth < 1] for cell in cells]
    rows = [each for part in mixtures for each in part]
    covered = [sum(each.covers for each in part) / len(part) for part in mixtures]
    given = [each for each in rows if each.estimate is not None]
    error = _mean([each.error for each in given if each.error is not None])
    width = _mean([each.width for each in given if each.width is not None])
    guess = _mean([abs(0.5 - each.truth) for each in given])
    return Measured(
        "fraction",
        "the 95 % interval of the used fraction contains the truth for at least 85 % of the mixtures",
        NOT_IN_PAPER,
        COVERED,
        Finding(lambda level: mean_share_interval(covered, len(rows), level), float(np.mean(covered)), COVERED.bound),
        f"Mean absolute error of the estimate {error}, mean width of the interval {width} (guessing .5 errs by "
        f"{guess}). {len(rows) - len(given)} of {len(rows)} mixtures were outside the calibrated range: no estimate, "
        "counted as missed.",
    )


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f}" if values else "unknown"


def _queries(cells: Cells) -> Measured:
    chosen = next(name for name in cells[0].auc if name.endswith("chosen images"))
    random = next(name for name in cells[0].auc if name.endswith("random images"))
    return Measured(
        "queries",
        "images chosen where the families of shadows dispute are worth more than as many random ones",
        NOT_IN_PAPER,
        AREA,
        paired(cells, lambda cell: cell.auc[chosen].hidden, lambda cell: cell.auc[random].hidden, AREA.kind),
        f"{chosen}; all {cells[0].queries:,} images: {over(cells, lambda cell: cell.auc[OURS].hidden):.3f}.",
    )
