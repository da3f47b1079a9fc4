"""What the report of a distillation shows: what it cost and gave, what was hard, what was chosen."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.files import read_json
from burnish.core.metrics import duration, read_metrics
from burnish.core.report import Section, subplots, whole_steps

PARTS = {
    "decoding": "decoding",
    "teacher": "teacher, on what is trained on",
    "frozen": "frozen passes (difficulty)",
    "selection": "selection",
    "student": "training of the student",
}
SHOWN_CLASSES = 20


def run_sections(path: Path) -> list[Section]:
    """Sections of a run's report; a run without any step has none."""
    rows = read_metrics(path / "metrics.jsonl")
    if not any("supervised_loss" in row for row in rows):
        return []
    outcome = read_json(path / "artifacts" / "outcome.json") or {}
    found = [
        Section(
            "What came of it",
            "A multiplication and an addition are two FLOPs. What the teacher said is charged when it is first needed, "
            "also where another run had asked it before.",
            table=outcome_rows(rows, outcome),
            figure=cost_figure(outcome) if outcome else None,
        )
    ]
    if (curve := accuracy_figure(rows)) is not None:
        found.append(Section("Accuracy against cost", "On the test clips; all costs, frozen passes too.", figure=curve))
    if any("difficulty_histogram" in row for row in rows):
        found.append(
            Section(
                "What was hard",
                "Samples by difficulty and by strength, the distillation loss's share, at each evaluation: the darker "
                "the more samples.",
                figure=histogram_figure(rows),
            )
        )
    found.append(
        Section(
            "What was chosen",
            "Overlap: the share of a selection that was in the one before. Without it training takes turns over the "
            "set, as random subsets do; near 1 it stays with what it has.",
            figure=selection_figure(rows, outcome.get("classes", ())),
        )
    )
    strips = strip_parts(path)
    if strips:
        found.append(Section("Easy, hard, chosen", "At the end of training.", parts=strips))
    return found


def outcome_rows(rows: Sequence[Mapping[str, Any]], outcome: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a reader asks first, one line each."""
    measured = [row["test_accuracy"] for row in rows if "test_accuracy" in row]
    found: dict[str, str] = {}
    if measured:
        found["accuracy on the test clips"] = f"{measured[0]:.3f} before, {measured[-1]:.3f} after"
    if outcome:
        found["trained"] = f"{outcome['steps']:,} steps over {outcome['epochs']} epochs"
        found["samples ever trained on"] = f"{outcome['ever_seen']:.1%} of {outcome['samples']:,}"
        for part, words in {**PARTS, "total": "in all"}.items():
            flops, seconds = outcome[f"{part}_flops"], outcome[f"{part}_seconds"]
            counted = f"{flops:.3g} FLOPs, " if flops else ""
            found[f"cost: {words}"] = f"{counted}{duration(seconds)}"
    return [{"what": name, "value": value} for name, value in found.items()]


def cost_figure(outcome: Mapping[str, Any]) -> Any:
    """Each part's share of the FLOPs and of the seconds."""
    figure, grid = subplots(height=1.9)
    axes = grid[0, 0]
    for line, unit in enumerate(("seconds", "flops")):
        total, left = outcome[f"total_{unit}"] or 1.0, 0.0
        for number, (part, words) in enumerate(PARTS.items()):
            share = outcome[f"{part}_{unit}"] / total
            axes.barh(line, share, left=left, color=f"C{number}", label=None if line else words, height=0.6)
            left += share
    axes.set_yticks([0, 1], ["seconds", "FLOPs"])
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the whole", fontsize=9)
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def accuracy_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Accuracy by FLOPs spent; none where it was measured less than twice."""
    points = [(row["total_flops"], row["test_accuracy"]) for row in rows if "test_accuracy" in row]
    if len(points) < 2:
        return None
    figure, grid = subplots()
    axes = grid[0, 0]
    axes.plot(*zip(*points, strict=True), marker="o", markersize=4, linewidth=1.4)
    axes.set_xlabel("FLOPs spent", fontsize=9)
    axes.set_ylabel("accuracy", fontsize=9)
    return figure


def histogram_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Difficulty and strength as columns of shades, one an evaluation."""
    judged = [row for row in rows if "difficulty_histogram" in row]
    figure, grid = subplots(1, 2)
    for axes, name in zip(grid.flat, ("difficulty", "strength"), strict=True):
        counts = np.array([row[f"{name}_histogram"] for row in judged], float)
        shares = counts / counts.sum(1, keepdims=True)
        axes.grid(visible=False)
        shown = axes.imshow(
            shares.T, origin="lower", aspect="auto", cmap="Blues", vmin=0, extent=(0.5, len(judged) + 0.5, 0, 1)
        )
        whole_steps(axes)
        axes.set_xlabel("evaluation", fontsize=9)
        axes.set_title(name, fontsize=9)
    figure.colorbar(shown, ax=list(grid.flat), label="share of the samples", shrink=0.9)
    return figure


def selection_figure(rows: Sequence[Mapping[str, Any]], classes: Sequence[str] = ()) -> Any:
    """Overlap, share ever seen, and the share of each class by selection. ``classes``: their names, if known."""
    chosen = [row for row in rows if "selected" in row]
    numbers = range(1, len(chosen) + 1)
    figure, grid = subplots(1, 2)
    first, second = grid.flat
    overlaps = [(number, row["overlap"]) for number, row in zip(numbers, chosen, strict=True) if "overlap" in row]
    if overlaps:
        first.plot(*zip(*overlaps, strict=True), marker=".", label="overlap with the one before")
    first.plot(numbers, [row["ever_seen"] for row in chosen], marker=".", label="of the set, ever chosen")
    first.set_ylim(-0.02, 1.05)
    first.set_ylabel("share", fontsize=9)
    first.legend(fontsize=8, frameon=False)
    shares = np.array([row["class_shares"] for row in chosen]).T
    largest = np.argsort(-shares.mean(1), kind="stable")[:SHOWN_CLASSES]
    for number, place in enumerate(largest):
        name = classes[place] if place < len(classes) else f"class {place}"
        style = {"color": f"C{number % 10}", "linewidth": 1, "marker": ".", "markersize": 3}
        second.plot(numbers, shares[place], label=name[:24], **style)
    second.set_title("share of each class" if len(shares) <= SHOWN_CLASSES else "the largest classes", fontsize=9)
    second.set_ylim(bottom=0)
    if len(largest) <= 10:
        second.legend(fontsize=6, frameon=False, ncols=2)
    for axes in (first, second):
        axes.set_xlabel("selection", fontsize=9)
        whole_steps(axes)
    return figure


def strip_parts(path: Path) -> list[Section]:
    """Film strips with what is known of each sample."""
    artifacts = path / "artifacts"
    captions = read_json(artifacts / "strips.json") or {}
    parts = []
    for kind, samples in captions.items():
        pictures = []
        for place, sample in enumerate(samples):
            file = artifacts / "strips" / f"{kind.replace(' ', '-')}-{place}.png"
            if not file.is_file():
                continue
            said = (
                f"{sample['id']} ({sample['label']}): difficulty {sample['difficulty']:.2f}, strength "
                f"{sample['strength']:.2f}, chosen {sample['chosen']} x"
            )
            data = base64.b64encode(file.read_bytes()).decode()
            style, small = "max-width:100%;image-rendering:pixelated", "font-size:.85em;overflow-wrap:anywhere"
            pictures.append(
                f'<figure style="margin:.6em 0"><img alt="{escape(said)}" style="{style}" '
                f'src="data:image/png;base64,{data}"><figcaption style="{small}">{escape(said)}</figcaption></figure>'
            )
        if pictures:
            parts.append(Section(kind.capitalize(), html="".join(pictures)))
    return parts
