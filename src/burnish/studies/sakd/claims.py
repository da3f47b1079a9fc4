"""Claims of the sakd study, written down before any judged run. Knows numbers only.

The unit of every interval is the world: its own samples, teacher and students; all arms of a regime are compared within
it, at equal FLOPs, the table of the teacher and all frozen passes included. (The same at equal updates stands in the
tables of the report: there frozen passes come for nothing.) The baseline of record is distillation on a subset drawn
afresh each epoch. Each regime begins with its gate: where distillation is not above labels alone, choosing whom to
distil on can show little.

What a prototype measured (pictures, T = 4, equal updates, passes not charged): SAKD perturbed +.025 with duplicates and
+.027 with a long tail; a frozen pass of a teacher ten times as large over all samples costs as much as two dozen
updates on each chosen one, so at equal FLOPs the published method is expected to lose. Expected not to hold: `harder`
(difficulty does not know the label), `noise` (trust throws away what the label noise has spoilt and the teacher knows),
both claims about SAKD as in the text. Open: the pre-trained student, the perturbed selection at equal FLOPs.

World 7, looked at while lengths of training were settled, with the wrong teacher: trust as strength +.07, trust pool
+.04, easiest -.42; with label noise: trust as strength -.10; of unusable clips the easiest held .39, fewer than there
are: here nets are sure of something else about each, where the prototype's outputs were alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from burnish.core.findings import Finding, paired
from burnish.core.study import Measured, Rule
from burnish.studies.sakd.records import (
    CE,
    DIVERSE,
    EASY,
    LONG,
    PERTURBED,
    POOL,
    RANDOM,
    SAKD,
    SELECTED,
    SINGLE_FRAME,
    STRENGTH,
    TRUST,
    Column,
    Regime,
    RegimeCell,
    Trained,
)

NOT_IN_PAPER = "not in the paper"
BETTER = Rule("paired difference of accuracy", kind="share difference", over="worlds")
NOT_WORSE = Rule("paired difference of accuracy", kind="share difference", bound=-0.01, over="worlds")
NEARLY = Rule("paired difference of accuracy", kind="share difference", bound=-0.005, over="worlds")
NOT_ABOVE = Rule("paired difference of accuracy", kind="share difference", bound=0.01, side="at most", over="worlds")
MORE = Rule("share of unusable clips among the chosen less that in the set", kind="share difference", over="worlds")
TUNED = "with Kinetics pre-training 90.73 each epoch, 89.88 each 5th"
KD_FULL = "KD on 100 % 84.20, SAKD on 10 % 84.87 (SlowFast, UCF101)"


class Asked(NamedTuple):
    """A claim that compares two arms of a regime at equal FLOPs."""

    name: str
    claim: str
    regime: Regime
    ours: str
    baseline: str = RANDOM
    rule: Rule = BETTER
    paper: str = NOT_IN_PAPER


ASKED = (
    Asked(
        "duplicates",
        "R1: with 85 % near-duplicates SAKD perturbed is better than fresh random subsets",
        "duplicates",
        PERTURBED,
    ),
    Asked("duplicates_diverse", "R1: there diversity alone is better", "duplicates", DIVERSE),
    Asked("duplicates_text", "R1: there SAKD as in the text is better (expected not to hold)", "duplicates", SAKD),
    Asked("tail", "R2: with a long tail of 50:1 and a balanced test SAKD perturbed is better", "long tail", PERTURBED),
    Asked("tail_diverse", "R2: there diversity alone is better", "long tail", DIVERSE),
    Asked("tail_text", "R2: there SAKD as in the text is better (expected not to hold)", "long tail", SAKD),
    Asked(
        "clean_low",
        "R3: on clean clips SAKD perturbed is within .01 of fresh random subsets: not worse by more",
        "clean",
        PERTURBED,
        rule=NOT_WORSE,
    ),
    Asked("clean_high", "R3: within .01 of them: not better by more", "clean", PERTURBED, rule=NOT_ABOVE),
    Asked(
        "strength",
        "R3: on clean clips adaptive strength alone, on fresh random subsets, is better (expected not to hold)",
        "clean",
        STRENGTH,
        paper="KD with labels and teacher 87.92, with the teacher alone 85.80",
    ),
    Asked("selection", "R3: the published selection alone is better (expected not to hold)", "clean", SELECTED),
    Asked("trust", "R4: with 40 % of the teacher's outputs wrong, trust as strength is better", "wrong teacher", TRUST),
    Asked("trust_pool", "R4: there choosing at random among trusted samples is better", "wrong teacher", POOL),
    Asked(
        "harder",
        "R4: there difficulty alone (the easiest samples) is better (expected not to hold)",
        "wrong teacher",
        EASY,
    ),
    Asked(
        "noise",
        "R5: with 40 % of the labels wrong, trust as strength is not worse by more than .01 (expected not to hold)",
        "label noise",
        TRUST,
        rule=NOT_WORSE,
    ),
    Asked(
        "tuned",
        "R7: on 10 % of the samples, from a student that has learnt other motions, SAKD perturbed is better (open)",
        "pre-trained",
        PERTURBED,
        paper=TUNED,
    ),
    Asked("tuned_text", "R7: there SAKD as in the text is better (open)", "pre-trained", SAKD, paper=TUNED),
    Asked(
        "half",
        "R8: SAKD perturbed is not below distillation on all samples by more than .005, at half of its FLOPs",
        "clean",
        PERTURBED,
        LONG,
        NEARLY,
        KD_FULL,
    ),
    Asked("half_text", "R8: SAKD as in the text likewise (expected not to hold)", "clean", SAKD, LONG, NEARLY, KD_FULL),
    Asked(
        "pictures",
        "On pictures SAKD perturbed is better than fresh random subsets (open)",
        "pictures",
        PERTURBED,
        paper="CIFAR-100, R56 to R20: 70.55, no plain KD beside it",
    ),
)

GATES: dict[Regime, str] = {
    "clean": "R3",
    "duplicates": "R1",
    "long tail": "R2",
    "wrong teacher": "R4",
    "label noise": "R5",
    "unusable clips": "R6",
    "pre-trained": "R7",
    "pictures": "pictures",
}


def judge_cells(cells: Sequence[RegimeCell]) -> list[Measured]:
    """All claims, gates first. If a single frame tells the motion in any world, none about clips is judged."""
    told = [cell for cell in cells if cell.single_frame is not None and cell.single_frame > SINGLE_FRAME]
    refusal = ""
    if told:
        refusal = (
            f"refused: in world {told[0].world} a single frame tells the motion in {told[0].single_frame:.3f} of all "
            f"cases, above {SINGLE_FRAME}"
        )
    fit = [cell for cell in cells if not told or cell.single_frame is None]
    return [
        *(_gate(fit, regime, refusal) for regime in GATES),
        *(_asked(fit, asked, refusal) for asked in ASKED),
        _junk(fit, refusal),
    ]


def accuracy(arm: str, column: Column = "flops") -> Callable[[RegimeCell], float]:
    """Of an arm, from a cell."""
    return lambda cell: cell.arms[arm].at(column).accuracy


def _gate(cells: Sequence[RegimeCell], regime: Regime, refusal: str) -> Measured:
    words = f"Gate {GATES[regime]}, {regime}: distillation is above labels alone, both on fresh random subsets"
    return _asked(cells, Asked(f"gate_{regime.replace(' ', '_')}", words, regime, RANDOM, CE), refusal)


def _asked(cells: Sequence[RegimeCell], asked: Asked, refusal: str) -> Measured:
    mine = [cell for cell in cells if cell.regime == asked.regime]
    found: Finding | None = None
    note = refusal if asked.regime != "pictures" else ""
    if mine and {asked.ours, asked.baseline} <= set(mine[0].arms):
        found = paired(mine, accuracy(asked.ours), accuracy(asked.baseline), asked.rule.kind)
        note = _spent(mine, asked.ours, asked.baseline)
    return Measured(asked.name, asked.claim, asked.paper, asked.rule, found, note)


def _spent(cells: Sequence[RegimeCell], ours: str, baseline: str) -> str:
    """What stands beside a difference: how many updates the FLOPs paid for, and the difference at equal updates."""

    def mean(arm: str, number: Callable[[Trained], float]) -> float:
        return sum(number(cell.arms[arm].flops) for cell in cells) / len(cells)

    even = sum(accuracy(ours, "updates")(cell) - accuracy(baseline, "updates")(cell) for cell in cells) / len(cells)
    return (
        f"updates: {mean(ours, lambda run: run.steps):.0f} of ours, {mean(baseline, lambda run: run.steps):.0f} of the "
        f"baseline; {mean(ours, lambda run: run.frozen / run.flops):.0%} of our FLOPs measured difficulty; at "
        f"equal updates the difference is {even:+.3f}"
    )


def _junk(cells: Sequence[RegimeCell], refusal: str) -> Measured:
    claim = "R6: with 50 % unusable clips, choosing the easiest picks more of them than there are"
    mine = [cell for cell in cells if cell.regime == "unusable clips" and EASY in cell.arms]
    if not mine:
        return Measured("junk", claim, NOT_IN_PAPER, MORE, None, refusal)

    def chosen(arm: str) -> Callable[[RegimeCell], float]:
        return lambda cell: cell.arms[arm].updates.bad

    shares = {arm: sum(map(chosen(arm), mine)) / len(mine) for arm in (RANDOM, PERTURBED)}
    note = (
        f"at equal updates; {RANDOM}: {shares[RANDOM]:.2f}; {PERTURBED}: {shares[PERTURBED]:.2f}; at equal FLOPs the "
        f"easiest give an accuracy of {sum(map(accuracy(EASY), mine)) / len(mine):.3f}, random ones of "
        f"{sum(map(accuracy(RANDOM), mine)) / len(mine):.3f}"
    )
    return Measured(
        "junk", claim, NOT_IN_PAPER, MORE, paired(mine, chosen(EASY), lambda cell: cell.bad, MORE.kind), note
    )
