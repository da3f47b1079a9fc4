"""Tables and pictures of the planning-acting study. Knows matplotlib; plays one world again for its timelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from burnish.act.report import LANES, draw_lanes
from burnish.act.timeline import Timeline, timeline
from burnish.core.intervals import Interval, mean_share_interval, t_interval
from burnish.core.report import Section, subplots
from burnish.core.study import Glance
from burnish.core.study_picture import BLUE, Dots, draw_dots, small_bars
from burnish.studies.planning_acting.claims import (
    Quantity,
    Worlds,
    judge_worlds,
    latencies,
    pairs,
    ratio,
    scores,
    values,
)
from burnish.studies.planning_acting.experiment import Design, gathering, play
from burnish.studies.planning_acting.records import PAIR, World

PARALLEL, SERIAL, REACTIVE = BLUE, "#d08428", "#6b7280"
COLOURS = {"parallel": PARALLEL, "serial": SERIAL}
FAIR = (
    "Both modes get the same scripted policy behind the same chat API with the same latency, the same limits and the "
    "same reflex (badly hurt: retreat); the serial team has it too. Only whether planning waits for acting differs. "
    "Intervals are 95 % t intervals over worlds (shares: Korn-Graubard)."
)


def sections(worlds: Worlds, design: Design) -> list[Section]:
    """The report's parts."""
    world, gain = typical(worlds)
    pair = {mode: replay(world.seed, design, mode) for mode in ("parallel", "serial")}
    return [
        Section(
            "Time to goal, and who survives the boss",
            f"Two agents gather tools, or face a boss, at four speeds of thought. {FAIR} Reactive: rules alone, no "
            "planner; they can fight (rules written for this boss) but nothing sets them going to gather. An episode "
            "that does not reach its goal counts as the limit.",
            figure=latency_figure(worlds, design),
        ),
        Section(
            "The same team, the same world, both ways",
            f"World {world.seed}, whose ratio of times ({gain:.2f}) is the median of all, planning calls of "
            f"{design.judged:g} s. {LANES}",
            figure=pair_figure(pair),
        ),
        Section(
            "Two against two",
            "Parallel against serial with the same policy; each world is played twice, with the sides swapped. Left: "
            "share of fights won by the parallel team, a draw as half, with its interval. Right: how the fights "
            "ended.",
            figure=duel_figure(worlds),
        ),
        Section(
            "What each part is worth",
            "The whole team is at the dashed line; a dot right of it says that the team is worse off without the "
            "part. Left: time without the part divided by time with it. Right: what interrupts add in danger, with "
            "the interval of the difference.",
            figure=ablation_figure(worlds),
        ),
        Section("Arms", "Means over worlds.", table=arm_table(worlds)),
    ]


def typical(worlds: Worlds) -> tuple[World, float]:
    """The world with the median ratio (serial / parallel time) for a pair at the judged latency, and that ratio."""

    def gain(world: World) -> float:
        serial, parallel = (world.played[f"gather/{PAIR}/{world.judged}/{mode}"] for mode in ("serial", "parallel"))
        return float(serial.seconds / parallel.seconds)

    found = sorted(worlds, key=gain)[len(worlds) // 2]
    return found, gain(found)


def replay(seed: int, design: Design, mode: str) -> Timeline:
    """A world's timeline: episodes on the virtual clock are exactly repeatable."""
    return timeline(play(gathering(seed, design, PAIR, design.judged, mode)).events)


def latency_figure(worlds: Worlds, design: Design) -> Any:
    """Time to goal and the share of dead bosses over the planner's latency, by mode."""
    figure, axes = subplots(1, 3, width=11.5, height=3.5)
    shown: tuple[tuple[str, str, Quantity, str, float], ...] = (
        ("gather", f"gather/{PAIR}/", "seconds", "gathering: seconds to the goal", design.limit),
        ("boss", "boss/", "success", "boss: share of fights won", 1.0),
        ("boss", "boss/", "health", "boss: health left, of 20", 20.0),
    )
    for axis, (kind, prefix, quantity, title, most) in zip(axes[0], shown, strict=True):
        ticks = latencies(worlds, kind)
        interval = mean_share_interval if quantity == "success" else t_interval
        for shift, mode, label in ((-0.04, "parallel", "plans while acting"), (0.04, "serial", "takes turns")):
            found = [interval(values(worlds, [f"{prefix}{each}/{mode}"], quantity)) for each in ticks]
            places = [place + shift for place in range(len(ticks))]
            _line(axis, places, found, COLOURS[mode], label, most)
        alone = float(np.mean(values(worlds, [f"{prefix}reactive"], quantity)))
        axis.axhline(alone, color=REACTIVE, linestyle=":", linewidth=1.5, label="rules alone")
        axis.set_xticks(range(len(ticks)), [f"{each} s" for each in ticks])
        axis.set(xlabel="one planning call", ylim=(0, most * 1.06))
        axis.set_title(title, fontsize=10, loc="left")
    axes[0, 0].legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(0.0, 0.78))
    return figure


def _line(axis: Any, places: Sequence[float], found: Sequence[Interval], colour: str, label: str, most: float) -> None:
    means = [each.mean for each in found]
    axis.plot(places, means, "o-", color=colour, label=label, linewidth=1.8, markersize=5)
    if found[0].n > 1:
        # seconds and points of health have ends too: what lies beyond is not drawn
        low = [each.mean - max(0.0, each.low) for each in found]
        high = [max(0.0, min(most, each.high) - each.mean) for each in found]
        axis.errorbar(places, means, yerr=[low, high], fmt="none", ecolor=colour, capsize=3, linewidth=1.2)


def pair_figure(pair: Mapping[str, Timeline]) -> Any:
    """Lanes of both modes above one another, on one scale of time."""
    figure, axes = subplots(2, 1, width=11.5, height=6.2)
    end = max(line.end for line in pair.values())
    for axis, (mode, line) in zip(axes[:, 0], pair.items(), strict=True):
        draw_lanes(axis, line, line.agents())
        axis.set_xlim(0, end)
        axis.axvline(line.end, color="#111827", linewidth=1.2)
        words = "plans while acting" if mode == "parallel" else "takes turns: plan, act, design, act"
        axis.set_title(f"{words}: done after {line.end:.0f} s", fontsize=10, loc="left")
        if line.end < end * 0.93:
            axis.text(line.end + end * 0.008, axis.get_ylim()[0] / 2, "done", fontsize=9, va="center")
    axes[0, 0].set_xlabel("")
    return figure


def duel_figure(worlds: Worlds) -> Any:
    """Share of duels won, and wins, draws and losses."""
    figure, axes = subplots(1, 2, width=9.5, height=2.0 + 0.3 * len(latencies(worlds, "duel")))
    left, right = axes[0]
    asked = latencies(worlds, "duel")
    rows = [Dots(f"calls of {each} s", mean_share_interval(scores(worlds, each))) for each in asked]
    draw_dots(left, [*rows, Dots("all", mean_share_interval(scores(worlds)))], "{:.0%}", lines=(0.5,))
    left.axvline(0.75, color="#9a3412", linestyle="--", linewidth=1.2)
    left.text(0.755, -0.62, "paper: 75 %", fontsize=8, color="#9a3412", va="center")
    left.set(xlim=(0, 1.02), xlabel="share won by the parallel team")
    _draw_outcomes(right, worlds, asked)
    return figure


def _draw_outcomes(axis: Any, worlds: Worlds, asked: Sequence[str]) -> None:
    """Stacked bars of how fights ended, one a latency."""
    for place, each in enumerate(asked):
        start = 0
        for (name, count), colour in zip(outcomes(worlds, each).items(), (PARALLEL, "#cbd5e1", SERIAL), strict=True):
            axis.barh(place, count, left=start, color=colour, height=0.6, label=name if place == 0 else None)
            if count:
                ink = "white" if name != "draw" else "#111827"
                axis.text(start + count / 2, place, str(count), ha="center", va="center", fontsize=8, color=ink)
            start += count
    axis.set_yticks(range(len(asked)), [f"calls of {each} s" for each in asked])
    axis.set(xlabel="fights", ylim=(len(asked) - 0.4, -1.1))
    axis.legend(fontsize=8, frameon=False, ncols=3, loc="upper left")


def outcomes(worlds: Worlds, latency: str) -> dict[str, int]:
    """How the fights at a latency ended: parallel won, draw, serial won."""
    counts = {"parallel won": 0, "draw": 0, "serial won": 0}
    for world in worlds:
        for side, ours in (("home", 1.0), ("away", -1.0)):
            found = world.played[f"duel/{latency}/{side}"]
            point = ours * (found.success - found.lost)
            counts["parallel won" if point > 0 else "serial won" if point < 0 else "draw"] += 1
    return counts


def ablation_figure(worlds: Worlds) -> Any:
    """The claims on what is taken away, as intervals."""
    claims = [claim for claim in judge_worlds(worlds) if claim.name.startswith("without_")]
    danger = [claim for claim in claims if claim.name.endswith(("_boss", "_duel"))]
    slower = [claim for claim in claims if claim not in danger]
    figure, axes = subplots(1, 1 + len(danger), width=11.5, height=2.4)
    names = [claim.name.removeprefix("without_").replace("_", " ") for claim in slower]
    rows = [Dots(f"no {name}", claim.interval) for name, claim in zip(names, slower, strict=True)]
    draw_dots(axes[0, 0], rows, "{:.2f}x", lines=(1.0,))
    axes[0, 0].set_xlabel("gathering: time without / with")
    for axis, claim in zip(axes[0, 1:], danger, strict=True):
        draw_dots(axis, [Dots("interrupts", claim.interval)], "{:+.2f}", lines=(0.0,))
        boss = claim.name.endswith("_boss")
        axis.set_xlabel("boss: points of health gained" if boss else "duel: share of fights gained")
    return figure


def arm_table(worlds: Worlds) -> list[dict[str, str]]:
    """Means of every arm, and how much faster the parallel one is."""
    rows = []
    for name in worlds[0].played:
        plain = [world.played[name].model_dump() for world in worlds]
        mean = {key: float(np.mean([each[key] for each in plain])) for key in plain[0]}
        whole = name.removesuffix("/parallel")
        faster = name.endswith("/parallel") and whole in pairs(worlds, "gather")
        rows.append(
            {
                "arm": name.replace("/", ", "),
                "seconds": f"{mean['seconds']:.0f}",
                "serial / parallel time": str(ratio(worlds, [f"{whole}/serial"], [name])) if faster else "",
                "reached": f"{mean['success']:.2f}",
                "health left": f"{mean['health']:.1f}",
                "deaths": f"{mean['deaths']:.2f}",
                "interrupts": f"{mean['interrupts']:.1f}",
                "overlap": f"{mean['overlap']:.0%}",
                "calls": f"{mean['calls']:.0f}",
                "tokens": f"{mean['tokens']:,.0f}",
            }
        )
    return rows


def glance(worlds: Worlds) -> Glance:
    """Seconds to the goal of a pair that gathers, both ways."""
    judged = worlds[0].judged
    seconds = {
        mode: float(np.mean([world.played[f"gather/{PAIR}/{judged}/{mode}"].seconds for world in worlds]))
        for mode in ("parallel", "serial")
    }
    words = (
        f"Two agents gather tools in a world that does not wait, each planning call takes {judged} s: done after "
        f"{seconds['parallel']:.0f} s planning while they act, after {seconds['serial']:.0f} s taking turns."
    )
    bars = {"plan while acting": seconds["parallel"], "take turns": seconds["serial"]}
    return Glance(words, small_bars(bars, "{:.0f} s"))
