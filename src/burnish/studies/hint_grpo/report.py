"""Tables and pictures of the training half of the Hint-GRPO study. Knows matplotlib, no models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.core.intervals import mean_share_interval
from burnish.core.report import Section, subplots
from burnish.core.study import Glance
from burnish.core.study_picture import Dots, draw_dots, small_bars
from burnish.studies.hint_grpo.records import AT_EQUAL_STEPS, LEVELS, TrainingCell

Cells = Sequence[TrainingCell]
POINTS = 30  # of a curve over tokens


def training_sections(cells: Cells) -> list[Section]:
    """The report's parts on training with hints."""
    return [
        Section(
            "Accuracy without hints",
            "Chains of 2 to 8 arithmetic steps, sampled, no hint. One small dot a world, the large one their mean "
            "with its 95 % Korn-Graubard interval. All arms but the last have generated as many tokens "
            f"({int(cells[0].judged):,}); the dashed line is the base model.",
            figure=accuracy_figure(cells),
        ),
        Section(
            "What is learnt from",
            "Above: data utilisation, the share of questions with a non-zero advantage, over the tokens generated so "
            "far; mean over worlds. Below: the hint level that the ladder selected; hints are withdrawn as the model "
            "improves.",
            figure=course_figure(cells),
        ),
        Section("Arms", "Means over worlds, at every budget of generated tokens.", table=arm_table(cells)),
    ]


def arm_table(cells: Cells) -> list[dict[str, str]]:
    """What every arm spent and reached at each budget."""
    rows = []
    for name, budgets in cells[0].arms.items():
        for budget in budgets:
            arms = [cell.arms[name][budget] for cell in cells]
            plain = [
                row["reward_without_hint"]
                for cell, arm in zip(cells, arms, strict=True)
                for row in cell.courses[name]
                if row["tokens"] <= arm.tokens and "reward_without_hint" in row
            ]
            rows.append(
                {
                    "arm": name,
                    "budget": f"{int(budget):,}" if name != AT_EQUAL_STEPS else "steps",
                    "accuracy": f"{np.mean([arm.accuracy for arm in arms]):.3f}",
                    "utilisation": f"{np.mean([arm.utilisation for arm in arms]):.2f}",
                    "reward earned without a hint": f"{np.mean(plain):.2f}" if plain else "-",
                    "steps": f"{np.mean([arm.steps for arm in arms]):.0f}",
                    "completions": f"{np.mean([arm.completions for arm in arms]):,.0f}",
                    "tokens": f"{np.mean([arm.tokens for arm in arms]):,.0f}",
                }
            )
    return rows


def accuracy_figure(cells: Cells) -> Any:
    """Accuracy of every arm and world."""
    names = list(cells[0].arms)
    figure, axes = subplots(1, 1, height=0.5 + 0.42 * len(names))
    rows = []
    for name in names:
        values = [cell.at_judged(name).accuracy for cell in cells]
        rows.append(Dots(name, mean_share_interval(values), {"": values}))
    draw_dots(axes[0, 0], rows, lines=(float(np.mean([cell.base for cell in cells])),))
    axes[0, 0].set(xlim=(0, 1), xlabel="accuracy")
    return figure


def course_figure(cells: Cells) -> Any:
    """Utilisation of every arm, and the ladder's levels, over generated tokens."""
    figure, axes = subplots(2, 1, height=6.0)
    above, below = np.ravel(axes)
    most = max(row["tokens"] for cell in cells for course in cell.courses.values() for row in course)
    grid = np.linspace(0, most, POINTS)
    for name in cells[0].courses:
        above.plot(grid / 1000, _mean_course(cells, name, "utilisation", grid), label=name, linewidth=1.6)
    above.set(ylim=(0, 1), xlabel="thousand tokens generated", ylabel="utilisation")
    above.legend(fontsize=7)
    grid = np.linspace(0, max(row["tokens"] for cell in cells for row in cell.courses["ladder"]), POINTS)
    shares = np.array([_mean_course(cells, "ladder", f"selected/{level}", grid) for level in range(LEVELS)])
    labels = [f"{level}/{LEVELS} of the steps given" if level else "no hint" for level in range(LEVELS)]
    below.stackplot(grid / 1000, shares, labels=labels, colors=["#1f6fb4", "#f2a65a", "#c8553d"])
    below.set(ylim=(0, 1), xlabel="thousand tokens generated", ylabel="share of questions")
    below.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def _mean_course(cells: Cells, arm: str, key: str, grid: np.ndarray) -> np.ndarray:
    """Mean over worlds of a metric, as a moving average over a tenth of the course; empty where no world has got."""
    curves = []
    for cell in cells:
        rows = [row for row in cell.courses[arm] if key in row]
        if not rows:
            continue
        width = max(1, len(rows) // 10)
        padded = np.pad([row[key] for row in rows], (width // 2, width - 1 - width // 2), mode="edge")
        values = np.convolve(padded, np.ones(width) / width, mode="valid")
        curves.append(np.interp(grid, [row["tokens"] for row in rows], values, right=np.nan))
    return np.mean(curves, axis=0) if curves else np.full_like(grid, np.nan)


def glance(cells: Sequence[TrainingCell]) -> Glance:
    """Accuracy without hints before, and after the same generated tokens with hints and without."""
    hints, plain = (float(np.mean([cell.at_judged(arm).accuracy for cell in cells])) for arm in ("ladder", "GRPO"))
    before = float(np.mean([cell.base for cell in cells]))
    tokens = int(float(cells[0].judged))
    words = (
        f"Reinforced on chains of arithmetic for {tokens:,} generated tokens, it solves {hints:.0%} of new ones with "
        f"hints where all tries fail, {plain:.0%} by plain GRPO ({before:.0%} before)."
    )
    return Glance(
        words, small_bars({"Hint-GRPO": hints, "GRPO": plain, "before": before}), "a Llama of 2 layers, trained here"
    )
