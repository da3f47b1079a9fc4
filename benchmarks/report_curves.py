"""The curves of a report against matplotlib's own way to the same picture, in CPU seconds of one process.

    python benchmarks/report_curves.py [--curves 48] [--points 40] [--repeats 5]

The peer lays the same axes out by measuring their labels (constrained layout) and saves them with tight edges, which
draws all of it twice. Both in turn; the median of the ratios is what counts.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from matplotlib.figure import Figure

from burnish.core.report import Series, curve_figure
from burnish.core.svg import inline_svg


def plain(series: Series) -> None:
    lines = -(-len(series) // 3)
    figure = Figure(figsize=(3 * 3.4, 2.3 * lines), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(lines, 3, squeeze=False).flat, series.items(), strict=False):
        axes.plot(*zip(*points, strict=True), linewidth=1.2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.tick_params(labelsize=8)
        axes.set_title(name, fontsize=9)
    figure.savefig(io.StringIO(), format="svg", bbox_inches="tight")


def ours(series: Series) -> None:
    inline_svg(curve_figure(series))


def seconds(draw: Callable[[Series], None], series: Series) -> float:
    start = time.process_time()
    draw(series)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=48)
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    walks = rng.normal(size=(given.curves, given.points)).cumsum(1).tolist()
    series = {f"metric/{number:02}": list(enumerate(walk)) for number, walk in enumerate(walks)}
    for draw in (plain, ours):  # fonts are found and glyphs are cached
        draw(series)
    pairs = [(seconds(plain, series), seconds(ours, series)) for _ in range(given.repeats)]
    theirs, mine = (median(each) for each in zip(*pairs, strict=True))
    print(f"{given.curves} curves: matplotlib {theirs:.2f} s, ours {mine:.2f} s")
    print(f"ours in {median(b / a for a, b in pairs):.2f} of its time")


if __name__ == "__main__":
    main()
