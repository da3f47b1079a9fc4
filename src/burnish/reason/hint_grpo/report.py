"""What the report of a Hint-GRPO run shows: was the data used, which hints were needed, what came of it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.core.files import read_json
from burnish.core.metrics import read_metrics
from burnish.core.report import Section, mean_of, running_mean, subplots, whole_steps


def run_sections(path: Path) -> list[Section]:
    """Sections of a run's report; a run without any step has none."""
    rows = [row for row in read_metrics(path / "metrics.jsonl") if "hints/utilisation" in row]
    if not rows:
        return []
    outcome = read_json(path / "artifacts" / "outcome.json") or {}
    return [
        Section("What came of it", table=outcome_rows(rows, outcome)),
        Section(
            "Was the data used?",
            "A question is used if the rewards of its selected group differ. Those that are all wrong are what hints "
            "are for; those that are all right have nothing left to teach.",
            figure=utilisation_figure(rows),
        ),
        Section(
            "Which hints were needed?", "Share of the questions that learnt at each level.", figure=level_figure(rows)
        ),
    ]


def outcome_rows(rows: Sequence[Mapping[str, Any]], outcome: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a reader asks first, one line each."""
    last = rows[-1]
    found = {
        "steps": f"{last['step']:,}",
        "generated": f"{last['generated/completions']:,.0f} completions, {last['generated/tokens']:,.0f} tokens",
        "utilisation": f"{mean_of(rows, 'hints/utilisation'):.3f} of the questions, over all steps",
        "all correct": f"{mean_of(rows, 'hints/all_correct'):.3f}",
        "all wrong": f"{mean_of(rows, 'hints/all_wrong'):.3f}",
        "without rationale": f"{mean_of(rows, 'hints/hintless'):.3f}",
        "training reward earned without a hint": f"{mean_of(rows, 'hints/reward_without_hint'):.3f}",
    }
    if "accuracy" in outcome:
        found["accuracy without hints"] = f"{outcome['accuracy_before']:.3f} before, {outcome['accuracy']:.3f} after"
    return [{"what": name, "value": value} for name, value in found.items()]


def utilisation_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Utilisation, all right and all wrong by step."""
    figure, grid = subplots()
    axes = grid[0, 0]
    for name, label in (("utilisation", "used"), ("all_correct", "all right"), ("all_wrong", "all wrong")):
        axes.plot([row["step"] for row in rows], running_mean(rows, f"hints/{name}"), label=label, linewidth=1.4)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("step", fontsize=9)
    whole_steps(axes)
    axes.set_ylabel("share of the questions", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    return figure


def level_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Share of the questions by selected level, stacked."""
    names = sorted({name for row in rows for name in row if name.startswith("hints/selected/")})
    figure, grid = subplots()
    axes = grid[0, 0]
    axes.stackplot(
        [row["step"] for row in rows],
        [running_mean(rows, name) for name in names],
        labels=[f"level {name.rsplit('/', 1)[1]}" for name in names],
        alpha=0.85,
    )
    axes.set_xlabel("step", fontsize=9)
    whole_steps(axes)
    axes.set_ylabel("share of the questions", fontsize=9)
    axes.legend(fontsize=8, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))  # not on the areas
    return figure
