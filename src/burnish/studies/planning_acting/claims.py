"""Claims of the planning-acting study, written down before any judged run. Knows numbers only.

The unit of every interval is the world: all arms play in it, and are compared within it. Where several ratios or
latencies are averaged, they are averaged within the world first. A time that ran into the limit counts as the limit.

The paper reports about 1.5x. Theory (``theory.py``) allows (1 + L/A) / max(1, L/A), L the length of a planning call and
A that of a skill: twice at L = A, 1.12x at L/A = 1/8, 1.25x at 4. So 1.5x is claimed where a call lasts about as long
as a skill, and nowhere else; that it holds on average over all ratios is asked too, and expected not to hold.

Two claims are younger than the others, and than the worlds of seeds below 5000. That of tokens at an equal horizon was
missing (in worlds 4000 to 4047 the ratio was 1.50, as large as the bound that the claim was given). That of the least
time was about the mean ratio of time and bound, which is exactly 1 in every world: equal values of a quantity without
bounds have no interval. It is now about the share of worlds, which has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from burnish.core.findings import Finding, units
from burnish.core.intervals import LEVEL, Interval, ratio_interval, share_interval
from burnish.core.study import Measured, Rule
from burnish.studies.planning_acting.arms import LATENCY
from burnish.studies.planning_acting.records import World
from burnish.studies.planning_acting.theory import gain_in_the_long_run

Worlds = Sequence[World]
Quantity = Literal["seconds", "success", "health", "deaths", "tokens", "skills", "skill_seconds"]
FASTER, NOT_IN_PAPER = "about 1.5x faster on average", "not in the paper"
HORIZON = 4
"""Steps of the longer plans."""
NEAR, MOST_WORLDS = 1.03, 0.9
"""Times the least time that counts as taking it, and the share of worlds in which it is to be taken."""
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


def over_bound(worlds: Worlds, arms: Sequence[str]) -> list[float]:
    """Seconds over the least that these very skills allow, one a world: that of the arm that is furthest above it."""
    return units(worlds, lambda world: max(world.played[arm].seconds / world.played[arm].bound for arm in arms))


def near_bound(worlds: Worlds, arms: Sequence[str]) -> Finding:
    """Share of worlds in which every arm takes the least time that its skills allow."""
    near = sum(each <= NEAR for each in over_bound(worlds, arms))
    return Finding(lambda level: share_interval(near, len(worlds), level), near / len(worlds), MOST_WORLDS)


def at_limit(worlds: Worlds, arms: Sequence[str]) -> float:
    """Share of episodes that ended without their goal, by the limit, and so count as the limit."""
    return 1 - float(np.mean(values(worlds, arms, "success")))


def limit_note(worlds: Worlds, ours: Sequence[str], theirs: Sequence[str]) -> str:
    """How many of the compared episodes ran into the limit, in words."""
    return (
        f"{at_limit(worlds, ours):.0%} of its episodes and {at_limit(worlds, theirs):.0%} of those that take turns end "
        "at the limit and count as the limit, so the true ratio of times is not known"
    )


def tokens_note(worlds: Worlds, ours: Sequence[str], theirs: Sequence[str]) -> str:
    """What it costs beside taking turns, in words."""
    return f"{ratio(worlds, ours, theirs, 'tokens').mean:.2f} times the tokens"


def times_rule(bound: float) -> Rule:
    """So many times as fast."""
    return Rule("ratio of times", "ratio", bound, over="worlds")


def _at_most(bound: float, of: str) -> Rule:
    return Rule(of, "ratio", bound, "at most", over="worlds")


def judge_speed(worlds: Worlds) -> list[Measured]:
    """When planning while acting is faster, by how much, and what it costs."""
    return [*_bounds(worlds), *_gains(worlds), *_against_published(worlds), *_tokens(worlds), *_teams(worlds)]


def _bounds(worlds: Worlds) -> list[Measured]:
    taken = f"in more than nine worlds of ten it takes at most {NEAR} times the least time that"
    rows = (
        (
            "slot_bound",
            f"planning on events, {taken} a slot for one skill allows, L + sum of max(A, L) + A, at every L/A",
            alone(worlds, "events"),
            "",
        ),
        (
            "plan_bound",
            f"with plans of {HORIZON} steps, {taken} these allow, at every L/A up to {HORIZON / 2:g}",
            alone(worlds, f"events{HORIZON}", most=HORIZON / 2),
            f"; the bound: skill i begins once skill i - 1 has ended, and no sooner than L after skill i - {HORIZON} "
            f"has begun; one call at a time can reach it while 2 L <= {HORIZON} A",
        ),
    )
    return [
        Measured(
            name,
            f"Static world, one agent: {claim}",
            NOT_IN_PAPER,
            Rule("share of worlds", "share", MOST_WORLDS),
            near_bound(worlds, arms),
            f"time / bound: at most {max(over_bound(worlds, arms)):.4f}, in any world and at any of these L/A{more}",
        )
        for name, claim, arms, more in rows
    ]


def _gains(worlds: Worlds) -> list[Measured]:
    at_one = [_at_one(worlds, around) for around in ("static", "drifting", "hostile")]
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


def _at_one(worlds: Worlds, around: str) -> Measured:
    """The paper's figure where portions are cut for L/A 1. Among hunters skills are cut short, so there L/A is larger:
    it is said in the claim as it came out."""
    ours, theirs = ([f"fetch/{around}/1/{way}"] for way in ("events", "serial"))
    true = measured_ratio(worlds, "1", around)
    where = AT_ONE if around != "hostile" else f"portions as for L/A 1 in the static world, here L/A {true:.2f}"
    notes = [
        f"theory allows {gain_in_the_long_run(true):.2f} for equal skills without end at the measured L/A, {true:.2f}",
        tokens_note(worlds, ours, theirs),
    ]
    if around == "hostile":
        notes.append(limit_note(worlds, ours, theirs))
    return Measured(
        f"faster_{around}",
        f"{around.capitalize()} world, one agent, {where}: at least 1.5 times as fast as taking turns",
        FASTER,
        times_rule(1.5),
        times(worlds, ours, theirs),
        "; ".join(notes),
    )


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
    """What it costs. The bound at an equal horizon: as many times the tokens as the paper's figure says of speed."""
    rows = (
        ("tokens_of_serial", "events", "serial", "taking turns", 1.2),
        ("tokens_of_continuous", "events", "continuous", "planning all the time", 1.0),
        (
            "tokens_at_equal_horizon",
            f"events{HORIZON}",
            f"serial{HORIZON}",
            f"taking turns where both plan {HORIZON} steps",
            1.5,
        ),
    )
    return [
        Measured(
            name,
            f"Static world, one agent: planning on events takes at most {bound:g} times the tokens of {words} (mean "
            "over L/A)",
            NOT_IN_PAPER,
            _at_most(bound, "ratio of tokens"),
            compared(worlds, alone(worlds, ours), alone(worlds, theirs), "over", "tokens"),
            "by L/A: "
            + "; ".join(
                f"{each}: {ratio(worlds, [a], [b], 'tokens').mean:.2f}"
                for each, a, b in zip(ratios(worlds), alone(worlds, ours), alone(worlds, theirs), strict=True)
            ),
        )
        for name, ours, theirs, words, bound in rows
    ]


def _teams(worlds: Worlds) -> list[Measured]:
    most = sizes(worlds)[-1]
    found = []
    for around in ("static", "drifting"):
        by_size = [(size, [f"team/{around}/{size}/events"], [f"team/{around}/{size}/serial"]) for size in sizes(worlds)]
        _, ours, theirs = by_size[-1]
        faster = "; ".join(f"{size}: {ratio(worlds, turns, acting).mean:.2f}" for size, acting, turns in by_size)
        tokens = "; ".join(
            f"{size}: {ratio(worlds, acting, turns, 'tokens').mean:.2f}" for size, acting, turns in by_size
        )
        found.append(
            Measured(
                f"team_{around}",
                f"{around.capitalize()} world, L/A about 1: a team of {most} is still faster than one that takes turns",
                FASTER,
                times_rule(1),
                times(worlds, ours, theirs),
                f"by size: {faster}; times the tokens by size: {tokens}",
            )
        )
    return found
