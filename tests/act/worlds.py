"""Worlds, skills and teams that the tests of the runtime share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio

from burnish.act import clock
from burnish.act.memory.log import Event, Memory
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.planner import Chat
from burnish.act.policies import Policy, policy_app
from burnish.act.recipe import EndpointSettings, RuntimeSettings
from burnish.act.reflexes import Rules
from burnish.act.runtime import Agent, Outcome, Runtime
from burnish.act.skill_context import SkillContext
from burnish.act.skills.library import Library
from burnish.act.world import ActionFailed, Happening

Seconds = float


class Meadow:
    """Commands take a given time and then have an effect; a threat comes at a given time.

    Args:
        threat_at: when the threat appears; never by default.
        goal: what must have been done, by how many commands, for the goal to be reached.
    """

    def __init__(self, threat_at: float | None = None, goal: Mapping[str, int] | None = None) -> None:
        self.threat_at = threat_at
        self.goal = goal
        self.done: list[tuple[float, str, str]] = []
        self.begun: list[tuple[float, str, str]] = []
        self.held: set[str] = set()

    async def observe(self, agent: str) -> dict[str, Any]:
        counts: dict[str, int] = {}
        for at, who, command in self.done:
            # Of another's doing at this very moment nothing is seen yet: what is seen must not hang on who comes first.
            if who != agent and at >= clock.now():
                continue
            counts[command] = counts.get(command, 0) + 1
        reached = self.goal is not None and all(counts.get(name, 0) >= need for name, need in self.goal.items())
        threat = self.threat_at is not None and clock.now() >= self.threat_at
        return {"threat": threat, "health": 4 if threat else 20, "done": counts, "goal_reached": reached}

    async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if command == "fail":
            raise ActionFailed("the hoe is broken")
        if command == "hold":
            assert agent not in self.held, "held twice: the clean-up of the skill before has not run"
            self.held.add(agent)
            return {}
        if command == "release":
            await anyio.sleep(arguments.get("seconds", 0))
            self.held.discard(agent)
            return {}
        self.begun.append((clock.now(), agent, command))
        await anyio.sleep(arguments.get("seconds", 0))
        self.done.append((clock.now(), agent, command))
        return {"did": command}

    async def happenings(self) -> AsyncIterator[Happening]:
        if self.threat_at is not None:
            await anyio.sleep(self.threat_at)
            yield Happening("threat", "", {"what": "wolf"})
        await anyio.sleep_forever()


async def mine(context: SkillContext, seconds: Seconds = 30.0) -> None:
    """Mine for a while."""
    await context.act("hold")
    context.on_leaving("release")
    await context.act("mine", seconds=seconds)


async def evade(context: SkillContext) -> None:
    """Step out of the way."""
    await context.act("evade", seconds=1.0)


async def chop(context: SkillContext, times: int = 3) -> None:
    """Chop some trees, one after another."""
    for _ in range(times):
        await context.act("chop", seconds=2.0)


async def stumble(context: SkillContext) -> None:
    """Try what cannot be done."""
    await context.act("fail")


async def crash(context: SkillContext) -> None:
    """A skill with a mistake in it."""
    raise ZeroDivisionError("a mistake\nof two lines")


SKILLS = (mine, evade, chop, stumble, crash)


def wary(known: Mapping[str, Any]) -> dict[str, Any]:
    """Mine, and evade when there is a threat."""
    you = known["you"]
    if you["see"]["threat"]:
        return {"skill": {"name": "evade", "arguments": {}}, "interrupt": True, "reason": "a threat"}
    if you["doing"] is not None:
        return {"skill": None, "interrupt": False, "reason": "busy"}
    return {"skill": {"name": "mine", "arguments": {}}, "interrupt": False, "reason": "nothing to fear"}


def team(
    names: tuple[str, ...], policy: Policy, latency: float, settings: RuntimeSettings, skills: Any = SKILLS
) -> list[Agent]:
    """Agents with one scripted planner."""
    library = Library(skills)
    chat = Chat(EndpointSettings(url="http://policy/v1"), policy_app(policy, latency))
    rules = Rules(settings.reflexes, library) if settings.reflexes else None
    return [Agent(name, "the goal", library, chat, rules) for name in names]


def episode(
    world: Any,
    settings: RuntimeSettings,
    policy: Policy = wary,
    latency: float = 8.0,
    names: tuple[str, ...] = ("ann",),
    memory: Callable[[], Memory] = lambda: SQLiteMemory(Path(":memory:")),
    skills: Any = SKILLS,
) -> tuple[Outcome, list[Event]]:
    """One episode on the virtual clock: how it ended, and its log."""

    async def main() -> tuple[Outcome, list[Event]]:
        store = memory()
        outcome = await Runtime(settings, world, store, team(names, policy, latency, settings, skills)).run()
        events = [event async for event in store.since(0)]
        await store.close()
        return outcome, events

    return clock.run(main, "virtual")
