"""Pictures of danger: the boss, two teams against each other, and what each part of the runtime is worth."""

from __future__ import annotations

from typing import Any

import numpy as np

from burnish.core.intervals import mean_share_interval, t_interval
from burnish.core.report import subplots
from burnish.core.study_picture import Dots, draw_dots
from burnish.studies.planning_acting.claims import Quantity, Worlds, values
from burnish.studies.planning_acting.fight_claims import judge_worlds, latencies, scores
from burnish.studies.planning_acting.figures import PARALLEL, PUBLISHED, SERIAL

DRAW = "#cbd5e1"
PAPER = "#d9480f"  # to be read on a light page and on a dark one
MODES = (("parallel", "plans while acting", PARALLEL), ("serial", "takes turns", SERIAL))


def boss_figure(worlds: Worlds) -> Any:
    """Share of dead bosses and health left, by planning call and mode."""
    figure, axes = subplots(1, 2, width=9.5, height=2.6)
    asked = latencies(worlds, "boss")
    shown: tuple[tuple[Quantity, str, float], ...] = (
        ("success", "boss: share of fights won", 1.0),
        ("health", "boss: health left, of 20", 20.0),
    )
    for axis, (quantity, title, most) in zip(axes[0], shown, strict=True):
        interval = mean_share_interval if quantity == "success" else t_interval
        for shift, (mode, words, colour) in zip((-0.05, 0.05), MODES, strict=True):
            for place, each in enumerate(asked):
                found = interval(values(worlds, [f"boss/{each}/{mode}"], quantity))
                axis.plot([place + shift], [found.mean], "o", color=colour, label=None if place else words)
                if found.n > 1:
                    ends = [max(0.0, found.low), min(most, found.high)]
                    axis.plot([place + shift] * 2, ends, color=colour, linewidth=2)
        alone = float(np.mean(values(worlds, ["boss/reactive"], quantity)))
        axis.axhline(alone, color=PUBLISHED, linestyle=":", linewidth=1.5, label="rules alone")
        axis.set_xticks(range(len(asked)), [f"calls of {each} s" for each in asked])
        axis.set(xlim=(-0.5, len(asked) - 0.5), ylim=(0, most * 1.06))
        axis.set_title(title, fontsize=10, loc="left")
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower left")
    return figure


def duel_figure(worlds: Worlds) -> Any:
    """Share of duels won, and wins, draws and losses."""
    asked = latencies(worlds, "duel")
    figure, axes = subplots(1, 2, width=9.5, height=2.0 + 0.3 * len(asked))
    left, right = axes[0]
    rows = [Dots(f"calls of {each} s", mean_share_interval(scores(worlds, each))) for each in asked]
    draw_dots(left, [*rows, Dots("all", mean_share_interval(scores(worlds)))], "{:.0%}", lines=(0.5,))
    left.axvline(0.75, color=PAPER, linestyle="--", linewidth=1.2)
    left.text(0.77, -0.62, "paper: 75 %", fontsize=8, color=PAPER, va="center")
    left.set(xlim=(0, 1.02), xlabel="share won by the parallel team")
    _draw_outcomes(right, worlds, asked)
    return figure


def _draw_outcomes(axis: Any, worlds: Worlds, asked: list[str]) -> None:
    """Stacked bars of how fights ended, one a latency."""
    for place, each in enumerate(asked):
        start = 0
        for (name, count), colour in zip(outcomes(worlds, each).items(), (PARALLEL, DRAW, SERIAL), strict=True):
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
    axes[0, 0].set_xlabel("making tools: time without / with")
    for axis, claim in zip(axes[0, 1:], danger, strict=True):
        draw_dots(axis, [Dots("interrupts", claim.interval)], "{:+.2f}", lines=(0.0,))
        boss = claim.name.endswith("_boss")
        axis.set_xlabel("boss: points of health gained" if boss else "duel: share of fights gained")
    return figure
