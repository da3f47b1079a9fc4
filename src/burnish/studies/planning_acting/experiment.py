"""Plays the arms of one world on the virtual clock, and counts. A planner is a scripted policy behind the chat API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from burnish.act import clock
from burnish.act.episode import AgentPool, set_up_episode
from burnish.act.loop import run_episode
from burnish.act.memory.log import Event
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.recipe import TeamRecipe
from burnish.act.runtime import Outcome, Runtime
from burnish.act.timeline import timeline
from burnish.studies.planning_acting.arms import Design, arms
from burnish.studies.planning_acting.records import Episode, World
from burnish.studies.planning_acting.theory import least_time, taking_turns


class Job(NamedTuple):
    """One item for the executor."""

    seed: int
    design: Design


def play_world(job: Job) -> World:
    """All arms in one world."""
    played = {name: numbers(recipe, play(recipe)) for name, recipe in arms(job.seed, job.design).items()}
    return World(seed=job.seed, played=played)


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


def numbers(recipe: TeamRecipe, played: Played) -> Episode:
    """An episode in numbers."""
    outcome, events, health = played
    skills = [span for span in timeline(events).spans if span.lane == "acting"]
    done = [span.end - span.start for span in skills if span.status == "done"]
    calls = [event.data for event in events if event.kind == "call_end"]
    return Episode(
        seconds=next((event.time for event in events if event.kind == "goal"), outcome.seconds),
        success=float(bool(outcome.reached)),
        lost=float(len(outcome.gone) == len(health)),
        health=sum(health) / len(health),
        deaths=float(sum(event.kind == "world" and event.data.get("kind") == "death" for event in events)),
        calls=float(len(calls)),
        tokens=float(sum(call["tokens"]["prompt"] + call["tokens"]["completion"] for call in calls)),
        skills=float(len(skills)),
        skill_seconds=float(np.mean(done)) if done else 0.0,
        bound=_bound(recipe, [span.end - span.start for span in skills]) if len(health) == 1 else 0.0,
    )


def _bound(recipe: TeamRecipe, lengths: Sequence[float]) -> float:
    """What one agent must take for skills of these lengths."""
    theory = {"serial": taking_turns, "parallel": least_time}.get(recipe.runtime.mode)
    return 0.0 if theory is None else theory(lengths, recipe.planner.latency, recipe.runtime.horizon)
