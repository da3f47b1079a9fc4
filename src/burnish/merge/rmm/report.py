"""Pictures and tables of a finished search, from its ``outcome.json``. Knows matplotlib, no models."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from burnish.core.files import read_json
from burnish.core.report import Section


def sections(path: Path) -> list[Section]:
    """The report of a run folder."""
    data = read_json(path / "artifacts" / "outcome.json")
    if data is None:
        return []
    worth = data.get("verdict", "")  # runs of older versions do not say it
    text = f"{worth[:1].upper()}{worth[1:]}. " if worth else ""
    text += f"{len(data['raw'])} proposals, {data['evaluated']} of them run; the rest were known."
    parts = [Section("Result", text, table=_table(data)), _architecture(data)]
    return [*parts, Section("Rewards", "What each proposal got, and the best so far.", figure=reward_figure(data))]


def _architecture(data: dict[str, Any]) -> Section:
    text = (
        "How much of each expert's task vector every layer takes."
        if data["architecture"]["kind"] == "scales"
        else "Which candidate's block each layer takes; the numbers are the order in which the blocks run."
    )
    return Section("Architecture", text, figure=architecture_figure(data))


def _table(data: dict[str, Any]) -> list[dict[str, str]]:
    entries = [(f"search: {data['search']}", data["validation"], data["test"])]
    for kind in ("tuned", "untuned"):
        for each in data[kind]:
            merge = each["merge"]
            name = f"{merge['method']}, {kind}: weight {merge['weight']:.2f}, density {merge['density']:.2f}"
            entries.append((name, each["validation"], each["test"]))
    rows = []
    for name, validation, test in entries:
        row = {
            "model": name,
            "validation cross-entropy": f"{validation['cross_entropy']:.4f}",
            "validation mean": f"{validation['mean']:.2f}",
            "test mean": f"{test['mean']:.2f}",
        }
        tasks = {key: value for key, value in test.items() if key not in ("mean", "cross_entropy")}
        rows.append(row | {f"test {task}": f"{value:.2f}" for task, value in tasks.items()})
    return rows


def architecture_figure(data: dict[str, Any]) -> Figure:
    """Layers x candidates: the order in which blocks run, or the scale of every expert's task vector.

    Args:
        data: ``outcome.json``.
    """
    chosen, names = data["architecture"], data["candidates"]
    layers = [(side, layer) for side, length in enumerate(data["layers"]) for layer in range(length)]
    labels = [f"{'ED'[side] if len(data['layers']) > 1 else ''}{layer}" for side, layer in layers]
    if chosen["kind"] == "scales":
        grid = np.array(chosen["values"]).T
        names = names[: len(grid)]
        notes = {(row, column): f"{grid[row, column]:.2f}" for row, column in np.ndindex(*grid.shape)}
    else:
        grid = np.zeros((len(names), len(layers)))
        notes = {}
        for order, (side, layer, candidate) in enumerate(chosen["blocks"], 1):
            at = (candidate, layers.index((side, layer)))
            grid[at] += 1
            notes[at] = f"{notes[at]}, {order}" if at in notes else str(order)
    figure = Figure(figsize=(1.6 + 0.62 * len(layers), 1.0 + 0.42 * len(names)), layout="constrained")
    axes = figure.subplots()
    limit = max(1e-9, float(np.abs(grid).max()))
    axes.imshow(
        grid,
        cmap="RdBu_r" if grid.min() < 0 else "Blues",
        vmin=-limit if grid.min() < 0 else 0,
        vmax=1.3 * limit,
        aspect="auto",
    )
    for (row, column), note in notes.items():
        dark = abs(grid[row, column]) > 0.7 * limit
        axes.text(column, row, note, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(layers)), labels)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("layer of the source models")
    axes.set_xticks(np.arange(-0.5, len(layers)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(names)), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


def reward_figure(data: dict[str, Any]) -> Figure:
    """Reward of every proposal in order, and the running best."""
    raw = np.array(data["raw"])
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.arange(1, len(raw) + 1), raw, ".", markersize=4, color="tab:gray", label="proposal")
    axes.plot(np.arange(1, len(raw) + 1), np.maximum.accumulate(raw), color="tab:blue", label="best so far")
    if data["rewards"] != data["raw"]:
        axes.plot(
            np.arange(1, len(raw) + 1), data["rewards"], linewidth=0.8, color="tab:orange", label="as told (averaged)"
        )
    axes.set_xlabel("proposal")
    axes.set_ylabel("reward")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
