"""Claims of the planning-acting study on danger, duels, and what each part is worth. Written before any judged run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from burnish.core.findings import Finding, average, paired, units
from burnish.core.intervals import Kind, interval_of
from burnish.core.study import Measured, Rule
from burnish.studies.planning_acting.claims import (
    NOT_IN_PAPER,
    Quantity,
    Worlds,
    alone,
    at_limit,
    judge_speed,
    number,
    times,
    times_rule,
    tokens_note,
    values,
)
from burnish.studies.planning_acting.records import Episode, World

MORE_HEALTH, EACH_HELPS = "more health left", "each part helps"
REALTIME = "not compared (the baseline is RealtimeGym's)"
KINDS: dict[str, Kind] = {"health": "mean", "success": "share difference"}


def judge_worlds(worlds: Worlds) -> list[Measured]:
    """Every claim with its own verdict."""
    return [
        *judge_speed(worlds),
        _deaths(worlds),
        *_boss(worlds),
        *_duels(worlds),
        *_without(worlds),
        *_reactive(worlds),
    ]


def latencies(worlds: Worlds, kind: str) -> list[str]:
    """The latencies at which a kind of fight was played, as they stand in the arms' names."""
    names = [name.split("/") for name in worlds[0].played if name.startswith(f"{kind}/")]
    return sorted({parts[1] for parts in names if parts[1][0].isdigit()}, key=float)


def score(world: World, latency: str) -> float:
    """What the parallel team made of its two duels, sides swapped: 1 for a win, 1/2 for a draw (both or none dead),
    0."""
    home, away = (world.played[f"duel/{latency}/{side}"] for side in ("home", "away"))
    return float(0.5 + (home.success - home.lost) / 4 - (away.success - away.lost) / 4)


def scores(worlds: Worlds, latency: str | None = None) -> list[float]:
    """Of each world, at one latency or the mean over all."""
    asked = latencies(worlds, "duel") if latency is None else [latency]
    return units(worlds, lambda world: float(np.mean([score(world, each) for each in asked])))


def _above(bound: float, of: str, kind: Kind) -> Rule:
    return Rule(of, kind, bound, over="worlds")


def _difference(worlds: Worlds, ours: Sequence[str], theirs: Sequence[str], quantity: Quantity) -> Finding:
    return paired(worlds, number(ours, quantity), number(theirs, quantity), KINDS[quantity])


def _deaths(worlds: Worlds) -> Measured:
    events, serial = alone(worlds, "events", "hostile"), alone(worlds, "serial", "hostile")
    mine, theirs = number(events, "deaths"), number(serial, "deaths")
    fewer = units(worlds, lambda world: theirs(world) - mine(world))
    deaths = [float(np.mean(units(worlds, each))) for each in (mine, theirs)]
    often = [
        each / float(np.mean(values(worlds, arms, "seconds"))) * 1000
        for each, arms in zip(deaths, (events, serial), strict=True)
    ]
    return Measured(
        "fewer_deaths",
        "Hostile world, one agent: fewer deaths in an episode than taking turns with the same reflex (mean over L/A)",
        NOT_IN_PAPER,
        _above(0, "difference (serial - parallel)", "mean"),
        Finding(partial(interval_of, "mean", fewer), *deaths),
        f"who is done sooner is in danger for less long; in 1,000 s: {often[0]:.2f} against {often[1]:.2f}; at the "
        f"limit end {at_limit(worlds, events):.0%} of the episodes against {at_limit(worlds, serial):.0%}; "
        f"{tokens_note(worlds, events, serial)}",
    )


def _boss(worlds: Worlds) -> list[Measured]:
    asked = latencies(worlds, "boss")
    parallel, serial = ([f"boss/{each}/{mode}" for each in asked] for mode in ("parallel", "serial"))
    mine, theirs = (["boss/bare/parallel"], ["boss/bare/serial"])
    health, over = "more health is left at the end (the dead: 0)", ", mean over latencies"
    rows: tuple[tuple[str, Quantity, str, str, Sequence[str], Sequence[str]], ...] = (
        ("boss_success", "success", f"the boss is dead more often{over}", "higher success", parallel, serial),
        ("boss_health", "health", f"{health}{over}", MORE_HEALTH, parallel, serial),
        ("bare_boss_health", "health", f"{health}, no reflexes on either side", MORE_HEALTH, mine, theirs),
    )
    return [
        Measured(
            name,
            f"Boss: {what}",
            paper,
            _above(0, "difference", KINDS[quantity]),
            _difference(worlds, ours, others, quantity),
        )
        for name, quantity, what, paper, ours, others in rows
    ]


def _duels(worlds: Worlds) -> list[Measured]:
    asked = latencies(worlds, "duel")
    found = average(worlds, lambda world: float(np.mean([score(world, each) for each in asked])), None, "mean share")
    found = Finding(found.at, found.ours, 1 - found.interval.mean)
    by_latency = "; ".join(f"{each} s: {np.mean(scores(worlds, each)):.2f}" for each in asked)
    return [
        Measured(
            name,
            f"Two against two, sides swapped: the parallel team wins {what} (a draw is half a win)",
            "75 % of the fights",
            _above(bound, "share", "mean share"),
            found,
            f"by latency: {by_latency}",
        )
        for name, what, bound in (
            ("wins", "more fights than it loses", 0.5),
            ("wins_three_quarters", "at least 75 % of the fights", 0.75),
        )
    ]


def _without(worlds: Worlds) -> list[Measured]:
    """Ablations: each against the same team with the part."""
    at = latencies(worlds, "duel")[0]
    slower = [
        Measured(
            f"without_{what.replace(' ', '_')}",
            f"Making tools: without {what} a team is slower (time without / with)",
            EACH_HELPS,
            times_rule(1),
            times(worlds, ["tools/parallel"], [f"without/{what}/tools"]),
        )
        for what in ("interrupts", "shared memory", "decomposition")
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
        _above(0, "difference", kind),
        found,
        "exactly the same in every world" if same else "",
    )


def _reactive(worlds: Worlds) -> list[Measured]:
    no_rule = "no rule can begin a search for items: nothing happens that would set it going"
    by_hand = (
        "its rules are written by hand for this very fight and take no time; the planning teams' mean is over all "
        "latencies"
    )
    bosses = [f"boss/{each}/parallel" for each in latencies(worlds, "boss")]
    rows = (
        ("tools", "Making tools", ["tools/parallel"], no_rule),
        ("boss", "Boss", bosses, by_hand),
    )
    return [
        Measured(
            f"reactive_{name}",
            f"{words}: a team that plans succeeds more often than rules alone",
            REALTIME,
            _above(0, "difference in the share of successes", "share difference"),
            _difference(worlds, arms, [f"{name}/reactive"], "success"),
            note,
        )
        for name, words, arms, note in rows
    ]
