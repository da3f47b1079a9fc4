"""The picture of every study: a large dot for a mean, a line for its interval, small dots for what it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.core.intervals import Interval

BLUE, GREY = "#1f6fb4", "#98a2b3"
APART = 0.12
"""Of a row's height, between the small dots of two groups."""


@dataclass(frozen=True)
class Dots:
    """One row of the picture.

    Attributes:
        label: at the left.
        interval: large dot and line; no line where there is one value only, or where nothing bounds the mean.
        values: small dots, by group; one group needs no name.
        colour: of dot and line.
    """

    label: str
    interval: Interval
    values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    colour: str = BLUE


def draw_dots(axes: Any, rows: Sequence[Dots], words: str = "{:.2f}", lines: Sequence[float] = ()) -> None:
    """Draw rows from top to bottom.

    Args:
        axes: matplotlib's.
        rows: from top to bottom.
        words: format of the mean, written above its dot.
        lines: values marked by a dashed line from top to bottom.
    """
    groups = list(dict.fromkeys(name for row in rows for name in row.values))
    colours = {name: GREY if len(groups) == 1 else f"C{place}" for place, name in enumerate(groups)}
    for place, row in enumerate(rows):
        for number, name in enumerate(groups):
            values = list(row.values.get(name, ()))
            height = [place + APART * (number - (len(groups) - 1) / 2)] * len(values)
            label = None if place or len(groups) == 1 else name
            axes.plot(values, height, "o", markersize=3.5, alpha=0.6, color=colours[name], label=label)
        found = row.interval
        if found.n > 1 and not found.boundless:
            axes.plot([found.low, found.high], [place, place], color=row.colour, linewidth=2.2)
        axes.plot([found.mean], [place], "o", color=row.colour, markersize=8)
        at = (found.mean, place)
        axes.annotate(words.format(found.mean), at, (0, 8), textcoords="offset points", ha="center", fontsize=8)
    for line in lines:
        axes.axvline(line, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.8)
    if len(groups) > 1:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def small_bars(values: Mapping[str, float], words: str = "{:.0%}") -> Any:
    """A few values as labelled bars, small enough for a table's cell; the first, which the study is about, in colour.

    Args:
        values: by label, from top to bottom.
        words: format of a value, written at the end of its bar.
    """
    from burnish.core.report import subplots

    figure, grid = subplots(1, 1, width=2.9, height=0.22 + 0.24 * len(values))
    axes = grid[0, 0]
    colours = [BLUE, *[GREY] * (len(values) - 1)]
    axes.barh(range(len(values)), list(values.values()), height=0.62, color=colours)
    for place, value in enumerate(values.values()):
        axes.annotate(words.format(value), (value, place), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_xlim(0, 1.28 * max([*values.values(), 1e-9]))
    axes.xaxis.set_visible(False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(False)
    axes.invert_yaxis()
    return figure
