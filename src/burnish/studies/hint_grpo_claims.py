"""Claims of the training half of the Hint-GRPO study, written down before any judged run. Knows numbers only.

The unit of every interval is the world: its own base model, questions and draws; differences are paired within it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.studies.claims import Claim, judge, t_interval
from burnish.studies.hint_grpo_cell import AT_EQUAL_STEPS

Cells = Sequence[dict[str, Any]]


def judged(cell: dict[str, Any], arm: str) -> dict[str, Any]:
    """What an arm of a world was worth at the judged budget."""
    found: dict[str, Any] = cell["arms"][arm][cell["judged"]]
    return found


def judge_training(cells: Cells) -> list[Claim]:
    """The claims of the training half, each with its own verdict."""
    return [
        _compared(
            cells,
            "utilisation",
            "Hints raise data utilisation: the share of questions with a non-zero advantage (ladder against GRPO)",
            "0.42 -> 0.76 (averages of the official curves)",
            "ladder",
            "GRPO",
            figure="utilisation",
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
            "The ladder is more accurate than GRPO with groups of 12 (as large as all levels together) at as many tokens",
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
    cells: Cells, name: str, claim: str, paper: str, ours: str, baseline: str, figure: str = "accuracy"
) -> Claim:
    mine, theirs = ([float(judged(cell, arm)[figure]) for cell in cells] for arm in (ours, baseline))
    interval = t_interval(np.subtract(mine, theirs).tolist())
    spent = {arm: np.mean([judged(cell, arm)["tokens"] for cell in cells]) for arm in (ours, baseline)}
    return Claim(
        name=name,
        claim=claim,
        paper=paper,
        rule="paired 95 % t interval of the difference over worlds lies above 0",
        ours=float(np.mean(mine)),
        baseline=float(np.mean(theirs)),
        interval=interval,
        verdict=judge(interval),
        note="; ".join(f"{arm}: {tokens:,.0f} tokens generated" for arm, tokens in spent.items())
        + f"; accuracy of the base model {np.mean([cell['base'] for cell in cells]):.3f}",
    )
