"""Interrupts and reflexes where they are hard: serial mode, a skill's very beginning, no budget, a clean-up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from burnish.act import clock
from burnish.act.memory.log import Event
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.planner import Chat
from burnish.act.policies import policy_app
from burnish.act.recipe import EndpointSettings, Limits, ReflexSettings, RuntimeSettings
from burnish.act.reflexes import SmallModel
from burnish.act.runtime import Runtime
from burnish.act.skill_context import SkillContext
from burnish.act.world import Happening
from tests.act.worlds import Meadow, episode, team, wary


def settings(**changes: Any) -> RuntimeSettings:
    return RuntimeSettings(**{"clock": "virtual", "limits": Limits(seconds=60.0), **changes})


@pytest.mark.parametrize(("threat_at", "what"), [(10.0, "mining"), (4.0, "thinking")])
def test_a_serial_agent_has_its_reflexes_too(threat_at: float, what: str) -> None:
    world = Meadow(threat_at=threat_at)
    rule = ReflexSettings(event="threat", where="health", below=6, skill="evade")
    _, events = episode(world, settings(mode="serial", reflexes=[rule], limits=Limits(seconds=30.0)))
    assert (threat_at, "ann", "evade") in world.begun, f"the reflex waited for {what}"
    assert not any(command == "mine" and at < threat_at + 1 for at, _, command in world.done)
    # Then it plans anew, on what it sees now: one second of evading, eight of thinking.
    assert (threat_at + 9.0, "ann", "evade") in world.begun
    # Nothing runs beside it: plan, act, plan, act.
    begun = [event.kind for event in events if event.kind in ("call_start", "call_end", "skill_start", "skill_end")]
    assert all(end == start.replace("start", "end") for start, end in zip(begun[::2], begun[1::2], strict=False))


class Slow(SQLiteMemory):
    """A memory that takes its time over some kinds of events, as one on a network does."""

    def __init__(self, *kinds: str) -> None:
        super().__init__(Path(":memory:"))
        self.kinds = kinds

    async def append(
        self, kind: str, agent: str, data: Mapping[str, Any], *, time: float, key: str | None = None
    ) -> Event:
        if kind in self.kinds:
            await anyio.sleep(4.0)
        return await super().append(kind, agent, data, time=time, key=key)


def test_a_reflex_stops_a_skill_that_is_just_about_to_begin() -> None:
    world = Meadow(threat_at=10.0)  # the skill was taken up at 8 s; its start is written down at 12 s
    rule = ReflexSettings(event="threat", where="health", below=6, skill="evade")
    _, events = episode(
        world, settings(reflexes=[rule], limits=Limits(seconds=20.0)), memory=lambda: Slow("skill_start")
    )
    assert [command for _, _, command in world.begun][:1] == ["evade"]
    ended = next(event for event in events if event.kind == "skill_end")
    assert (ended.data["name"], ended.data["status"]) == ("mine", "interrupted")


def test_an_interrupt_never_stops_the_skill_that_it_wanted() -> None:
    """The plan that it replaces is written down slowly; meanwhile the running skill ends, and the new one has begun."""
    wanted = iter([("mine", {"seconds": 4.0}, False), ("chop", {}, False), ("mine", {"seconds": 9.0}, True)])

    def policy(known: Any) -> dict[str, Any]:
        name, arguments, interrupt = next(wanted, (None, {}, False))
        skill = None if name is None else {"name": name, "arguments": arguments}
        return {"skill": skill, "interrupt": interrupt, "reason": ""}

    world = Meadow()
    often = settings(planning="continuous", limits=Limits(seconds=20.0))
    episode(world, often, policy, 1.0, memory=lambda: Slow("plan_dropped"))
    assert world.done == [(12.0, "ann", "mine")]  # decided at 3 s, when the first is stopped, and left alone for 9 s


class Threats(Meadow):
    """A threat every five seconds; what its clean-up is asked to do, it counts, and some of it is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[str] = []

    async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if command in ("shut", "break"):
            self.left.append(command)
            return {"done": [][0]} if command == "break" else {}
        return await super().act(agent, command, arguments)

    async def happenings(self) -> AsyncIterator[Happening]:
        while True:
            await anyio.sleep(5.0)
            yield Happening("threat")


def test_a_small_model_without_budget_is_no_reflex_and_no_end() -> None:
    rules = settings(limits=Limits(seconds=20.0))
    asked = []

    def small(known: Any) -> dict[str, Any]:
        asked.append(known)
        return {"skill": {"name": "evade", "arguments": {}}, "interrupt": True, "reason": ""}

    async def main() -> list[Event]:
        memory = SQLiteMemory(Path(":memory:"))
        agents = team(("ann",), wary, 8.0, rules)
        chat = Chat(EndpointSettings(url="http://policy/v1", token_budget=1), policy_app(small, 0.5))
        agents[0].reactor = SmallModel(chat)
        await Runtime(rules, Threats(), memory, agents).run()
        return [event async for event in memory.since(0)]

    events = clock.run(main, "virtual")
    assert len(asked) == 1
    assert sum(event.kind == "reflex" for event in events) == 1
    # Its calls are in the log, what they cost too; those that could not be paid say so.
    reactions = [event.data for event in events if event.kind == "reaction"]
    assert [data["status"] == "done" for data in reactions] == [True, False, False, False][: len(reactions)]
    assert reactions[0]["tokens"]["completion"] > 0
    assert "evade" in reactions[0]["text"]
    assert all(event.key for event in events if event.kind == "reaction")
    assert (events[-1].kind, events[-1].time) == ("limit", 20.0)


async def visit(context: SkillContext) -> None:
    """Go in, and leave things as they were."""
    context.on_leaving("shut")
    context.on_leaving("break")
    await context.act("mine", seconds=2.0)


def visitor(known: Any) -> dict[str, Any]:
    return {"skill": {"name": "visit", "arguments": {}}, "interrupt": False, "reason": ""}


def test_a_mistake_of_the_world_in_a_clean_up_does_not_keep_the_rest_from_being_done() -> None:
    world = Threats()
    _, events = episode(world, settings(limits=Limits(seconds=3.5)), visitor, 1.0, skills=(visit,))
    assert world.left[:2] == ["break", "shut"]
    assert next(event.data["why"] for event in events if event.kind == "cleanup").startswith("IndexError")
    assert next(event.data["status"] for event in events if event.kind == "skill_end") == "done"


def test_a_clean_up_that_was_done_is_not_repeated_after_a_kill() -> None:
    _, whole = episode(Threats(), settings(limits=Limits(seconds=3.5)), visitor, 1.0, skills=(visit,))
    cut = next(number for number, event in enumerate(whole) if event.kind == "cleanup") + 1  # one of the two

    async def main() -> list[str]:
        memory, world, rules = SQLiteMemory(Path(":memory:")), Threats(), settings(limits=Limits(seconds=0.5))
        for event in whole[:cut]:
            await memory.append(event.kind, event.agent, event.data, time=event.time, key=event.key)
        await Runtime(rules, world, memory, team(("ann",), visitor, 1.0, rules, (visit,))).run()
        return world.left

    assert clock.run(main, "virtual") == ["shut"]


@pytest.mark.parametrize("planning", ["events", "continuous"])
def test_of_a_team_that_decides_at_one_moment_all_go_on_before_anybody_thinks(planning: str) -> None:
    """On the wall's clock a thought of one would hold up the next skill of all others."""

    def restless(known: Mapping[str, Any]) -> dict[str, Any]:
        name = "mine" if (known["you"]["doing"] or {}).get("name") != "mine" else "chop"
        return {"skill": {"name": name, "arguments": {}}, "interrupt": True, "reason": ""}

    rules = settings(clock="wall", planning=planning, limits=Limits(seconds=30.0))
    # It is played on the virtual one, where all answers come at one moment.
    _, events = episode(Meadow(), rules, restless, names=("ann", "bob", "cid"))
    ended = [event.data["status"] for event in events if event.kind == "skill_end"]
    assert ended.count("interrupted") >= 3  # not from idleness alone
    for moment in (8.0, 16.0, 24.0):
        kinds = [event.kind for event in events if event.time == moment]
        assert kinds.count("plan") == kinds.count("skill_start") == 3
        assert "skill_start" not in kinds[kinds.index("call_start") :]


# A plan of several steps


async def work(context: SkillContext, number: int) -> None:
    """Do errand `number` and put the tools away."""
    context.on_leaving("release", seconds=2.0)
    await context.act("work", seconds=10.0)


def three_errands(known: Mapping[str, Any]) -> dict[str, Any]:
    """The next three, what it does now counted as done."""
    you = known["you"]
    first = you["see"]["done"].get("work", 0) + (you["doing"] is not None)
    calls = [{"name": "work", "arguments": {"number": first + more}} for more in range(3)]
    return {"skill": calls[0], "then": calls[1:], "interrupt": False, "reason": ""}


def stopped_at(second: float, mode: str, seconds: float) -> list[Event]:
    """A person stops Ann, who plans three steps at 4 s a call."""

    async def main() -> list[Event]:
        memory, rules = SQLiteMemory(Path(":memory:")), settings(mode=mode, horizon=3, limits=Limits(seconds=seconds))
        run = Runtime(rules, Meadow(), memory, team(("ann",), three_errands, 4.0, rules, (work,)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.run)
            await anyio.sleep(second)
            await run.interrupt("ann")
        return [event async for event in memory.since(0)]

    return clock.run(main, "virtual")


def errands_of(events: list[Event], kind: str) -> list[tuple[float, int]]:
    return [(event.time, event.data["arguments"]["number"]) for event in events if event.kind == kind]


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_who_stops_an_agent_stops_its_plan(mode: str) -> None:
    """Stopped at 6, the tools are put away at 8: it thinks from then on, knowing that errand 0 is not done."""
    events = stopped_at(6.0, mode, 20.0)
    assert errands_of(events, "skill_start") == [(4.0, 0), (12.0, 0)]
    dropped = [event for event in events if event.kind == "plan_dropped"]
    assert [(event.time, event.data["skill"]["arguments"]["number"]) for event in dropped] == [(8.0, 1), (8.0, 2)]
    assert [event.time for event in events if event.kind == "call_start"][:2] == [0.0, 8.0]


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_who_stops_an_agent_that_is_clearing_up_stops_its_plan_too(mode: str) -> None:
    """Errand 0 ends at 14, and its tools are put away until 16."""
    events = stopped_at(15.0, mode, 25.0)
    assert errands_of(events, "skill_start") == [(4.0, 0), (20.0, 1)]
    assert next(event.data["status"] for event in events if event.kind == "skill_end") == "done"


def test_the_end_of_a_run_is_no_reason_to_drop_a_plan() -> None:
    _, events = episode(Meadow(), settings(horizon=3, limits=Limits(seconds=10.0)), three_errands, 4.0, skills=(work,))
    assert [event.data["status"] for event in events if event.kind == "skill_end"] == ["interrupted"]
    assert not any(event.kind == "plan_dropped" for event in events)


def test_a_planner_that_only_stops_what_it_does_stops_its_plan() -> None:
    """On a threat, in the first of three errands: nothing of that plan is begun after it."""

    def policy(known: Mapping[str, Any]) -> dict[str, Any]:
        if known["you"]["see"]["threat"]:
            return {"skill": None, "interrupt": bool(known["you"]["doing"]), "reason": "no"}
        return three_errands(known)

    rules = settings(horizon=3, limits=Limits(seconds=40.0))
    _, events = episode(Meadow(threat_at=5.0), rules, policy, 4.0, skills=(work,))
    assert errands_of(events, "skill_start") == [(4.0, 0)]
    assert next(event.time for event in events if event.kind == "skill_end") == 11.0  # said at 9, put away by 11
    assert [event.data["why"] for event in events if event.kind == "plan_dropped"] == [
        "the step before it came to nothing"
    ] * 2


def test_a_newer_plan_outlives_the_interrupt_of_an_older_step() -> None:
    """Errand 0 of a plan of one step runs, errand 1 of the next plan waits: only errand 0 is stopped."""

    async def main() -> list[Event]:
        memory, rules = SQLiteMemory(Path(":memory:")), settings(limits=Limits(seconds=10.5))

        def one(known: Mapping[str, Any]) -> dict[str, Any]:
            return {key: value for key, value in three_errands(known).items() if key != "then"}

        run = Runtime(rules, Meadow(), memory, team(("ann",), one, 4.0, rules, (work,)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.run)
            await anyio.sleep(8.5)
            await run.interrupt("ann")
        return [event async for event in memory.since(0)]

    events = clock.run(main, "virtual")
    assert errands_of(events, "skill_start") == [(4.0, 0), (10.5, 1)]
    assert not any(event.kind == "plan_dropped" for event in events)
