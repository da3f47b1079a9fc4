"""The claims of the RMM study, written down before any run, and their verdicts. Knows numbers only: no model, no
search.

The unit of every interval is the seed: differences are paired within a cell (one regime and seed, same experts, same
data, same budget) and averaged over the regimes of a seed first, so that the values are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from burnish.core.findings import Finding, paired, units
from burnish.core.intervals import LEVEL, Interval, mean_correlation_interval, ratio_interval, t_interval
from burnish.core.study import Measured, Rule
from burnish.studies.rmm.records import ONE_PASS, Cell, Rank

BEATS = Rule("paired difference in test accuracy", over="seeds (regimes averaged within a seed)")
BEATS_UNIFORM = "higher average than every uniform merge in its tables"
WANTED = 0.8
RANKS = Rule(
    "mean Spearman correlation of cycling subsets with all images, where rho = sd / sqrt(sd^2 + p (1 - p) / n) >= .8,",
    kind="mean correlation",
    bound=WANTED,
    over="seeds",
)


def by_seed(cells: Sequence[Cell], number: Callable[[Cell], float]) -> list[float]:
    """One value a seed: the mean over its regimes."""
    return units(cells, number, seed_of)


def seed_of(cell: Cell) -> int:
    """The unit that a cell belongs to."""
    return cell.seed


def gain(cells: Sequence[Cell], ours: str, baseline: str) -> Finding:
    """Test accuracy of two arms or merges, paired."""
    return paired(cells, lambda cell: cell.test(ours), lambda cell: cell.test(baseline), by=seed_of)


def difference(cells: Sequence[Cell], ours: str, baseline: str) -> Interval:
    """Interval of the paired difference."""
    return gain(cells, ours, baseline).interval


def judge_cells(cells: Sequence[Cell]) -> list[Measured]:
    """All claims, each with its own verdict; an arm that a size leaves out leaves its claims undecided."""
    return [
        _beats(
            cells,
            "a1",
            "RMM as published beats the best untuned uniform merge",
            BEATS_UNIFORM,
            "published",
            "untuned",
            "Untuned as released: weight 1.0, TIES density .3, DARE .66. " + _sampled_note(cells, "untuned"),
        ),
        _beats(
            cells,
            "a2",
            "RMM as published beats the best tuned uniform merge",
            BEATS_UNIFORM + " (its merges are not tuned)",
            "published",
            "tuned",
            f"{_sampled_note(cells, 'tuned')} {_cross_entropy_note(cells, 'published')}",
        ),
        _beats(
            cells,
            "b",
            "corrected RMM (blocks, PPO with position, masks, warm start) beats the best tuned uniform merge",
            "not in the paper",
            "corrected",
            "tuned",
            f"{_cross_entropy_note(cells, 'corrected')} {_also(cells, 'greedy')}",
        ),
        _beats(
            cells,
            "c",
            "searching layer x expert scales (CMA-ES, cross-entropy: the default) beats the best tuned uniform merge",
            "not in the paper",
            "cma",
            "tuned",
            f"{_cross_entropy_note(cells, 'cma')} {_also(cells, 'cma, task scales')}",
        ),
        _beats(
            cells,
            "c2-random",
            "corrected RMM beats random search over blocks at equal budget",
            "not compared",
            "corrected",
            "random",
        ),
        _beats(
            cells,
            "c2-cma",
            "corrected RMM beats CMA-ES over layer x expert scales at equal budget",
            "not compared",
            "corrected",
            "cma",
        ),
        _cheaper(cells, "d-cost-.1", 0.1, 10),
        _cheaper(cells, "d-cost-.01", 0.01, 50),
        _ranks(cells),
    ]


def _beats(
    cells: Sequence[Cell], name: str, claim: str, paper: str, ours: str, baseline: str, note: str = ""
) -> Measured:
    if not all(cell.has(ours) and cell.has(baseline) for cell in cells):
        return Measured(name, claim, paper, BEATS, None)
    return Measured(name, claim, paper, BEATS, gain(cells, ours, baseline), note)


def _sampled_note(cells: Sequence[Cell], baseline: str) -> str:
    """The paper's own figure of merit, beside the kinder one that is judged."""

    def sampled(cell: Cell) -> float:
        found = cell.arms["published"].sampled
        assert found is not None, "the published search has a policy"
        return found - cell.test(baseline)

    return (
        "Judged: the finalist best on validation; the paper's own report, the mean of 10 sampled episodes of the last "
        f"policy, differs by {t_interval(by_seed(cells, sampled))}."
    )


def _cross_entropy_note(cells: Sequence[Cell], arm: str) -> str:
    found = difference(cells, arm, "tuned by cross-entropy")
    return f"Against the merge tuned by cross-entropy instead of accuracy: {found}."


def _also(cells: Sequence[Cell], arm: str) -> str:
    if not all(cell.has(arm) for cell in cells):
        return ""
    return f"Tried as well: {arm} {difference(cells, arm, 'tuned')}."


def times_cheaper(cells: Sequence[Cell], key: str, level: float = LEVEL) -> Interval:
    """CPU time of a full evaluation over that of one at s = ``key``."""
    logs = by_seed(cells, lambda cell: float(np.log(_seconds(cell, "1.0") / _seconds(cell, key))))
    return ratio_interval(logs, level)


def mean_seconds(cells: Sequence[Cell], key: str) -> float:
    """CPU seconds of an evaluation at s = ``key``."""
    return float(np.mean(by_seed(cells, lambda cell: _seconds(cell, key))))


def _seconds(cell: Cell, key: str) -> float:
    return cell.cost.seconds[key]


def _cheaper(cells: Sequence[Cell], name: str, fraction: float, times: float) -> Measured:
    key = str(fraction)
    rule = Rule("ratio (ours, baseline: CPU seconds an evaluation)", kind="ratio", bound=times, over="seeds")
    one_pass = float(np.mean(by_seed(cells, lambda cell: _seconds(cell, ONE_PASS) / _seconds(cell, key))))
    fewest = min(cell.cost.images for cell in cells)
    update = float(np.mean(by_seed(cells, lambda cell: cell.arms["published"].update_seconds or 0.0)))
    ours, baseline = mean_seconds(cells, key), mean_seconds(cells, "1.0")
    return Measured(
        name,
        f"at s = {fraction} an evaluation is at least {times:g} times cheaper than at s = 1",
        "up to 100x",
        rule,
        Finding(partial(times_cheaper, cells, key), ours, baseline),
        f"{fewest:,} images or more, in chunks of equal size at every s; against a full evaluation in one pass a task "
        f"(slower: it falls out of the processor's caches) it is {one_pass:.1f} times. The PPO update takes "
        f"{1000 * update:.1f} ms an episode and gets no cheaper: with it the ratio is "
        f"{(baseline + update) / (ours + update):.1f}.",
    )


def _ranks(cells: Sequence[Cell]) -> Measured:
    """Mean measured correlation where the rule says .8 or more."""
    name, paper = "d-ranks", "not given"
    claim = (
        "subset rewards rank architectures with a correlation of .8 or more where the rule says the subset is large "
        "enough"
    )
    rows: dict[int, list[Rank]] = {}
    for cell in sorted(cells, key=seed_of):
        rows.setdefault(cell.seed, []).extend(row for row in cell.cost.ranks if row.rule >= WANTED)
    if not all(rows.values()):
        return Measured(name, claim, paper, RANKS, None, "the rule asks for more images than there are, for some seed")

    def over_seeds(number: Callable[[Rank], float], level: float = LEVEL) -> Interval:
        means = [float(np.mean([number(row) for row in each])) for each in rows.values()]
        return mean_correlation_interval(means, level)

    def cycling(level: float = LEVEL) -> Interval:
        return over_seeds(lambda row: row.cycling, level)

    expected = float(np.mean([row.rule for each in rows.values() for row in each]))
    least = min(row.images for each in rows.values() for row in each)
    return Measured(
        name,
        claim,
        paper,
        RANKS,
        Finding(cycling, cycling().mean, expected),
        f"Baseline: the rule's own value there, from {least} images on. The rule is about the linear correlation, "
        f"which is {over_seeds(lambda row: row.linear)}. The same subset for every architecture: "
        f"{over_seeds(lambda row: row.same)}.",
    )
