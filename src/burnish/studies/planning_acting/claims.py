"""Claims of the planning-acting study, written down before any judged run. Knows numbers only.

The unit of every interval is the world: all arms play in it, and are compared within it. Where several ratios or
latencies are averaged, they are averaged within the world first. A time that ran into the limit counts as the limit.

The paper reports about 1.5x. Theory (``theory.py``) allows (1 + L/A) / max(1, L/A), L the length of a planning call and
A that of a skill: twice at L = A, 1.12x at L/A = 1/8, 1.25x at 4. So 1.5x is claimed where a call lasts about as long
as a skill, and nowhere else; that it holds on average over all ratios is asked too, and expected not to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from burnish.core.findings import Finding, units
from burnish.core.intervals import LEVEL, Interval, ratio_interval
from burnish.core.study import Measured, Rule
from burnish.studies.planning_acting.arms import LATENCY
from burnish.studies.planning_acting.records import World
from burnish.studies.planning_acting.theory import gain_in_the_long_run

Worlds = Sequence[World]
Quantity = Literal["seconds", "success", "health", "deaths", "tokens", "skills", "skill_seconds"]
FASTER, NOT_IN_PAPER = "about 1.5x faster on average", "not in the paper"
HORIZON = 4
"""Steps of the longer plans."""
AT_ONE = "a planning call lasts as long as a skill (L/A about 1)"


def ratios(worlds: Worlds, around: str = "static") -> list[str]:
    """Every L/A that portions were cut for there, as they stand in the arms' names."""
    names = [name.split("/") for name in worlds[0].played if name.startswith(f"fetch/{around}/")]
    return sorted({parts[2] for parts in names}, key=float)


def sizes(worlds: Worlds) -> list[str]:
    """Sizes of teams, as they stand in the arms' names."""
    return sorted({name.split("/")[2] for name in worlds[0].played if name.startswith("team/")}, key=int)


def alone(worlds: Worlds, way: str, around: str = "static", most: float = np.inf) -> list[str]:
    """The arms of one agent that thinks in a way, at every ratio up to ``most``."""
    return [f"fetch/{around}/{each}/{way}" for each in ratios(worlds, around) if float(each) <= most]


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


def compared(
    worlds: Worlds, over: Sequence[str], under: Sequence[str], ours: Literal["over", "under"], quantity: Quantity
) -> Finding:
    """The ratio of two lists of arms, with the mean of each."""
    first, second = (float(np.mean(values(worlds, arms, quantity))) for arms in (over, under))
    means = (first, second) if ours == "over" else (second, first)
    return Finding(lambda level: ratio(worlds, over, under, quantity, level), *means)


def times(worlds: Worlds, ours: Sequence[str], theirs: Sequence[str]) -> Finding:
    """How many times as long theirs take."""
    return compared(worlds, theirs, ours, "under", "seconds")


def measured_ratio(worlds: Worlds, asked: str, around: str = "static") -> float:
    """L / A as it came out for portions that were cut for ``asked``: by the skills that were done, turn by turn."""
    lengths = [each for each in values(worlds, [f"fetch/{around}/{asked}/serial"], "skill_seconds") if each]
    return LATENCY / float(np.mean(lengths)) if lengths else float(asked)


def over_bound(worlds: Worlds, arms: Sequence[str]) -> Finding:
    """Seconds over the least that these very skills allow: geometric mean over arms and worlds."""

    def log(world: World) -> float:
        return float(np.mean([np.log(world.played[arm].seconds / world.played[arm].bound) for arm in arms]))

    least = units(worlds, lambda world: float(np.mean([world.played[arm].bound for arm in arms])))
    taken = float(np.mean(values(worlds, arms, "seconds")))
    return Finding(lambda level: ratio_interval(units(worlds, log), level), taken, float(np.mean(least)))


def times_rule(bound: float) -> Rule:
    """So many times as fast."""
    return Rule("ratio of times", "ratio", bound, over="worlds")


def _at_most(bound: float, of: str) -> Rule:
    return Rule(of, "ratio", bound, "at most", over="worlds")


def judge_speed(worlds: Worlds) -> list[Measured]:
    """When planning while acting is faster, by how much, and what it costs."""
    return [*_bounds(worlds), *_gains(worlds), *_against_published(worlds), *_tokens(worlds), *_teams(worlds)]


def _bounds(worlds: Worlds) -> list[Measured]:
    short = alone(worlds, "events4", most=HORIZON / 2)
    return [
        Measured(
            "slot_bound",
            "Static world, one agent: planning on events takes the least time that a slot for one skill allows, L + "
            "sum of max(A, L) + A (mean over L/A)",
            NOT_IN_PAPER,
            _at_most(1.03, "time / bound"),
            over_bound(worlds, alone(worlds, "events")),
        ),
        Measured(
            "plan_bound",
            f"Static world, one agent: with plans of {HORIZON} steps it takes the least time that these allow (mean "
            f"over L/A up to {HORIZON / 2:g})",
            NOT_IN_PAPER,
            _at_most(1.03, "time / bound"),
            over_bound(worlds, short),
            f"the bound: skill i begins once skill i - 1 has ended, and no sooner than L after skill i - {HORIZON} has "
            f"begun; one call at a time can reach it while 2 L <= {HORIZON} A",
        ),
    ]


def _gains(worlds: Worlds) -> list[Measured]:
    at_one = [
        Measured(
            f"faster_{around}",
            f"{around.capitalize()} world, one agent, {AT_ONE}: at least 1.5 times as fast as taking turns",
            FASTER,
            times_rule(1.5),
            times(worlds, [f"fetch/{around}/1/events"], [f"fetch/{around}/1/serial"]),
            f"theory allows 2 for equal skills without end; measured L/A {measured_ratio(worlds, '1', around):.2f}",
        )
        for around in ("static", "drifting", "hostile")
    ]
    asked = ratios(worlds)
    allowed = float(np.exp(np.mean([np.log(gain_in_the_long_run(measured_ratio(worlds, each))) for each in asked])))
    return [
        *at_one,
        Measured(
            "faster_on_average",
            f"Static world, one agent: at least 1.5 times as fast on average over L/A of {', '.join(asked)}",
            FASTER,
            times_rule(1.5),
            times(worlds, alone(worlds, "events"), alone(worlds, "serial")),
            f"theory allows {allowed:.2f} on average: expected not to hold",
        ),
        Measured(
            "faster_at_equal_horizon",
            f"Static world, one agent, {AT_ONE}: faster than taking turns where both plan {HORIZON} steps",
            NOT_IN_PAPER,
            times_rule(1),
            times(worlds, [f"fetch/static/1/events{HORIZON}"], [f"fetch/static/1/serial{HORIZON}"]),
        ),
    ]


def _against_published(worlds: Worlds) -> list[Measured]:
    places = ("static", "drifting")
    events, continuous = ([f"fetch/{around}/1/{way}" for around in places] for way in ("events", "continuous"))
    return [
        Measured(
            "events_faster_than_continuous",
            f"Static and drifting worlds, one agent, {AT_ONE}: planning on events is faster than planning all the time",
            NOT_IN_PAPER,
            times_rule(1),
            times(worlds, events, continuous),
        )
    ]


def _tokens(worlds: Worlds) -> list[Measured]:
    rows = (("serial", "taking turns", 1.2), ("continuous", "planning all the time", 1.0))
    return [
        Measured(
            f"tokens_of_{way}",
            f"Static world, one agent: planning on events takes at most {bound:g} times the tokens of {words} (mean "
            "over L/A)",
            NOT_IN_PAPER,
            _at_most(bound, "ratio of tokens"),
            compared(worlds, alone(worlds, "events"), alone(worlds, way), "over", "tokens"),
        )
        for way, words, bound in rows
    ]


def _teams(worlds: Worlds) -> list[Measured]:
    most = sizes(worlds)[-1]
    found = []
    for around in ("static", "drifting"):
        by_size = {
            size: ratio(worlds, [f"team/{around}/{size}/serial"], [f"team/{around}/{size}/events"])
            for size in sizes(worlds)
        }
        arms = (f"team/{around}/{most}/{way}" for way in ("events", "serial"))
        ours, theirs = ([arm] for arm in arms)
        tokens = ratio(worlds, ours, theirs, "tokens")
        found.append(
            Measured(
                f"team_{around}",
                f"{around.capitalize()} world, L/A about 1: a team of {most} is still faster than one that takes turns",
                FASTER,
                times_rule(1),
                times(worlds, ours, theirs),
                f"by size: {'; '.join(f'{size}: {each.mean:.2f}' for size, each in by_size.items())}; "
                f"{tokens.mean:.2f} times the tokens with {most}",
            )
        )
    return found
