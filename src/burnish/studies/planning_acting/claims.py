"""Claims of the planning-acting study, written down before any judged run. Knows numbers only.

The unit of every interval is the world: all arms play in it, and are compared within it. Where several latencies or
team sizes are averaged, they are averaged within the world first. A time that ran into the limit counts as the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np

from burnish.core.findings import Finding, average, paired, units
from burnish.core.intervals import LEVEL, Interval, Kind, ratio_interval
from burnish.core.study import Measured, Rule
from burnish.studies.planning_acting.records import PAIR, Episode, World

Worlds = Sequence[World]
Quantity = Literal["seconds", "success", "health", "deaths", "tokens", "overlap"]
FASTER, MORE_HEALTH, EACH_HELPS = "about 1.5x faster on average", "more health left", "each part helps"
ALONE = "not compared (the baseline is RealtimeGym's)"
KINDS: dict[str, Kind] = {"health": "mean", "success": "share difference"}


def latencies(worlds: Worlds, kind: str) -> list[str]:
    """The latencies at which a kind of episode was played, as they stand in the arms' names."""
    place = {"gather": 2, "boss": 1, "duel": 1}[kind]
    names = [name.split("/") for name in worlds[0].played if name.startswith(f"{kind}/")]
    return sorted({parts[place] for parts in names if parts[place] != "reactive"}, key=float)


def pairs(worlds: Worlds, kind: str) -> list[str]:
    """Arms of a kind that were played in parallel and in serial mode, without the mode."""
    names = worlds[0].played
    return [name.removesuffix("/serial") for name in names if name.startswith(kind) and name.endswith("/serial")]


def modes(worlds: Worlds, kind: str) -> tuple[list[str], list[str]]:
    """The same arms in parallel mode, and in serial mode."""
    arms = pairs(worlds, kind)
    return [f"{arm}/parallel" for arm in arms], [f"{arm}/serial" for arm in arms]


def number(arms: Sequence[str], quantity: Quantity) -> Callable[[World], float]:
    """A number of a world: the mean over arms."""
    return lambda world: float(np.mean([getattr(world.played[arm], quantity) for arm in arms]))


def values(worlds: Worlds, arms: Sequence[str], quantity: Quantity) -> list[float]:
    """A number of each world, mean over arms."""
    return units(worlds, number(arms, quantity))


def ratio(
    worlds: Worlds, over: Sequence[str], under: Sequence[str], quantity: Quantity = "seconds", level: float = LEVEL
) -> Interval:
    """Ratio of two lists of arms, arm by arm: geometric mean over arms and worlds, interval over worlds."""

    def log(world: World) -> float:
        found = [
            np.log(getattr(world.played[a], quantity) / getattr(world.played[b], quantity))
            for a, b in zip(over, under, strict=True)
        ]
        return float(np.mean(found))

    return ratio_interval(units(worlds, log), level)


def score(world: World, latency: str) -> float:
    """What the parallel team made of its two duels, sides swapped: 1 for a win, 1/2 for a draw (both or none dead),
    0."""
    home, away = (world.played[f"duel/{latency}/{side}"] for side in ("home", "away"))
    return float(0.5 + (home.success - home.lost) / 4 - (away.success - away.lost) / 4)


def scores(worlds: Worlds, latency: str | None = None) -> list[float]:
    """Of each world, at one latency or the mean over all."""
    asked = latencies(worlds, "duel") if latency is None else [latency]
    return units(worlds, lambda world: float(np.mean([score(world, each) for each in asked])))


def judge_worlds(worlds: Worlds) -> list[Measured]:
    """Every claim with its own verdict."""
    return [
        *_speed(worlds),
        *_boss(worlds),
        *_bare(worlds),
        _overlap(worlds),
        *_duels(worlds),
        *_without(worlds),
        *_reactive(worlds),
    ]


def _lies_above(bound: float, of: str, kind: Kind) -> Rule:
    return Rule(of, kind, bound, over="worlds")


def _difference(worlds: Worlds, ours: Sequence[str], theirs: Sequence[str], quantity: Quantity) -> Finding:
    return paired(worlds, number(ours, quantity), number(theirs, quantity), KINDS[quantity])


def _times(worlds: Worlds, ours: Sequence[str], theirs: Sequence[str]) -> Finding:
    """How many times as long theirs take."""
    means = (float(np.mean(values(worlds, arms, "seconds"))) for arms in (ours, theirs))
    return Finding(lambda level: ratio(worlds, theirs, ours, level=level), *means)


def _speed(worlds: Worlds) -> list[Measured]:
    parallel, serial = modes(worlds, "gather")
    found = _times(worlds, parallel, serial)
    spent = ratio(worlds, parallel, serial, "tokens")
    note = f"all team sizes and latencies; the parallel teams spend {spent} times the tokens"
    short, long = latencies(worlds, "gather")[0], latencies(worlds, "gather")[-1]
    return [
        Measured(
            "faster",
            "Gathering: planning while acting reaches the goal sooner than plan, act, plan, act (serial / parallel "
            "time)",
            FASTER,
            _lies_above(1, "ratio of times", "ratio"),
            found,
            note,
        ),
        Measured(
            "faster_by_half",
            "Gathering: it is at least 1.5 times as fast on average over latencies of 1 to 16 s and teams of one to "
            "three",
            FASTER,
            _lies_above(1.5, "ratio of times", "ratio"),
            found,
            note,
        ),
        Measured(
            "gain_grows",
            f"Gathering: the slower the planner, the more is gained (ratio at {long} s / ratio at {short} s)",
            "not measured",
            _lies_above(1, "ratio of ratios", "ratio"),
            Finding(partial(_gain_grows, worlds, short, long)),
        ),
        Measured(
            "gather_health",
            "Gathering: more health is left at the end",
            MORE_HEALTH,
            _lies_above(0, "difference in points of 20", "mean"),
            _difference(worlds, parallel, serial, "health"),
            "who dies comes back with full health, so health at the end flatters the one that died more: deaths are "
            f"{np.mean(values(worlds, parallel, 'deaths')):.2f} an episode against "
            f"{np.mean(values(worlds, serial, 'deaths')):.2f}",
        ),
    ]


def _gain_grows(worlds: Worlds, short: str, long: str, level: float) -> Interval:
    """(serial / parallel time with slow planners) / (the same with fast ones)."""

    def gain(world: World, latency: str) -> float:
        serial, parallel = (world.played[f"gather/{PAIR}/{latency}/{mode}"] for mode in ("serial", "parallel"))
        return float(np.log(serial.seconds / parallel.seconds))

    return ratio_interval(units(worlds, lambda world: gain(world, long) - gain(world, short)), level)


def _boss(worlds: Worlds) -> list[Measured]:
    parallel, serial = modes(worlds, "boss")
    rows: tuple[tuple[Quantity, str, str], ...] = (
        ("success", "the boss is dead more often", "higher success"),
        ("health", "more health is left at the end (the dead: 0)", MORE_HEALTH),
    )
    return [
        Measured(
            f"boss_{quantity}",
            f"Boss: {what}, mean over latencies",
            paper,
            _lies_above(0, "difference", KINDS[quantity]),
            _difference(worlds, parallel, serial, quantity),
        )
        for quantity, what, paper in rows
    ]


def _bare(worlds: Worlds) -> list[Measured]:
    """Neither side has reflexes, as in the paper."""
    at = f"two agents, planning calls of {worlds[0].judged} s, no reflexes on either side"
    parallel, serial = ["bare/gather/parallel"], ["bare/gather/serial"]
    return [
        Measured(
            "bare_faster",
            f"Gathering: the goal is reached sooner ({at})",
            FASTER,
            _lies_above(1, "ratio of times", "ratio"),
            _times(worlds, parallel, serial),
        ),
        Measured(
            "bare_boss_health",
            f"Boss: more health is left at the end ({at})",
            MORE_HEALTH,
            _lies_above(0, "difference", "mean"),
            _difference(worlds, ["bare/boss/parallel"], ["bare/boss/serial"], "health"),
        ),
    ]


def _overlap(worlds: Worlds) -> Measured:
    parallel, serial = modes(worlds, "gather")
    theirs = float(np.mean(values(worlds, serial, "overlap")))
    return Measured(
        "overlap",
        "Gathering: an agent that acts plans at the same time, at least half of its time",
        "planning and acting overlap",
        _lies_above(0.5, "share", "mean share"),
        average(worlds, number(parallel, "overlap"), theirs, "mean share"),
    )


def _duels(worlds: Worlds) -> list[Measured]:
    asked = latencies(worlds, "duel")
    found = average(worlds, lambda world: float(np.mean([score(world, each) for each in asked])), None, "mean share")
    found = Finding(found.at, found.ours, 1 - found.interval.mean)
    alone = "; ".join(f"{each} s: {np.mean(scores(worlds, each)):.2f}" for each in asked)
    return [
        Measured(
            name,
            f"Two against two, sides swapped: the parallel team wins {what} (a draw is half a win)",
            "75 % of the fights",
            _lies_above(bound, "share", "mean share"),
            found,
            f"by latency: {alone}",
        )
        for name, what, bound in (
            ("wins", "more fights than it loses", 0.5),
            ("wins_three_quarters", "at least 75 % of the fights", 0.75),
        )
    ]


def _without(worlds: Worlds) -> list[Measured]:
    """Ablations: each against the same team with the part."""
    whole = f"gather/{PAIR}/{worlds[0].judged}/parallel"
    at = latencies(worlds, "duel")[0]
    slower = [
        Measured(
            f"without_{what.replace(' ', '_')}",
            f"Gathering: without {what} a team is slower (time without / with)",
            EACH_HELPS,
            _lies_above(1, "ratio of times", "ratio"),
            _times(worlds, [whole], [arm]),
        )
        for what in ("interrupts", "shared memory", "decomposition")
        for arm in (f"without/{what}/gather",)
    ]
    health, won = "more health is left before the boss", "more duels are won (a draw is half a win)"
    return [
        *slower,
        _interrupts(worlds, "boss", f"boss/{at}/parallel", lambda episode: episode.health, "mean", health, at),
        _interrupts(worlds, "duel", f"duel/{at}/home", lambda episode: episode.won, "share difference", won, at),
    ]


def _interrupts(
    worlds: Worlds, fight: str, arm: str, value: Callable[[Episode], float], kind: Kind, what: str, at: str
) -> Measured:
    """What interrupts are worth in danger."""
    other = f"without/interrupts/{fight}"
    found = paired(worlds, lambda world: value(world.played[arm]), lambda world: value(world.played[other]), kind)
    same = all(value(world.played[arm]) == value(world.played[other]) for world in worlds)
    return Measured(
        f"without_interrupts_{fight}",
        f"With interrupts {what} than without, planning calls of {at} s",
        EACH_HELPS,
        _lies_above(0, "difference", kind),
        found,
        "exactly the same in every world" if same else "",
    )


def _reactive(worlds: Worlds) -> list[Measured]:
    gather = [arm for arm in modes(worlds, "gather")[0] if arm.startswith(f"gather/{PAIR}/")]
    no_rule = "no rule can begin a search for items: nothing happens that would set it going"
    by_hand = (
        "its rules are written by hand for this very fight and take no time; the planning teams' mean is over all "
        "latencies"
    )
    rows = (
        ("gather", "Gathering", gather, f"gather/{PAIR}/reactive", no_rule),
        ("boss", "Boss", modes(worlds, "boss")[0], "boss/reactive", by_hand),
    )
    return [
        Measured(
            f"reactive_{name}",
            f"{words}: a team that plans succeeds more often than rules alone",
            ALONE,
            _lies_above(0, "difference in the share of successes", "share difference"),
            _difference(worlds, arms, [alone], "success"),
            note,
        )
        for name, words, arms, alone, note in rows
    ]
