"""Claims of the training half of the Hint-GRPO study, written down before any judged run. Knows numbers only.

The unit of every interval is the world: its own base model, questions and draws; differences are paired within it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from burnish.core.findings import paired
from burnish.core.study import Measured, Rule
from burnish.studies.hint_grpo.records import AT_EQUAL_STEPS, TrainingCell

BETTER = Rule("paired difference", kind="share difference", over="worlds")


def judge_training(cells: Sequence[TrainingCell]) -> list[Measured]:
    """The claims of the training half, each with its own verdict."""
    return [
        _compared(
            cells,
            "utilisation",
            "Hints raise data utilisation: the share of questions with a non-zero advantage (ladder against GRPO)",
            "0.42 -> 0.76 (averages of the official curves)",
            "ladder",
            "GRPO",
            quantity="utilisation",
        ),
        _compared(
            cells,
            "equal_steps",
            "As published: at as many steps, Hint-GRPO (exhaustive) is more accurate without hints than GRPO",
            "Geo170K 38.46 -> 45.62",
            AT_EQUAL_STEPS,
            "GRPO",
        ),
        _compared(
            cells,
            "published_equal_tokens",
            "Hint-GRPO as published (exhaustive) is more accurate than GRPO when both have generated as many tokens",
            "not compared",
            "exhaustive",
            "GRPO",
        ),
        _compared(
            cells,
            "ladder_equal_tokens",
            "The ladder is more accurate than GRPO when both have generated as many tokens",
            "not compared",
            "ladder",
            "GRPO",
        ),
        _compared(
            cells,
            "ladder_large_groups",
            "The ladder is more accurate than GRPO with groups of 12 (as large as all levels together) at as many "
            "tokens",
            "not compared",
            "ladder",
            "GRPO, groups of 12",
        ),
        _compared(
            cells,
            "ladder_exhaustive",
            "The ladder reaches the exhaustive schedule's accuracy with fewer generated tokens: at as many it is ahead",
            "not in the paper",
            "ladder",
            "exhaustive",
        ),
    ]


def _compared(
    cells: Sequence[TrainingCell],
    name: str,
    claim: str,
    paper: str,
    ours: str,
    baseline: str,
    quantity: Literal["accuracy", "utilisation"] = "accuracy",
) -> Measured:
    def number(arm: str) -> Callable[[TrainingCell], float]:
        return lambda cell: float(getattr(cell.at_judged(arm), quantity))

    spent = {arm: np.mean([cell.at_judged(arm).tokens for cell in cells]) for arm in (ours, baseline)}
    return Measured(
        name,
        claim,
        paper,
        BETTER,
        paired(cells, number(ours), number(baseline), BETTER.kind),
        "; ".join(f"{arm}: {tokens:,.0f} tokens generated" for arm, tokens in spent.items())
        + f"; accuracy of the base model {np.mean([cell.base for cell in cells]):.3f}",
    )
