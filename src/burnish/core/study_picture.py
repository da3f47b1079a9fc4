"""The picture of every study: a large dot for a mean, a line for its interval, small dots for what it is made of."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.core.intervals import SCALES, Interval

BLUE, GREY = "#1f6fb4", "#98a2b3"
APART = 0.12
"""Of a row's height, between the small dots of two groups."""
LETTERS = 26
"""Of a row's label before it is broken into lines."""
BEYOND = 2.0
"""An interval is drawn as far beyond all values as they lie apart, times this; a longer one ends in an arrow."""


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

    The axis is made for the values: two of them have an interval so long that nothing else could be seen beside it.
    Such an interval ends in an arrow, and a line below the rows says how many do.

    Args:
        axes: matplotlib's. Its label says the picture in words.
        rows: from top to bottom.
        words: format of the mean, written above its dot.
        lines: values marked by a dashed line from top to bottom.
    """
    groups = list(dict.fromkeys(name for row in rows for name in row.values))
    colours = {name: GREY if len(groups) == 1 else f"C{place}" for place, name in enumerate(groups)}
    low, high = reach(rows, lines)
    cut = 0
    for place, row in enumerate(rows):
        for number, name in enumerate(groups):
            values = list(row.values.get(name, ()))
            height = [place + APART * (number - (len(groups) - 1) / 2)] * len(values)
            label = None if place or len(groups) == 1 else name
            axes.plot(values, height, "o", markersize=3.5, alpha=0.6, color=colours[name], label=label)
        found = row.interval
        if found.n > 1 and not found.boundless:
            axes.plot([max(found.low, low), min(found.high, high)], [place, place], color=row.colour, linewidth=2.2)
            for end, side, beyond in ((low, "<", found.low < low), (high, ">", found.high > high)):
                if beyond:
                    axes.plot([end], [place], side, color=row.colour, markersize=7)
            cut += found.low < low or found.high > high
        axes.plot([found.mean], [place], "o", color=row.colour, markersize=8)
        at = (found.mean, place)
        axes.annotate(words.format(found.mean), at, (0, 8), textcoords="offset points", ha="center", fontsize=8)
    for line in lines:
        axes.axvline(line, color=GREY, linestyle="--", linewidth=1)
    axes.xaxis.get_major_locator().set_params(nbins=4)  # more run into each other where they have many digits
    axes.margins(x=0.12)  # the figures above the outermost dots
    axes.set_yticks(range(len(rows)), [textwrap.fill(row.label, LETTERS) for row in rows])
    axes.set_ylim(len(rows) - 0.4 + 0.5 * bool(cut), -0.8)
    if cut:
        axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
        fewest = min(row.interval.n for row in rows)
        note = f"{cut} of {len(rows)} intervals go on beyond the arrows (n = {fewest})"
        axes.text(0.5, 0.02, note, transform=axes.transAxes, ha="center", va="bottom", fontsize=8, color=GREY)
    axes.set_label("; ".join(f"{row.label} {_interval_words(row.interval, words)}" for row in rows))
    if len(groups) > 1:
        axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def reach(rows: Sequence[Dots], lines: Sequence[float] = ()) -> tuple[float, float]:
    """From where to where intervals are drawn: all values, means and lines and some room at either side.

    The interval of a quantity with two bounds (a share, a correlation) is drawn whole: it cannot be long.
    """
    values = [value for row in rows for group in row.values.values() for value in group]
    values += [row.interval.mean for row in rows] + list(lines)
    for found in (row.interval for row in rows if not row.interval.boundless and row.interval.n > 1):
        if not math.isinf(SCALES[found.kind].low) and not math.isinf(SCALES[found.kind].high):
            values += [found.low, found.high]
    low, high = min(values), max(values)
    room = BEYOND * (high - low) or max(abs(high), 1.0)
    return low - room, high + room


def _interval_words(found: Interval, words: str) -> str:
    mean = words.format(found.mean)
    if found.n < 2 or found.boundless:
        return mean
    return f"{mean} [{words.format(found.low)}, {words.format(found.high)}]"


def small_bars(values: Mapping[str, float], words: str = "{:.0%}") -> Any:
    """A few values as labelled bars, small enough for a table's cell; the first, which the study is about, in colour.

    Args:
        values: by label, from top to bottom.
        words: format of a value, written at the end of its bar.
    """
    from burnish.core.report import subplots

    figure, grid = subplots(1, 1, width=2.3, height=0.1 + 0.15 * len(values))
    axes = grid[0, 0]
    colours = [BLUE, *[GREY] * (len(values) - 1)]
    axes.barh(range(len(values)), list(values.values()), height=0.62, color=colours)
    for place, value in enumerate(values.values()):
        axes.annotate(
            words.format(value), (value, place), (3, 0), textcoords="offset points", va="center", fontsize=7.5
        )
    axes.set_yticks(range(len(values)), list(values))
    axes.set_xlim(0, 1.28 * max([*values.values(), 1e-9]))
    axes.xaxis.set_visible(False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0, pad=2, labelsize=7.5)
    axes.grid(False)
    axes.invert_yaxis()
    axes.set_label(", ".join(f"{label} {words.format(value)}" for label, value in values.items()))
    return figure
