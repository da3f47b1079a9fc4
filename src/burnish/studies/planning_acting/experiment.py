"""One world of the planning-acting study: every arm plays it, with the same policy, latency, limits and reflexes.

A planner is a scripted policy behind the OpenAI-compatible chat API, mounted in this process on the virtual clock; an
arm changes how the team thinks and acts, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from burnish.act import clock
from burnish.act.episode import AgentPool, set_up_episode
from burnish.act.loop import run_episode
from burnish.act.memory.log import Event
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.recipe import TeamRecipe
from burnish.act.runtime import Outcome, Runtime
from burnish.act.timeline import overlap, timeline
from burnish.studies.planning_acting.records import PAIR, Episode, World

NAMES = ("ann", "bob", "cid")
RIVALS = ("eve", "dan")
ITEMS = {"stone_pickaxe": 1, "stone_sword": 1, "furnace": 1, "torch": 8, "shield": 1, "bucket": 1}
BOSS = "elder_guardian"
RETREAT = {"event": "damage", "where": "health", "below": 6, "skill": "retreat", "arguments": {"cells": 12}}
"""The one reflex that every arm has in the wild and before the boss, serial included."""
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
        latencies: seconds of one planning call.
        judged: the latency of other team sizes, and of the ablations of gathering.
        teams: how many gather; two where the latency varies.
        limit: seconds of an episode of gathering; a boss and a duel have half of it.
        duel: at which latencies two teams fight; at the first of them boss and duel are played without interrupts.
    """

    worlds: int = 8
    latencies: tuple[float, ...] = (1.0, 4.0, 8.0, 16.0)
    judged: float = 8.0
    teams: tuple[int, ...] = (1, 2, 3)
    limit: float = 600.0
    duel: tuple[float, ...] = (4.0, 8.0)


class Job(NamedTuple):
    """One item for the executor."""

    seed: int
    design: Design


def play_world(job: Job) -> World:
    """All arms in one world."""
    played = {name: numbers(play(recipe)) for name, recipe in arms(job.seed, job.design).items()}
    return World(seed=job.seed, judged=f"{job.design.judged:g}", played=played)


def arms(seed: int, design: Design) -> dict[str, TeamRecipe]:
    """Every arm of a world. Names: ``gather/TEAM/LATENCY/MODE``, ``boss/LATENCY/MODE``, ``duel/LATENCY/home|away``
    (where the parallel team plays), ``bare/gather|boss/MODE`` (no reflexes, as published),
    ``without/WHAT/gather|boss|duel``."""
    found: dict[str, TeamRecipe] = {}
    for latency in design.latencies:
        for mode in ("parallel", "serial"):
            for team in design.teams if latency == design.judged else (PAIR,):
                found[f"gather/{team}/{latency:g}/{mode}"] = gathering(seed, design, team, latency, mode)
            found[f"boss/{latency:g}/{mode}"] = boss(seed, design, latency, mode)
    found[f"gather/{PAIR}/reactive"] = gathering(seed, design, PAIR, design.judged, "reactive")
    found["boss/reactive"] = boss(seed, design, design.judged, "reactive", reflexes=BOSS_RULES)
    for latency in design.duel:
        found[f"duel/{latency:g}/home"] = duel(seed, design, latency, "parallel", "serial")
        found[f"duel/{latency:g}/away"] = duel(seed, design, latency, "serial", "parallel")
    for mode in ("parallel", "serial"):
        found[f"bare/gather/{mode}"] = gathering(seed, design, PAIR, design.judged, mode, reflexes=[])
        found[f"bare/boss/{mode}"] = boss(seed, design, design.judged, mode, reflexes=[])
    found["without/interrupts/gather"] = gathering(seed, design, PAIR, design.judged, "parallel", interrupts=False)
    found["without/shared memory/gather"] = gathering(
        seed, design, PAIR, design.judged, "parallel", shared_memory=False
    )
    found["without/decomposition/gather"] = gathering(seed, design, PAIR, design.judged, "parallel", policy="stepper")
    found["without/interrupts/boss"] = boss(seed, design, design.duel[0], "parallel", interrupts=False)
    found["without/interrupts/duel"] = duel(seed, design, design.duel[0], "parallel", "serial", interrupts=False)
    return found


def gathering(
    seed: int, design: Design, team: int, latency: float, mode: str, policy: str = "gatherer", **runtime: Any
) -> TeamRecipe:
    """A team collects tools by day; hunters keep to their lairs."""
    world = {
        "size": 96,
        "start": {"wooden_sword": 1, "bread": 2},
        "goal": {"team_items": ITEMS},
    }
    return _recipe(seed, NAMES[:team], policy, latency, world, design.limit, mode=mode, **runtime)


def boss(seed: int, design: Design, latency: float, mode: str, **runtime: Any) -> TeamRecipe:
    """Two agents before an elder guardian, which strikes, gathers strength for 8 s and bursts; the dead stay dead."""
    world = {
        "size": 48,
        "creatures": "none",
        "respawn": False,
        "start": {"iron_sword": 1, "golden_apple": 2},
        "goal": {"boss": BOSS},
    }
    return _recipe(seed, NAMES[:2], "slayer", latency, world, design.limit / 2, mode=mode, **runtime)


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
    return _recipe(seed, NAMES[:2], "fighter", latency, world, design.limit / 2, mode=home, reflexes=[], **runtime)


def _recipe(
    seed: int,
    names: Sequence[str],
    policy: str,
    latency: float,
    world: Mapping[str, Any],
    limit: float,
    reflexes: Sequence[Mapping[str, Any]] = (RETREAT,),
    **runtime: Any,
) -> TeamRecipe:
    return TeamRecipe.model_validate(
        {
            "seed": seed,
            "agents": [{"name": name, "goal": "what the team is to reach"} for name in names],
            "planner": {"url": f"policy:{policy}", "latency": latency, "stream": False},
            "world": {"kind": "craftworld", **world},
            "runtime": {"clock": "virtual", "reflexes": list(reflexes), "limits": {"seconds": limit}, **runtime},
        }
    )


class Played(NamedTuple):
    """How an episode ended, its log, and the team's health at its end (the dead: 0)."""

    outcome: Outcome
    events: list[Event]
    health: list[float]


def play(recipe: TeamRecipe) -> Played:
    """One episode on the virtual clock, with a memory that is not kept."""

    async def main() -> Played:
        setup, memory = set_up_episode(recipe), SQLiteMemory(Path(":memory:"))
        pool = AgentPool(recipe, setup.library)
        try:
            outcome = await run_episode(recipe, setup, Runtime(recipe.runtime, setup.world, memory, pool.agents), None)
            assert setup.craft is not None
            health = [float(setup.craft.simulation.bodies[agent.name].health) for agent in recipe.agents]
            return Played(outcome, [event async for event in memory.since(0)], health)
        finally:
            await pool.close()
            await memory.close()

    return clock.run(main, recipe.runtime.clock)


def numbers(played: Played) -> Episode:
    """An episode in numbers."""
    outcome, events, health = played
    lines = timeline(events)
    shares = [overlap(lines, agent) for agent in lines.agents()]
    return Episode(
        seconds=next((event.time for event in events if event.kind == "goal"), outcome.seconds),
        success=float(bool(outcome.reached)),
        lost=float(len(outcome.gone) == len(health)),
        health=sum(health) / len(health),
        deaths=float(sum(event.kind == "world" and event.data.get("kind") == "death" for event in events)),
        interrupts=float(len(lines.interrupts)),
        calls=float(sum(event.kind == "call_end" for event in events)),
        tokens=float(outcome.tokens),
        overlap=sum(shares) / len(shares) if shares else 0.0,
    )
