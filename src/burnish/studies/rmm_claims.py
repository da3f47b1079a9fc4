"""The claims of the RMM study, written down before any run, and their verdicts. Knows numbers only: no model, no search.

The unit of every interval is the seed: differences are paired within a cell (one regime and seed, same experts, same
data, same budget) and averaged over the regimes of a seed first, so that the values are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from burnish.studies.claims import Claim, Interval, judge, t_interval
from burnish.studies.rmm_cost import ONE_PASS

Cells = Sequence[dict[str, Any]]
RULE = "the 95 % t interval over seeds (regimes averaged within a seed) of the paired difference in test accuracy lies above 0"
BEATS_UNIFORM = "higher average than every uniform merge in its tables"


def by_seed(cells: Cells, value: Callable[[dict[str, Any]], float]) -> list[float]:
    """One value a seed: the mean over its regimes."""
    seeds = sorted({cell["seed"] for cell in cells})
    return [float(np.mean([value(cell) for cell in cells if cell["seed"] == seed])) for seed in seeds]


def test_score(cell: dict[str, Any], name: str) -> float:
    """Test accuracy of an arm or a merge, in percent."""
    return float({**cell["arms"], **cell["merges"]}[name]["test"])


def difference(cells: Cells, ours: str, baseline: str) -> Interval:
    """Interval of the paired difference."""
    return t_interval(by_seed(cells, lambda cell: test_score(cell, ours) - test_score(cell, baseline)))


def judge_cells(cells: Cells) -> list[Claim]:
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
            "mended RMM (blocks, PPO with position, masks, warm start) beats the best tuned uniform merge",
            "not in the paper",
            "mended",
            "tuned",
            f"{_cross_entropy_note(cells, 'mended')} {_also(cells, 'greedy')}",
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
            "mended RMM beats random search over blocks at equal budget",
            "not compared",
            "mended",
            "random",
            "",
        ),
        _beats(
            cells,
            "c2-cma",
            "mended RMM beats CMA-ES over layer x expert scales at equal budget",
            "not compared",
            "mended",
            "cma",
            "",
        ),
        _cheaper(cells, "d-cost-.1", 0.1, 10),
        _cheaper(cells, "d-cost-.01", 0.01, 50),
        _ranks(cells),
        _beats(
            cells,
            "e",
            "an item-response subset (as MERGE3) finds a better merge than RMM's cycling subset at equal cost",
            "MERGE3: about 50x less fitness cost",
            "irt subset",
            "cycling subset",
            "CMA-ES over layer x expert scales, accuracy, a tenth of the images a reward; the cycling subset gets as many "
            "more episodes as the item-response fit costs images.",
        ),
    ]


def _beats(cells: Cells, name: str, claim: str, paper: str, ours: str, baseline: str, note: str) -> Claim:
    if any(
        ours not in {**cell["arms"], **cell["merges"]} or baseline not in {**cell["arms"], **cell["merges"]}
        for cell in cells
    ):
        return Claim(
            name=name,
            claim=claim,
            paper=paper,
            rule=RULE,
            ours=None,
            baseline=None,
            interval=None,
            verdict="undecided",
            note="not run at this size",
        )
    interval = difference(cells, ours, baseline)
    return Claim(
        name=name,
        claim=claim,
        paper=paper,
        rule=RULE,
        ours=float(np.mean(by_seed(cells, lambda cell: test_score(cell, ours)))),
        baseline=float(np.mean(by_seed(cells, lambda cell: test_score(cell, baseline)))),
        interval=interval,
        verdict=judge(interval),
        note=note,
    )


def _sampled_note(cells: Cells, baseline: str) -> str:
    """The paper's own figure of merit, beside the kinder one that is judged."""
    values = by_seed(cells, lambda cell: cell["arms"]["published"]["sampled"] - test_score(cell, baseline))
    return (
        "Judged: the finalist best on validation; the paper's own report, the mean of 10 sampled episodes of the last "
        f"policy, differs by {t_interval(values)}."
    )


def _cross_entropy_note(cells: Cells, arm: str) -> str:
    return f"Against the merge tuned by cross-entropy instead of accuracy: {difference(cells, arm, 'tuned by cross-entropy')}."


def _also(cells: Cells, arm: str) -> str:
    if any(arm not in cell["arms"] for cell in cells):
        return ""
    return f"Tried as well: {arm} {difference(cells, arm, 'tuned')}."


def _cheaper(cells: Cells, name: str, fraction: float, times: float) -> Claim:
    def seconds(cell: dict[str, Any], s: float) -> float:
        return float(cell["cost"]["seconds"][str(s)])

    interval = t_interval(by_seed(cells, lambda cell: seconds(cell, 1.0) / seconds(cell, fraction)))
    one_pass = float(np.mean(by_seed(cells, lambda cell: cell["cost"]["seconds"][ONE_PASS] / seconds(cell, fraction))))
    fewest = min(cell["cost"]["images"] for cell in cells)
    update = float(np.mean(by_seed(cells, lambda cell: cell["arms"]["published"]["update_seconds"])))
    ours = float(np.mean(by_seed(cells, lambda cell: seconds(cell, fraction))))
    baseline = float(np.mean(by_seed(cells, lambda cell: seconds(cell, 1.0))))
    return Claim(
        name=name,
        claim=f"at s = {fraction} an evaluation is at least {times:g} times cheaper than at s = 1",
        paper="up to 100x",
        rule=f"the 95 % t interval over seeds of the ratio lies above {times:g} (ours, baseline: CPU seconds an evaluation)",
        ours=ours,
        baseline=baseline,
        interval=interval,
        verdict=judge(interval, times),
        note=f"{fewest:,} images or more, in chunks of equal size at every s; against a full evaluation in one pass a task "
        f"(slower: it falls out of the processor's caches) it is {one_pass:.1f} times. "
        f"The PPO update takes {1000 * update:.1f} ms an episode and gets no cheaper: with it "
        f"the ratio is {(baseline + update) / (ours + update):.1f}.",
    )


def _ranks(cells: Cells) -> Claim:
    """Mean measured correlation where the rule says .8 or more."""
    claim = "subset rewards rank architectures with a correlation of .8 or more where the rule says the subset is large enough"
    rule = (
        "where rho = sd / sqrt(sd^2 + p (1 - p) / n) >= .8: the 95 % t interval over seeds of the mean Spearman "
        "correlation of cycling subsets with all images lies above .8"
    )
    seeds = sorted({cell["seed"] for cell in cells})
    rows = {
        seed: [row for cell in cells if cell["seed"] == seed for row in cell["cost"]["ranks"] if row["rule"] >= 0.8]
        for seed in seeds
    }
    if not all(rows.values()):
        return Claim(
            name="d-ranks",
            claim=claim,
            paper="not given",
            rule=rule,
            ours=None,
            baseline=None,
            interval=None,
            verdict="undecided",
            note="the rule asks for more images than there are, for some seed",
        )
    interval = t_interval([float(np.mean([row["cycling"] for row in rows[seed]])) for seed in seeds])
    expected = float(np.mean([row["rule"] for each in rows.values() for row in each]))
    same = t_interval([float(np.mean([row["same"] for row in rows[seed]])) for seed in seeds])
    linear = t_interval([float(np.mean([row["linear"] for row in rows[seed]])) for seed in seeds])
    least = min(row["images"] for each in rows.values() for row in each)
    return Claim(
        name="d-ranks",
        claim=claim,
        paper="not given",
        rule=rule,
        ours=interval.mean,
        baseline=expected,
        interval=interval,
        verdict=judge(interval, 0.8),
        note=f"Baseline: the rule's own value there, from {least} images on. "
        f"The rule is about the linear correlation, which is {linear}. The same subset for every architecture: {same}.",
    )
