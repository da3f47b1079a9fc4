"""Claims of the mint study, written down before any judged run. Knows numbers only.

The unit of every interval is the seed: its own weights, order, noise and test scenes. A prototype with one seed a row
measured plan + act .84 to .90 against at most .51 without a plan; corrections within noise; no advantage of experts.
Claims about experts are reported with their sign and expected open: three times as many weights for the same compute
have too little to part at this size. Source: MINT (arXiv 2503.01298), ablations on GenEval and COCO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from burnish.core.findings import Finding, paired
from burnish.core.study import Measured, Rule
from burnish.studies.mint.records import (
    ACT,
    BLIND,
    DENSE,
    FULL,
    FUNCTION,
    MENDED,
    MODALITY,
    PLAIN,
    REAL,
    REAL_PLAIN,
    REFINED,
    REPAIRED,
    REWRITTEN,
    TWICE,
    WIDE,
    ModelCell,
    Score,
)

NOT_IN_PAPER = "not in the paper"
BETTER = Rule("paired difference of the share of right pictures", kind="share difference", over="seeds")
MUCH = Rule("paired difference of the share of right pictures", kind="share difference", bound=0.15, over="seeds")
EARLIER = Rule("paired difference of the image loss, other less ours", over="seeds")

Cells = dict[str, ModelCell]
"""Of one seed, by model."""


class Asked(NamedTuple):
    """A claim that compares two ways of drawing, each with a model."""

    name: str
    claim: str
    ours: tuple[str, str]
    baseline: tuple[str, str]
    paper: str
    rule: Rule = BETTER


ASKED = (
    Asked(
        "plan",
        "A1: drawing with the model's own plan is better, by more than .15, than drawing twice without and keeping "
        "what reflection likes better",
        (FUNCTION, ACT),
        (PLAIN, TWICE),
        "GenEval .73 against .67",
        MUCH,
    ),
    Asked(
        "refined",
        "A1: it is better than drawing the true plan told as a prompt, with no plan in context (open, UReason)",
        (FUNCTION, ACT),
        (REFINED, REWRITTEN),
        NOT_IN_PAPER,
    ),
    Asked(
        "full",
        "A2: with reflection and correction it is better than the draft (open; within noise in the prototype)",
        (FUNCTION, FULL),
        (FUNCTION, ACT),
        "GenEval .77 against .73",
    ),
    Asked(
        "corrected",
        "A2: without a plan, a draft that is corrected is better than the better of two (open)",
        (PLAIN, MENDED),
        (PLAIN, TWICE),
        "T2I-CompBench 48.86 against 42.26",
    ),
    Asked(
        "repaired",
        "A2: bad drafts, drawn without the plan, are better after reflection and correction by it (open)",
        (FUNCTION, REPAIRED),
        (FUNCTION, BLIND),
        NOT_IN_PAPER,
    ),
    Asked(
        "real",
        "A1: of real pictures (emoji, stamps), too, more is right with the model's own plan than drawn twice without "
        "(open)",
        (REAL, ACT),
        (REAL_PLAIN, TWICE),
        NOT_IN_PAPER,
    ),
    Asked(
        "modality",
        "A3: experts by modality are better than a dense model of the same active size (expected not to hold)",
        (MODALITY, ACT),
        (DENSE, ACT),
        "CIDEr 121.1 against 116.2",
    ),
    Asked(
        "function",
        "A3: experts by function are better than by modality (expected not to hold)",
        (FUNCTION, ACT),
        (MODALITY, ACT),
        "CIDEr 126.5 against 121.1",
    ),
    Asked(
        "parameters",
        "A3: experts by function are better than a dense model of as many parameters (open)",
        (FUNCTION, ACT),
        (WIDE, ACT),
        NOT_IN_PAPER,
    ),
)


def judge_cells(cells: Sequence[ModelCell]) -> list[Measured]:
    """All claims; one whose models a size does not train is open."""
    seeds = by_seed(cells)
    return [*(_asked(seeds, asked) for asked in ASKED), _held_out(seeds), _losses(seeds)]


def by_seed(cells: Sequence[ModelCell]) -> list[Cells]:
    """The cells of each seed, seeds in order."""
    found: dict[int, Cells] = {}
    for cell in cells:
        found.setdefault(cell.seed, {})[cell.model] = cell
    return [found[seed] for seed in sorted(found)]


def score_of(where: tuple[str, str]) -> Callable[[Cells], Score]:
    """Of a model and a way of drawing."""
    return lambda cells: cells[where[0]].scores[where[1]]


def _asked(seeds: Sequence[Cells], asked: Asked) -> Measured:
    models = {asked.ours[0], asked.baseline[0]}
    mine = [cells for cells in seeds if models <= cells.keys()]
    found: Finding | None = None
    note = ""
    if mine:
        ours, baseline = score_of(asked.ours), score_of(asked.baseline)
        found = paired(mine, lambda cells: ours(cells).mean, lambda cells: baseline(cells).mean, asked.rule.kind)
        note = _beside(mine, asked)
    return Measured(asked.name, asked.claim, asked.paper, asked.rule, found, note)


def _beside(seeds: Sequence[Cells], asked: Asked) -> str:
    """What stands beside a difference: seconds a picture, steps, and what corrections did."""

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    ours, baseline = score_of(asked.ours), score_of(asked.baseline)
    times = [mean([of(cells).seconds for cells in seeds]) for of in (ours, baseline)]
    steps = [mean([cells[of[0]].steps for cells in seeds]) for of in (asked.ours, asked.baseline)]
    said = f"CPU seconds a picture: {times[0]:.3f} against {times[1]:.3f}; steps: {steps[0]:.0f} against {steps[1]:.0f}"
    if asked.ours[1] in (FULL, MENDED, REPAIRED):
        fixed, broken = (sum(getattr(ours(cells), name) or 0 for cells in seeds) for name in ("fixed", "broken"))
        said += f"; fixed {fixed}, broken {broken}"
    return said


def _held_out(seeds: Sequence[Cells]) -> Measured:
    claim = (
        "A1: of combinations that training never shows, too, more is right with the model's own plan than drawn twice "
        "without (open)"
    )
    mine = [cells for cells in seeds if {FUNCTION, PLAIN} <= cells.keys()]
    found = None
    if mine:
        found = paired(mine, lambda cells: cells[FUNCTION].held_out, lambda cells: cells[PLAIN].held_out, BETTER.kind)
    return Measured("held_out", claim, NOT_IN_PAPER, BETTER, found, "")


def _losses(seeds: Sequence[Cells]) -> Measured:
    claim = (
        "A3: after the same CPU seconds the image loss of experts by function is below that of the dense model (open)"
    )
    mine = [cells for cells in seeds if {FUNCTION, DENSE} <= cells.keys()]
    found = None
    note = ""
    if mine:
        found = paired(
            mine, lambda cells: cells[DENSE].losses["image_loss"], lambda cells: cells[FUNCTION].losses["image_loss"]
        )
        cosines = [cells[DENSE].cosine for cells in mine]
        known = [cosine for cosine in cosines if cosine is not None]
        note = f"cosine of text and image gradients in the dense model: {sum(known) / len(known):+.3f}" if known else ""
    return Measured("losses", claim, NOT_IN_PAPER, EARLIER, found, note)
