"""What the report of an RFTT run shows: what came of it, one search as a tree, use of the tokens, and the course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.core.files import read_json
from burnish.core.metrics import read_metrics
from burnish.core.report import Section, mean_of, running_mean, subplots, whole_steps
from burnish.reason.rftt.tree import Tree
from burnish.reason.rftt.tree_files import read_folder
from burnish.reason.rftt.tree_picture import tree_figure

SHARES = {"correct": "right", "answered": "answered", "repeated": "repeated"}
WHEN = (("before", "before"), ("warmed-up", "after phase 1"), ("after", "after phase 2"))


def run_sections(path: Path) -> list[Section]:
    """Sections of a finished run's report."""
    artifacts = path / "artifacts"
    found = [
        Section(
            "What came of it",
            "Test questions answered once, greedily, and (by search) by the majority of the distinct answers of a "
            "search over functional tokens. Found: of the answers in which a refine step stands, the share that is "
            "right.",
            table=outcome_rows({name: read_json(artifacts / f"accuracy-{name}.json") or {} for name, _ in WHEN}),
        )
    ]
    counts = read_json(artifacts / "warmup.json")
    if counts:
        found.append(
            Section(
                "From trees to rows",
                "What became of every searched question and every path of its tree.",
                table=[
                    {"what": name.replace("_", " "), "count": f"{value:,}"} for name, value in counts.items() if value
                ],
            )
        )
    if (artifacts / "trees").is_dir():
        trees, _ = read_folder(artifacts / "trees")
        shown = most_telling(trees)
        if shown is not None:
            found.append(
                Section(
                    f"One search: {shown.prompt.text}",
                    "Each box is a step: its action, its text, how many walks went through it and what they earned on "
                    "average. Green: a path to the right answer. Red: a wrong one.",
                    figure=tree_figure(shown),
                )
            )
    rows = read_metrics(path / "metrics.jsonl")
    sft = [row for row in rows if "sft/loss" in row]
    rl = [row for row in rows if "rl/rollouts/correct" in row]
    if sft:
        found.append(Section("Phase 1: fine-tuning", figure=_lines(sft, {"sft/loss": "loss"}, "loss", bottom=0.0)))
    if rl:
        found += _reinforcement(rl)
    return found


def outcome_rows(measured: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """A row a moment at which a test was made."""
    rows = []
    for name, words in WHEN:
        test = measured.get(name) or {}
        if test:
            rows.append(
                {
                    "when": words,
                    "accuracy": f"{test['accuracy']:.3f}",
                    "answered": f"{test['answered']:.3f}",
                    "tokens": f"{test['tokens']:.1f}",
                    "found": "-" if test.get("found") is None else f"{test['found']:.3f}",
                    "by search": f"{test['by_search']:.3f}" if "by_search" in test else "-",
                    "its tokens": f"{test['search_tokens']:.1f}" if "search_tokens" in test else "-",
                }
            )
    return rows


def most_telling(trees: Sequence[Tree]) -> Tree | None:
    """A tree with right and wrong paths, of those the one with the fewest steps; none if no tree has both."""
    mixed = [tree for tree in trees if len({rollout.reward >= 1 for rollout in tree.rollouts}) == 2]
    return min(mixed, key=lambda tree: len(_written(tree)), default=None)


def _written(tree: Tree) -> list[int]:
    return [node.number for node in tree.nodes if node.text is not None]


def _reinforcement(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    last = rows[-1]
    steps = sorted(name for name in last if name.startswith("rl/steps/") and any(row.get(name) for row in rows))
    return [
        Section(
            "Phase 2: reinforcement",
            f"{last['rl/generated/completions']:,.0f} rollouts, {last['rl/generated/tokens']:,.0f} generated tokens. "
            "Rollouts share beginnings: read anew for each, there would be "
            f"{mean_of(rows, 'rl/rollouts/sharing'):.1f} times as many tokens.",
            figure=_lines(
                rows,
                {f"rl/rollouts/{name}": words for name, words in SHARES.items()},
                "share of the rollouts",
                by="rl/generated/tokens",
            ),
        ),
        Section(
            "Length of the rollouts",
            figure=_lines(
                rows, {"rl/completions/mean_length": "tokens"}, "tokens", by="rl/generated/tokens", bottom=0.0
            ),
        ),
        Section(
            "Use of the functional tokens",
            "How often each action stands in a rollout.",
            figure=_lines(rows, {name: name.rsplit("/", 1)[1] for name in steps}, "steps a rollout"),
        ),
    ]


def _lines(
    rows: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    what: str,
    by: str = "step",
    bottom: float | None = None,
) -> Any:
    figure, grid = subplots()
    axes = grid[0, 0]
    for name, label in names.items():
        axes.plot([row[by] for row in rows], running_mean(rows, name), label=label, linewidth=1.4)
    axes.set_xlabel("step" if by == "step" else "generated tokens", fontsize=9)
    if by == "step":
        whole_steps(axes)
    axes.set_ylabel(what, fontsize=9)
    axes.set_ylim(bottom=bottom)
    if len(names) > 1:
        axes.legend(fontsize=8, frameon=False)
    return figure
