"""The report of the planning-acting study: its parts, its table, its row of the tour. Plays one world again."""

from __future__ import annotations

import numpy as np

from burnish.act.report import LANES
from burnish.act.timeline import Timeline, timeline
from burnish.core.report import Section
from burnish.core.study import Glance
from burnish.core.study_picture import small_bars
from burnish.studies.planning_acting.arms import LATENCY, Design, arms
from burnish.studies.planning_acting.claims import HORIZON, Worlds, measured_ratio, ratio
from burnish.studies.planning_acting.experiment import play
from burnish.studies.planning_acting.fight_figures import ablation_figure, boss_figure, duel_figure
from burnish.studies.planning_acting.figures import cost_figure, gain_figure, lanes_figure
from burnish.studies.planning_acting.records import World

FAIR = (
    "All ways of thinking get the same scripted policy behind the same chat API with the same latency, memory, limits, "
    "reflexes and horizon; only whether planning waits for acting differs. Intervals are 95 % over worlds: t intervals "
    "(of ratios on the log scale; of mean shares: Korn-Graubard)."
)
SHOWN = "fetch/drifting/1"
"""The arms whose timelines are drawn."""


def sections(worlds: Worlds, design: Design) -> list[Section]:
    """The report's parts."""
    world, gain = typical(worlds)
    return [
        Section(
            "When planning while acting pays",
            "One agent fetches wood in portions; their size sets the length A of a skill beside L, the "
            f"{LATENCY:g} s of a planning call (L / A is as measured in each kind of world). Static: nothing else "
            f"happens. Drifting: a person changes the order every 60 s. Hostile: hunters, from dusk on. {FAIR} Theory: "
            "the bound for equal skills, (1 + L/A) / max(1, L/A); fewer skills bring less, since the first call and "
            "the last skill overlap with nothing. Where the order changes, more can be had: what nobody wants any more "
            f"is not fetched to the end. With {HORIZON} steps a plan it is drawn as far as one call at a "
            "time can reach it. An episode that does not reach its goal counts as the limit.",
            figure=gain_figure(worlds),
        ),
        Section(
            "What it costs, and teams",
            "Seconds and tokens of the same episodes in the static world. A call that was cut off is charged its "
            "prompt. Right: the gain of teams whose agents share what there is to fetch.",
            figure=cost_figure(worlds),
        ),
        Section(
            "The same world, three ways",
            f"World {world.seed}, drifting, L/A about 1; its ratio of times ({gain:.2f}) is the median of all. {LANES}",
            figure=lanes_figure({way: replay(world.seed, design, way) for way in ("serial", "events", "continuous")}),
        ),
        Section(
            "Before a boss",
            "Two agents. Reactive: rules alone, no planner, written by hand for this boss.",
            figure=boss_figure(worlds),
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
            "Two agents make tools, or fight. The whole team is at the dashed line; a dot right of it says that the "
            "team is worse off without the part. Left: time without the part divided by time with it. Right: what "
            "interrupts add in danger, with the interval of the difference.",
            figure=ablation_figure(worlds),
        ),
        Section("Arms", "Means over worlds.", table=arm_table(worlds)),
    ]


def typical(worlds: Worlds) -> tuple[World, float]:
    """The world with the median ratio (serial / parallel time) of the arms that are drawn, and that ratio."""

    def gain(world: World) -> float:
        return world.played[f"{SHOWN}/serial"].seconds / world.played[f"{SHOWN}/events"].seconds

    found = sorted(worlds, key=gain)[len(worlds) // 2]
    return found, gain(found)


def replay(seed: int, design: Design, way: str) -> Timeline:
    """A world's timeline: episodes on the virtual clock are exactly repeatable."""
    return timeline(play(arms(seed, design)[f"{SHOWN}/{way}"]).events)


def arm_table(worlds: Worlds) -> list[dict[str, str]]:
    """Means of every arm; of one agent that fetches also the measured L / A, time over its bound, and the gain."""
    rows = []
    for name in worlds[0].played:
        plain = [world.played[name].model_dump() for world in worlds]
        mean = {key: float(np.mean([each[key] for each in plain])) for key in plain[0]}
        bound = float(np.mean([each["seconds"] / each["bound"] for each in plain])) if mean["bound"] else 0.0
        serial = _serial(name)
        faster = serial != name and serial in worlds[0].played
        lengths = mean["skill_seconds"]
        rows.append(
            {
                "arm": name.replace("/", ", "),
                "seconds": f"{mean['seconds']:.0f}",
                "serial / parallel time": str(ratio(worlds, [serial], [name])) if faster else "",
                "time / bound": f"{bound:.3f}" if bound else "",
                "L / A": f"{LATENCY / lengths:.2f}" if name.startswith(("fetch", "team")) and lengths else "",
                "reached": f"{mean['success']:.2f}",
                "health left": f"{mean['health']:.1f}",
                "deaths": f"{mean['deaths']:.2f}",
                "skills": f"{mean['skills']:.0f}",
                "calls": f"{mean['calls']:.0f}",
                "tokens": f"{mean['tokens']:,.0f}",
            }
        )
    return rows


def _serial(name: str) -> str:
    """The arm that takes turns with the same horizon."""
    for way in ("events", "continuous", "parallel"):
        name = name.replace(f"/{way}", "/serial")
    return name


def glance(worlds: Worlds) -> Glance:
    """Seconds to the goal of one agent in the static world where a call lasts as long as a skill."""
    ways = {"plan while acting": "events", "take turns": "serial"}
    seconds = {
        words: float(np.mean([world.played[f"fetch/static/1/{way}"].seconds for world in worlds]))
        for words, way in ways.items()
    }
    about = measured_ratio(worlds, "1")
    words = (
        f"Fetches wood (a planning call takes {LATENCY:g} s, a skill about {LATENCY / about:.0f} s) in "
        f"{seconds['plan while acting']:.0f} s planning while it acts, in {seconds['take turns']:.0f} s taking turns. "
        "With calls much shorter or longer than a skill there is less to gain."
    )
    return Glance(words, small_bars(seconds, "{:.0f} s"), "a scripted planner of set latency")
