"""The arms of the planning-acting study: which team plays what, in which world, thinking when. Recipes, nothing else.

All arms of a world share policy, latency, limits, reflexes and prompt; an arm changes when the team thinks and how far
it plans, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from burnish.act.recipe import TeamRecipe
from burnish.studies.planning_acting.policy import fetcher, goal_words

Surroundings = Literal["static", "drifting", "hostile"]
SURROUNDINGS: tuple[Surroundings, ...] = ("static", "drifting", "hostile")
LATENCY = 8.0
"""Seconds of a planning call, where it does not vary."""
IN_ONE_CALL = 4
"""Pieces that an agent fetches in about ``LATENCY`` seconds: an oak log with a wooden axe takes 2.2 s, way included
(measured in the worlds that the study was built on). The study reports the lengths that came out."""
WAYS: Mapping[str, Mapping[str, Any]] = {
    "serial": {"mode": "serial"},
    "events": {},
    "continuous": {"planning": "continuous"},
    "serial4": {"mode": "serial", "horizon": 4},
    "events4": {"horizon": 4},
}
"""When a team thinks, and how many steps it plans."""
NAMES = ("ann", "bob", "cid", "dee", "eli", "fay", "gus", "hal")
PAIR = NAMES[:2]
RIVALS = ("eve", "dan")
TOOLS = {"stone_pickaxe": 1, "stone_sword": 1, "furnace": 1, "torch": 8, "shield": 1, "bucket": 1}
BOSS = "elder_guardian"
RETREAT = {"event": "damage", "where": "health", "below": 6, "skill": "retreat", "arguments": {"cells": 12}}
"""The one reflex that every arm has in the wild and before the boss, serial included."""
WARY = {**RETREAT, "below": 14}
"""The same among hunters at night: three blows a second apart leave no time to think for 8 s."""
HIT = {"target": BOSS, "seconds": 12.0}
BOSS_RULES = [
    {"event": "boss", "where": "boss.burst_in", "below": 8.5, "skill": "retreat", "arguments": {"cells": 9}},
    {"event": "boss", "where": "boss.burst_in", "above": 8.5, "skill": "kill", "arguments": HIT},
    {"event": "damage", "where": "health", "below": 6, "skill": "eat", "arguments": {"item": "golden_apple"}},
]
"""Reactive-only before the boss: what a person would write who knows the fight."""


@dataclass(frozen=True)
class Design:
    """What one size plays in a world.

    Attributes:
        worlds: for each seed of the study.
        ratios: L / A that one agent's portions are cut for in a static world; 1 is among them.
        moving: the same in drifting and hostile worlds; 1 is among them.
        pieces: that one agent fetches.
        hostile_pieces: the same among hunters, where it takes longer.
        team_pieces: for each agent of a team.
        teams: sizes, at L = A, in a static and in a drifting world.
        boss: seconds of a planning call before the boss.
        duel: seconds of a planning call where two teams fight; at the first of them boss and duel are played without
            interrupts.
        limit: seconds of an episode; two thirds of it among hunters and where tools are made, a third in a fight.
    """

    worlds: int = 2
    ratios: tuple[float, ...] = (0.125, 0.5, 1.0, 2.0, 4.0)
    moving: tuple[float, ...] = (0.125, 1.0, 4.0)
    pieces: int = 64
    hostile_pieces: int = 32
    team_pieces: int = 24
    teams: tuple[int, ...] = (1, 2, 4, 8)
    boss: tuple[float, ...] = (1.0, 4.0, 8.0, 16.0)
    duel: tuple[float, ...] = (4.0, 8.0)
    limit: float = 900.0

    def ratios_in(self, around: str) -> tuple[float, ...]:
        """L / A that one agent's portions are cut for there."""
        return self.ratios if around == "static" else self.moving


def arms(seed: int, design: Design) -> dict[str, TeamRecipe]:
    """Every arm of a world. Names: ``fetch/SURROUNDINGS/RATIO/WAY`` (one agent), ``team/SURROUNDINGS/SIZE/WAY``,
    ``tools/parallel|reactive``, ``boss/LATENCY/parallel|serial``, ``boss/reactive``, ``boss/bare/MODE`` (no reflexes,
    as published), ``duel/LATENCY/home|away`` (where the parallel team plays), ``without/WHAT/tools|boss|duel``."""
    found: dict[str, TeamRecipe] = {}
    for around in SURROUNDINGS:
        pieces = design.hostile_pieces if around == "hostile" else design.pieces
        for ratio in design.ratios_in(around):
            for way in WAYS:
                found[f"fetch/{around}/{ratio:g}/{way}"] = fetching(seed, design, around, ratio, way, pieces)
    for around in SURROUNDINGS[:2]:
        for size in design.teams:
            for way in ("serial", "events"):
                pieces = size * design.team_pieces
                found[f"team/{around}/{size}/{way}"] = fetching(seed, design, around, 1.0, way, pieces, size)
    return found | _fights(seed, design) | _tools(seed, design)


def _fights(seed: int, design: Design) -> dict[str, TeamRecipe]:
    found = {"boss/reactive": boss(seed, design, "reactive", LATENCY, reflexes=BOSS_RULES)}
    first = design.duel[0]
    for mode in ("parallel", "serial"):
        for latency in design.boss:
            found[f"boss/{latency:g}/{mode}"] = boss(seed, design, mode, latency)
        found[f"boss/bare/{mode}"] = boss(seed, design, mode, LATENCY, reflexes=[])
    for latency in design.duel:
        found[f"duel/{latency:g}/home"] = duel(seed, design, latency, "parallel", "serial")
        found[f"duel/{latency:g}/away"] = duel(seed, design, latency, "serial", "parallel")
    found["without/interrupts/boss"] = boss(seed, design, "parallel", first, interrupts=False)
    found["without/interrupts/duel"] = duel(seed, design, first, "parallel", "serial", interrupts=False)
    return found


def _tools(seed: int, design: Design) -> dict[str, TeamRecipe]:
    return {
        "tools/parallel": tools(seed, design),
        "tools/reactive": tools(seed, design, mode="reactive"),
        "without/interrupts/tools": tools(seed, design, interrupts=False),
        "without/shared memory/tools": tools(seed, design, shared_memory=False),
        "without/decomposition/tools": tools(seed, design, policy="stepper"),
    }


def fetching(
    seed: int,
    design: Design,
    around: Surroundings,
    ratio: float,
    way: str,
    pieces: int,
    size: int = 1,
) -> TeamRecipe:
    """A team fetches wood in portions that take about ``LATENCY / ratio`` seconds each; among hunters from dusk on."""
    world: dict[str, Any] = {
        "size": 96,
        "creatures": "none",
        "start": {"wooden_axe": 2, "iron_sword": 1, "bread": 4},
        "goal": {"team_items": {"oak_log": pieces}},
    }
    if around == "drifting":
        world["orders"] = {"every": 60.0, "items": ["oak_log", "birch_log", "spruce_log"]}
    if around == "hostile":
        world |= {"creatures": "all", "day_seconds": 240.0, "starts_at": 0.46}
    return _recipe(
        seed,
        NAMES[:size],
        f"{fetcher.__module__}:fetcher",
        LATENCY,
        world,
        design.limit * (2 / 3 if around == "hostile" else 1),
        goal=goal_words(max(1, round(IN_ONE_CALL / ratio))),
        reflexes=[WARY if around == "hostile" else RETREAT],
        **WAYS[way],
    )


def tools(seed: int, design: Design, policy: str = "gatherer", **runtime: Any) -> TeamRecipe:
    """Two agents make tools by day; hunters keep to their lairs."""
    world = {"size": 96, "start": {"wooden_sword": 1, "bread": 2}, "goal": {"team_items": TOOLS}}
    return _recipe(seed, PAIR, policy, LATENCY, world, design.limit * 2 / 3, **runtime)


def boss(seed: int, design: Design, mode: str, latency: float, **runtime: Any) -> TeamRecipe:
    """Two agents before an elder guardian, which strikes, gathers strength for 8 s and bursts; the dead stay dead."""
    world = {
        "size": 48,
        "creatures": "none",
        "respawn": False,
        "start": {"iron_sword": 1, "golden_apple": 2},
        "goal": {"boss": BOSS},
    }
    return _recipe(seed, PAIR, "slayer", latency, world, design.limit / 3, mode=mode, **runtime)


def duel(seed: int, design: Design, latency: float, home: str, away: str, **runtime: Any) -> TeamRecipe:
    """Two against two on a small map, no reflexes on either side; the dead stay dead."""
    world = {
        "size": 40,
        "creatures": "none",
        "respawn": False,
        "start": {"stone_sword": 1, "golden_apple": 1},
        "goal": {"opponents": True},
        "opponents": {"agents": list(RIVALS), "policy": "fighter", "latency": latency, "mode": away},
    }
    return _recipe(seed, PAIR, "fighter", latency, world, design.limit / 3, mode=home, reflexes=[], **runtime)


def _recipe(
    seed: int,
    names: Sequence[str],
    policy: str,
    latency: float,
    world: Mapping[str, Any],
    limit: float,
    goal: str = "what the team is to reach",
    reflexes: Sequence[Mapping[str, Any]] = (RETREAT,),
    **runtime: Any,
) -> TeamRecipe:
    return TeamRecipe.model_validate(
        {
            "seed": seed,
            "agents": [{"name": name, "goal": goal} for name in names],
            "planner": {"url": f"policy:{policy}", "latency": latency, "stream": False},
            "world": {"kind": "craftworld", **world},
            "runtime": {"clock": "virtual", "reflexes": list(reflexes), "limits": {"seconds": limit}, **runtime},
        }
    )
