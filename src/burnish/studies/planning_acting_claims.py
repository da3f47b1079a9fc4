"""Claims of the planning-acting study, written down before any judged run. Knows numbers only.

The unit of every interval is the world: all arms play in it, and are compared within it. Where several latencies or team sizes
are averaged, they are averaged within the world first. A time that ran into the limit counts as the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from burnish.studies.claims import Claim, Interval, judge, t_interval
from burnish.studies.planning_acting_cell import PAIR

Worlds = Sequence[dict[str, Any]]
OVER_WORLDS = "95 % t interval over worlds"


def latencies(worlds: Worlds, kind: str) -> list[str]:
    """The latencies at which a kind of episode was played, as they stand in the arms' names."""
    place = {"gather": 2, "boss": 1, "duel": 1}[kind]
    names = [name.split("/") for name in worlds[0]["played"] if name.startswith(f"{kind}/")]
    return sorted({parts[place] for parts in names if parts[place] != "reactive"}, key=float)


def pairs(worlds: Worlds, kind: str) -> list[str]:
    """Arms of a kind that were played in parallel and in serial mode, without the mode."""
    names = worlds[0]["played"]
    return [name.removesuffix("/serial") for name in names if name.startswith(kind) and name.endswith("/serial")]


def values(worlds: Worlds, names: Iterable[str], number: str) -> list[float]:
    """A number of each world, mean over arms."""
    arms = list(names)
    return [float(np.mean([world["played"][name][number] for name in arms])) for world in worlds]


def ratio(worlds: Worlds, over: Sequence[str], under: Sequence[str], number: str = "seconds") -> Interval:
    """Ratio of two lists of arms, arm by arm: geometric mean over arms and worlds, interval over worlds."""
    logs = [
        float(np.mean([np.log(w["played"][a][number] / w["played"][b][number]) for a, b in zip(over, under, strict=True)]))
        for w in worlds
    ]  # fmt: skip
    return _exponential(t_interval(logs))


def _exponential(logs: Interval) -> Interval:
    mean, low, high = (float(np.exp(each)) for each in (logs.mean, logs.low, logs.high))
    return Interval(mean=mean, low=low, high=high, n=logs.n)


def difference(worlds: Worlds, ours: Sequence[str], theirs: Sequence[str], number: str) -> Interval:
    """Difference of means over two lists of arms, paired by world."""
    return t_interval(np.subtract(values(worlds, ours, number), values(worlds, theirs, number)).tolist())


def score(world: dict[str, Any], latency: str) -> float:
    """What the parallel team made of its two duels, sides swapped: 1 for a win, 1/2 for a draw (both or none dead), 0."""
    home, away = (world["played"][f"duel/{latency}/{side}"] for side in ("home", "away"))
    return float(0.5 + (home["success"] - home["lost"]) / 4 - (away["success"] - away["lost"]) / 4)


def scores(worlds: Worlds, latency: str | None = None) -> list[float]:
    """Of each world, at one latency or the mean over all."""
    asked = latencies(worlds, "duel") if latency is None else [latency]
    return [float(np.mean([score(world, each) for each in asked])) for world in worlds]


def judge_worlds(worlds: Worlds) -> list[Claim]:
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


def _modes(arms: Iterable[str]) -> tuple[list[str], list[str]]:
    arms = list(arms)
    return [f"{arm}/parallel" for arm in arms], [f"{arm}/serial" for arm in arms]


def _speed(worlds: Worlds) -> list[Claim]:
    parallel, serial = _modes(pairs(worlds, "gather"))
    interval = ratio(worlds, serial, parallel)
    spent = ratio(worlds, parallel, serial, "tokens")
    ours, baseline = (float(np.mean(values(worlds, arms, "seconds"))) for arms in (parallel, serial))
    note = f"all team sizes and latencies; the parallel teams spend {spent} times the tokens"
    short, long = latencies(worlds, "gather")[0], latencies(worlds, "gather")[-1]
    growth = _gain_grows(worlds, short, long)
    health = difference(worlds, parallel, serial, "health")
    return [
        Claim(
            name="faster",
            claim="Gathering: planning while acting reaches the goal sooner than plan, act, plan, act (serial / parallel time)",
            paper="about 1.5x faster on average",
            rule=f"{OVER_WORLDS} of the ratio of times lies above 1",
            ours=ours,
            baseline=baseline,
            interval=interval,
            verdict=judge(interval, 1.0),
            note=note,
        ),
        Claim(
            name="faster_by_half",
            claim="Gathering: it is at least 1.5 times as fast on average over latencies of 1 to 16 s and teams of one to three",
            paper="about 1.5x faster on average",
            rule=f"{OVER_WORLDS} of the ratio of times lies above 1.5",
            ours=ours,
            baseline=baseline,
            interval=interval,
            verdict=judge(interval, 1.5),
            note=note,
        ),
        Claim(
            name="gain_grows",
            claim=f"Gathering: the slower the planner, the more is gained (ratio at {long} s / ratio at {short} s)",
            paper="not measured",
            rule=f"{OVER_WORLDS} of the ratio of ratios lies above 1",
            ours=None,
            baseline=None,
            interval=growth,
            verdict=judge(growth, 1.0),
        ),
        Claim(
            name="gather_health",
            claim="Gathering: more health is left at the end",
            paper="more health left",
            rule=f"{OVER_WORLDS} of the difference in points of 20 lies above 0",
            ours=float(np.mean(values(worlds, parallel, "health"))),
            baseline=float(np.mean(values(worlds, serial, "health"))),
            interval=health,
            verdict=judge(health),
            note="who dies comes back with full health, so health at the end flatters the one that died more: deaths are "
            f"{np.mean(values(worlds, parallel, 'deaths')):.2f} an episode against {np.mean(values(worlds, serial, 'deaths')):.2f}",
        ),
    ]


def _gain_grows(worlds: Worlds, short: str, long: str) -> Interval:
    """(serial / parallel time with slow planners) / (the same with fast ones)."""

    def gain(world: dict[str, Any], latency: str) -> float:
        serial, parallel = (world["played"][f"gather/{PAIR}/{latency}/{mode}"] for mode in ("serial", "parallel"))
        return float(np.log(serial["seconds"] / parallel["seconds"]))

    return _exponential(t_interval([gain(world, long) - gain(world, short) for world in worlds]))


def _boss(worlds: Worlds) -> list[Claim]:
    parallel, serial = _modes(pairs(worlds, "boss"))
    words = {"success": "the boss is dead more often", "health": "more health is left at the end (the dead: 0)"}
    claims = []
    for number, what in words.items():
        interval = difference(worlds, parallel, serial, number)
        claims.append(
            Claim(
                name=f"boss_{number}",
                claim=f"Boss: {what}, mean over latencies",
                paper="higher success" if number == "success" else "more health left",
                rule=f"{OVER_WORLDS} of the difference lies above 0",
                ours=float(np.mean(values(worlds, parallel, number))),
                baseline=float(np.mean(values(worlds, serial, number))),
                interval=interval,
                verdict=judge(interval),
            )
        )
    return claims


def _bare(worlds: Worlds) -> list[Claim]:
    """Neither side has reflexes, as in the paper."""
    at = f"two agents, planning calls of {worlds[0]['judged']} s, no reflexes on either side"
    times = ratio(worlds, ["bare/gather/serial"], ["bare/gather/parallel"])
    health = difference(worlds, ["bare/boss/parallel"], ["bare/boss/serial"], "health")
    rows = (
        ("bare_faster", f"Gathering: the goal is reached sooner ({at})", "about 1.5x faster on average", "gather", times, 1.0),
        ("bare_boss_health", f"Boss: more health is left at the end ({at})", "more health left", "boss", health, 0.0),
    )  # fmt: skip
    return [
        Claim(
            name=name,
            claim=claim,
            paper=paper,
            rule=f"{OVER_WORLDS} of the {'ratio of times' if kind == 'gather' else 'difference'} lies above {threshold:g}",
            ours=float(np.mean(values(worlds, [f"bare/{kind}/parallel"], number))),
            baseline=float(np.mean(values(worlds, [f"bare/{kind}/serial"], number))),
            interval=interval,
            verdict=judge(interval, threshold),
        )
        for (name, claim, paper, kind, interval, threshold), number in zip(rows, ("seconds", "health"), strict=True)
    ]


def _overlap(worlds: Worlds) -> Claim:
    parallel, serial = _modes(pairs(worlds, "gather"))
    found = values(worlds, parallel, "overlap")
    return Claim(
        name="overlap",
        claim="Gathering: an agent that acts plans at the same time, at least half of its time",
        paper="planning and acting overlap",
        rule=f"{OVER_WORLDS} of the share lies above 0.5",
        ours=float(np.mean(found)),
        baseline=float(np.mean(values(worlds, serial, "overlap"))),
        interval=t_interval(found),
        verdict=judge(t_interval(found), 0.5),
    )


def _duels(worlds: Worlds) -> list[Claim]:
    interval = t_interval(scores(worlds))
    alone = "; ".join(f"{each} s: {np.mean(scores(worlds, each)):.2f}" for each in latencies(worlds, "duel"))
    return [
        Claim(
            name=name,
            claim=f"Two against two, sides swapped: the parallel team wins {what} (a draw is half a win)",
            paper="75 % of the fights",
            rule=f"{OVER_WORLDS} of the share lies above {threshold:g}",
            ours=interval.mean,
            baseline=1 - interval.mean,
            interval=interval,
            verdict=judge(interval, threshold),
            note=f"by latency: {alone}",
        )
        for name, what, threshold in (
            ("wins", "more fights than it loses", 0.5),
            ("wins_three_quarters", "at least 75 % of the fights", 0.75),
        )
    ]


def _without(worlds: Worlds) -> list[Claim]:
    """Ablations: each against the same team with the part."""
    whole = f"gather/{PAIR}/{worlds[0]['judged']}/parallel"
    claims = []
    for what in ("interrupts", "shared memory", "decomposition"):
        arm = f"without/{what}/gather"
        interval = ratio(worlds, [arm], [whole])
        claims.append(
            Claim(
                name=f"without_{what.replace(' ', '_')}",
                claim=f"Gathering: without {what} a team is slower (time without / with)",
                paper="each part helps",
                rule=f"{OVER_WORLDS} of the ratio of times lies above 1",
                ours=float(np.mean(values(worlds, [whole], "seconds"))),
                baseline=float(np.mean(values(worlds, [arm], "seconds"))),
                interval=interval,
                verdict=judge(interval, 1.0),
            )
        )
    at = latencies(worlds, "duel")[0]
    fights: dict[str, tuple[str, Callable[[dict[str, float]], float]]] = {
        "boss": (f"boss/{at}/parallel", lambda n: n["health"]),
        "duel": (f"duel/{at}/home", lambda n: (1 + n["success"] - n["lost"]) / 2),
    }
    for kind, (arm, number) in fights.items():
        ours, theirs = ([number(w["played"][name]) for w in worlds] for name in (arm, f"without/interrupts/{kind}"))
        interval = t_interval(np.subtract(ours, theirs).tolist())
        what = "more health is left before the boss" if kind == "boss" else "more duels are won (a draw is half a win)"
        claims.append(
            Claim(
                name=f"without_interrupts_{kind}",
                claim=f"With interrupts {what} than without, planning calls of {at} s",
                paper="each part helps",
                rule=f"{OVER_WORLDS} of the difference lies above 0",
                ours=float(np.mean(ours)),
                baseline=float(np.mean(theirs)),
                interval=interval,
                verdict=judge(interval),
                note="exactly the same in every world" if np.array_equal(ours, theirs) else "",
            )
        )
    return claims


def _reactive(worlds: Worlds) -> list[Claim]:
    claims = []
    for kind, alone in (("gather", f"gather/{PAIR}/reactive"), ("boss", "boss/reactive")):
        arms = [arm for arm in _modes(pairs(worlds, kind))[0] if kind == "boss" or arm.startswith(f"gather/{PAIR}/")]
        interval = difference(worlds, arms, [alone], "success")
        claims.append(
            Claim(
                name=f"reactive_{kind}",
                claim=f"{'Gathering' if kind == 'gather' else 'Boss'}: a team that plans succeeds more often than rules alone",
                paper="not compared (the baseline is RealtimeGym's)",
                rule=f"{OVER_WORLDS} of the difference in the share of successes lies above 0",
                ours=float(np.mean(values(worlds, arms, "success"))),
                baseline=float(np.mean(values(worlds, [alone], "success"))),
                interval=interval,
                verdict=judge(interval),
                note=_RULES[kind],
            )
        )
    return claims


_RULES = {
    "gather": "no rule can begin a search for items: nothing happens that would set it going",
    "boss": "its rules are written by hand for this very fight and take no time; the planning teams' mean is over all latencies",
}
