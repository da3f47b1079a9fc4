"""A search tree as a picture: steps as boxes from left to right, right paths green, wrong ones red."""

from __future__ import annotations

import textwrap
from typing import Any

from burnish.reason.rftt.tree import Node, Tree

RIGHT, WRONG, OPEN = "#2e7d32", "#c0392b", "#8a8a8a"
WIDE = 26  # characters of a line in a box


def tree_figure(tree: Tree) -> Any:
    """A matplotlib figure of the written steps of a tree."""
    from matplotlib.figure import Figure

    shown = {node.number: node for node in tree.nodes if node.text is not None and (node.visits or not node.parent)}
    children = {number: [child for child in node.children or () if child in shown] for number, node in shown.items()}
    rows: dict[int, float] = {}
    count = _place(0, children, rows, 0)
    depth = max(node.depth for node in shown.values())
    figure = Figure(figsize=(min(14.0, 2.6 * depth + 1.6), min(16.0, 0.62 * count + 0.5)))
    axes = figure.subplots()
    axes.axis("off")
    axes.set_xlim(-0.45, depth + 0.55)
    axes.set_ylim(count - 0.4, -0.6)
    right = {node.number for rollout in tree.rollouts if rollout.reward >= 1 for node in tree.lineage(rollout.leaf)}
    for number, node in shown.items():
        colour = RIGHT if number in right else WRONG if node.ending else OPEN
        for child in children[number]:
            line = RIGHT if child in right else OPEN
            axes.plot(
                [node.depth + 0.3, node.depth + 0.55, node.depth + 0.68],
                [rows[number], rows[child], rows[child]],
                color=line,
                linewidth=1.6 if child in right else 0.8,
                zorder=1,
            )
        axes.text(
            node.depth,
            rows[number],
            _words(tree, node),
            ha="center",
            va="center",
            fontsize=7,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour, "linewidth": 1.2},
        )
    return figure


def _place(number: int, children: dict[int, list[int]], rows: dict[int, float], row: int) -> int:
    """Give a node and all below it a row; the first free one afterwards."""
    if not children[number]:
        rows[number] = float(row)
        return row + 1
    for child in children[number]:
        row = _place(child, children, rows, row)
    rows[number] = (rows[children[number][0]] + rows[children[number][-1]]) / 2
    return row


def _words(tree: Tree, node: Node) -> str:
    if node.parent is None:
        return "\n".join(_lines(tree.prompt.text))
    worth = f"{node.value / node.visits:.2f}" if node.visits else "-"
    return "\n".join([f"{node.action}  N={node.visits} Q/N={worth}", *_lines(node.text or "")])


def _lines(text: str) -> list[str]:
    # A dollar would start mathematics in matplotlib.
    lines = textwrap.wrap(" ".join(text.replace("$", r"\$").split()), WIDE) or [""]
    return lines if len(lines) <= 2 else [lines[0], lines[1][: WIDE - 1] + "…"]
