"""Pictures of when planning while acting pays: gain over L/A beside theory, what it costs, teams, timelines.

Knows matplotlib. The pictures of fights and of what each part is worth: ``fight_figures.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from burnish.act.report import draw_lanes
from burnish.act.timeline import Timeline
from burnish.core.intervals import Interval
from burnish.core.report import subplots
from burnish.core.study_picture import BLUE
from burnish.studies.planning_acting.arms import SURROUNDINGS
from burnish.studies.planning_acting.claims import (
    HORIZON,
    Quantity,
    Worlds,
    measured_ratio,
    ratio,
    ratios,
    sizes,
    values,
)
from burnish.studies.planning_acting.theory import gain, gain_in_the_long_run

PARALLEL, SERIAL, PUBLISHED, THEORY = BLUE, "#d08428", "#6b7280", "#111827"
WORDS = {
    "events": ("plans while acting, on events", PARALLEL, "-"),
    "continuous": ("plans while acting, all the time (published)", PUBLISHED, "-"),
    "serial": ("takes turns", SERIAL, "-"),
    f"events{HORIZON}": (f"on events, {HORIZON} steps a plan", PARALLEL, "--"),
    f"serial{HORIZON}": (f"takes turns, {HORIZON} steps a plan", SERIAL, "--"),
}
"""In the pictures' keys, with colour and line."""
GAINS = (("events", "serial"), ("continuous", "serial"), (f"events{HORIZON}", f"serial{HORIZON}"))
"""What each line of the gain compares."""
RATIO = "L / A: length of a planning call / of a skill"


def gain_figure(worlds: Worlds) -> Any:
    """Serial / parallel time over the measured L / A, one panel a kind of world, with the curves of theory."""
    figure, axes = subplots(1, len(SURROUNDINGS), width=11.5, height=3.8)
    for axis, around in zip(axes[0], SURROUNDINGS, strict=True):
        asked = ratios(worlds, around)
        places = [measured_ratio(worlds, each, around) for each in asked]
        for ours, theirs in GAINS:
            found = [
                ratio(worlds, [f"fetch/{around}/{each}/{theirs}"], [f"fetch/{around}/{each}/{ours}"]) for each in asked
            ]
            words, colour, line = WORDS[ours]
            _points(axis, places, found, words, colour, line)
        _theory(axis, worlds, around, places)
        axis.set_xscale("log", base=2)
        axis.set_xlim(0.09, 6)
        axis.set_xticks([0.125, 0.25, 0.5, 1, 2, 4], ["1/8", "1/4", "1/2", "1", "2", "4"])
        axis.axhline(1, color=PUBLISHED, linewidth=1)
        axis.set_title(f"{around} world", fontsize=10, loc="left")
        axis.set_xlabel(RATIO, fontsize=9)
    axes[0, 0].set_ylabel("time taking turns / planning while acting", fontsize=9)
    for axis in axes[0]:
        axis.set_ylim(0.5, 2.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 0.0))
    return figure


def _theory(axis: Any, worlds: Worlds, around: str, places: Sequence[float]) -> None:
    """The bound for equal skills without end, and for as many as there were."""
    curve, short = np.geomspace(0.09, 6, 200), np.geomspace(0.09, HORIZON / 2, 40)
    axis.plot(curve, [gain_in_the_long_run(each) for each in curve], color=THEORY, linewidth=1, label="theory")
    many = [gain(each, 10_000, HORIZON) for each in short]
    axis.plot(short, many, ":", color=THEORY, linewidth=1, label=f"theory, {HORIZON} steps a plan")
    if around == "static":
        counts = [float(np.mean(values(worlds, [f"fetch/static/{each}/serial"], "skills"))) for each in ratios(worlds)]
        ends = [gain(place, round(count)) for place, count in zip(places, counts, strict=True)]
        axis.plot(places, ends, "D", color=THEORY, markerfacecolor="none", markersize=8, label="theory, as many skills")


def _points(axis: Any, places: Sequence[float], found: Sequence[Interval], words: str, colour: str, line: str) -> None:
    means = [each.mean for each in found]
    axis.plot(places, means, line, marker="o", color=colour, label=words, linewidth=1.4, markersize=4.5)
    if found[0].n > 1:
        known = [not each.boundless for each in found]
        low = [each.mean - each.low if there else 0.0 for each, there in zip(found, known, strict=True)]
        high = [each.high - each.mean if there else 0.0 for each, there in zip(found, known, strict=True)]
        axis.errorbar(places, means, yerr=[low, high], fmt="none", ecolor=colour, capsize=3, linewidth=1.2)


def cost_figure(worlds: Worlds) -> Any:
    """Seconds, tokens beside them, and the gain of teams."""
    figure, axes = subplots(1, 3, width=11.5, height=3.6)
    shown: tuple[tuple[Quantity, str, float], ...] = (
        ("seconds", "static world: seconds", 1.0),
        ("tokens", "static world: thousand tokens", 1e-3),
    )
    asked = ratios(worlds)
    places = [measured_ratio(worlds, each) for each in asked]
    for axis, (quantity, title, unit) in zip(axes[0], shown, strict=False):
        for way, (words, colour, line) in WORDS.items():
            means = [float(np.mean(values(worlds, [f"fetch/static/{each}/{way}"], quantity))) * unit for each in asked]
            axis.plot(places, means, line, marker="o", color=colour, label=words, linewidth=1.4, markersize=4.5)
        axis.set_xscale("log", base=2)
        axis.set_xticks([0.125, 0.25, 0.5, 1, 2, 4], ["1/8", "1/4", "1/2", "1", "2", "4"])
        axis.set_ylim(bottom=0)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel(RATIO, fontsize=9)
    _teams(axes[0, 2], worlds)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.4, 0.0))
    return figure


def _teams(axis: Any, worlds: Worlds) -> None:
    """Gain over the size of the team."""
    asked = sizes(worlds)
    for around, colour in (("static", PARALLEL), ("drifting", SERIAL)):
        found = [ratio(worlds, [f"team/{around}/{each}/serial"], [f"team/{around}/{each}/events"]) for each in asked]
        _points(axis, list(range(len(asked))), found, f"{around} world", colour, "-")
    axis.axhline(1, color=PUBLISHED, linewidth=1)
    axis.set_xticks(range(len(asked)), asked)
    axis.set_title("teams, L / A about 1: gain", fontsize=10, loc="left")
    axis.set_xlabel("agents", fontsize=9)
    axis.legend(fontsize=8, frameon=False)


def lanes_figure(lines: Mapping[str, Timeline], about: Callable[[str], str] = lambda way: WORDS[way][0]) -> Any:
    """Lanes of every way of thinking above one another, on one scale of time."""
    figure, axes = subplots(len(lines), 1, width=11.5, height=1.9 * len(lines))
    end = max(line.end for line in lines.values())
    for axis, (way, line) in zip(axes[:, 0], lines.items(), strict=True):
        draw_lanes(axis, line, line.agents())
        axis.set_xlim(0, end)
        axis.axvline(line.end, color=THEORY, linewidth=1.2)
        axis.set_title(f"{about(way)}: done after {line.end:.0f} s", fontsize=10, loc="left")
    for axis in axes[:-1, 0]:
        axis.set_xlabel("")
    return figure
