"""Tables and pictures of the training half of the Hint-GRPO study. Knows matplotlib, no models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.core.report import Section, subplots
from burnish.studies.claims import t_interval
from burnish.studies.hint_grpo_cell import AT_EQUAL_STEPS, LEVELS
from burnish.studies.hint_grpo_claims import judged

Cells = Sequence[dict[str, Any]]
POINTS = 30  # of a curve over tokens


def training_sections(cells: Cells) -> list[Section]:
    """The report's parts on training with hints."""
    return [
        Section(
            "Accuracy without hints",
            "Chains of 2 to 8 arithmetic steps, sampled, no hint. One small dot a world, the large one their mean with its 95 % t "
            f"interval. All arms but the last have generated as many tokens ({int(cells[0]['judged']):,}); the dashed line is the base model.",
            figure=accuracy_figure(cells),
        ),
        Section(
            "What is learnt from",
            "Left: data utilisation, the share of questions with a non-zero advantage, over the tokens generated so far; mean over "
            "worlds. Right: the hint level that the ladder selected; hints are withdrawn as the model improves.",
            figure=course_figure(cells),
        ),
        Section("Arms", "Means over worlds, at every budget of generated tokens.", table=arm_table(cells)),
    ]


def arm_table(cells: Cells) -> list[dict[str, str]]:
    """What every arm spent and reached at each budget."""
    rows = []
    for name, budgets in cells[0]["arms"].items():
        for budget in budgets:
            arms = [cell["arms"][name][budget] for cell in cells]
            plain = [
                row["reward_without_hint"]
                for cell, arm in zip(cells, arms, strict=True)
                for row in cell["courses"][name]
                if row["tokens"] <= arm["tokens"] and "reward_without_hint" in row
            ]
            mean = {key: float(np.mean([arm[key] for arm in arms])) for key in arms[0]}
            rows.append(
                {
                    "arm": name,
                    "budget": f"{int(budget):,}" if name != AT_EQUAL_STEPS else "steps",
                    "accuracy": f"{mean['accuracy']:.3f}",
                    "utilisation": f"{mean['utilisation']:.2f}",
                    "reward earned without a hint": f"{np.mean(plain):.2f}" if plain else "-",
                    "steps": f"{mean['steps']:.0f}",
                    "completions": f"{mean['completions']:,.0f}",
                    "tokens": f"{mean['tokens']:,.0f}",
                }
            )
    return rows


def accuracy_figure(cells: Cells) -> Any:
    """Accuracy of every arm and world."""
    names = list(cells[0]["arms"])
    figure, axes = subplots(1, 1, height=0.5 + 0.42 * len(names))
    axis = np.ravel(axes)[0]
    for place, name in enumerate(names):
        values = [judged(cell, name)["accuracy"] for cell in cells]
        axis.plot(values, [place] * len(values), "o", color="#98a2b3", markersize=4)
        interval = t_interval(values)
        if interval.n > 1:
            axis.plot([max(0.0, interval.low), min(1.0, interval.high)], [place, place], color="#1f6fb4", linewidth=2)
        axis.plot([interval.mean], [place], "o", color="#1f6fb4", markersize=8)
        axis.annotate(f"{interval.mean:.2f}", (interval.mean, place), xytext=(0, 8), textcoords="offset points", ha="center")  # fmt: skip
    axis.axvline(float(np.mean([cell["base"] for cell in cells])), color="#667085", linestyle="--", linewidth=1)
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.7), xlim=(0, 1), xlabel="accuracy")
    return figure


def course_figure(cells: Cells) -> Any:
    """Utilisation of every arm, and the ladder's levels, over generated tokens."""
    figure, axes = subplots(1, 2, height=3.4)
    left, right = np.ravel(axes)
    most = max(row["tokens"] for cell in cells for course in cell["courses"].values() for row in course)
    grid = np.linspace(0, most, POINTS)
    for name in cells[0]["courses"]:
        left.plot(grid / 1000, _mean_course(cells, name, "utilisation", grid), label=name, linewidth=1.6)
    left.set(ylim=(0, 1), xlabel="thousand tokens generated", ylabel="utilisation")
    left.legend(fontsize=7)
    grid = np.linspace(0, max(row["tokens"] for cell in cells for row in cell["courses"]["ladder"]), POINTS)
    shares = np.array([_mean_course(cells, "ladder", f"selected/{level}", grid) for level in range(LEVELS)])
    labels = [f"{level}/{LEVELS} of the steps given" if level else "no hint" for level in range(LEVELS)]
    right.stackplot(grid / 1000, shares, labels=labels, colors=["#1f6fb4", "#f2a65a", "#c8553d"])
    right.set(ylim=(0, 1), xlabel="thousand tokens generated", ylabel="share of questions")
    right.legend(fontsize=7, loc="lower left")
    return figure


def _mean_course(cells: Cells, arm: str, key: str, grid: np.ndarray) -> np.ndarray:
    """Mean over worlds of a metric, as a moving average over a tenth of the course; empty where no world has got."""
    curves = []
    for cell in cells:
        rows = [row for row in cell["courses"][arm] if key in row]
        if not rows:
            continue
        width = max(1, len(rows) // 10)
        values = np.convolve(np.pad([row[key] for row in rows], (width // 2, width - 1 - width // 2), mode="edge"), np.ones(width) / width, mode="valid")  # fmt: skip
        curves.append(np.interp(grid, [row["tokens"] for row in rows], values, right=np.nan))
    return np.mean(curves, axis=0) if curves else np.full_like(grid, np.nan)
