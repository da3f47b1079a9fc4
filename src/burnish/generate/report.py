"""What the report of a training shows: losses by kind and stage, the pictures of all steps, what corrections did."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.core.files import read_json
from burnish.core.metrics import read_metrics
from burnish.core.report import Section, subplots

NAMES = {"text": "next token", "image": "velocity of patches", "heat": "needs repair"}


def run_sections(path: Path) -> list[Section]:
    """Sections of a run's report; a run without any step has none."""
    rows = read_metrics(path / "metrics.jsonl")
    if not any("loss" in row for row in rows):
        return []
    found = []
    steps = path / "artifacts" / "steps.png"
    outcome = read_json(path / "artifacts" / "outcome.json") or {}
    if steps.is_file():
        data = base64.b64encode(steps.read_bytes()).decode()
        said = "Plan, draft, heat and corrections of prompts that training has not seen"
        found.append(
            Section(
                "What it draws",
                f"{said}. Red is where the model finds fault; framed patches were drawn again. A correction is kept "
                "only if the heat falls.",
                html=f'<img alt="{said}" style="max-width:100%" src="data:image/png;base64,{data}">',
                table=[{"what": key, "count": str(value)} for key, value in outcome.items() if isinstance(value, int)],
            )
        )
    found.append(
        Section(
            "Losses by kind of token",
            "Each is a mean over its own tokens of all tasks and processes; curves show means of fifty stretches.",
            figure=loss_figure(rows),
            table=stage_rows(rows),
        )
    )
    return found


def loss_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A panel a loss, over steps."""
    shown = [name for name in NAMES if any(f"{name}_loss" in row for row in rows)]
    figure, grid = subplots(1, len(shown))
    for axes, name in zip(grid.flat, shown, strict=True):
        points = [(row["step"], row[f"{name}_loss"]) for row in rows if f"{name}_loss" in row]
        size = max(1, len(points) // 50)
        parts = [points[start : start + size] for start in range(0, len(points), size)]
        means = [[sum(column) / len(part) for column in zip(*part, strict=True)] for part in parts]
        axes.plot(*zip(*means, strict=True), linewidth=1.4)
        axes.set_title(NAMES[name], fontsize=9)
        axes.set_xlabel("step", fontsize=9)
        axes.set_yscale("log")
    return figure


def stage_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """At the end of each stage: losses on the test samples, where there are any, else the last step's."""
    last: dict[int, Mapping[str, Any]] = {row["stage"]: row for row in rows if "stage" in row}
    found = []
    for stage, row in sorted(last.items()):
        line = {"stage": str(stage + 1), "after step": f"{row['step'] + 1:,}"}
        for name, words in NAMES.items():
            tested = row.get(f"test_{name}_loss")
            value = tested if tested is not None else row.get(f"{name}_loss")
            line[words] = "" if value is None else f"{value:.4f}{' (test)' if tested is not None else ''}"
        found.append(line)
    return found
