"""Whatever the interleaving and wherever the interruption comes: what must always hold, on the virtual clock."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.act import clock
from burnish.act.memory.log import Event
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.recipe import CraftworldSettings, Limits, ReflexSettings, RuntimeSettings
from burnish.act.runtime import Runtime
from burnish.act.skill_context import SkillContext
from burnish.act.skills.gathering import OBTAIN, STEPWISE
from burnish.act.skills.living import LIVING
from burnish.act.world import ActionFailed, Happening
from burnish.act.worlds.craftworld.world import CraftWorld
from tests.act.worlds import team

Known = Mapping[str, Any]
NAMES = ("ann", "bob", "eve")
COMMON: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# Times that meet at one moment, and times that never do.
SECONDS = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.7])


class Recorder(SQLiteMemory):
    """Keeps what it has said that it wrote."""

    def __init__(self) -> None:
        super().__init__(Path(":memory:"))
        self.written: list[Event] = []

    async def append(self, kind: str, agent: str, data: Known, *, time: float, key: str | None = None) -> Event:
        event = await super().append(kind, agent, data, time=time, key=key)
        self.written.append(event)
        return event


class Yard:
    """Commands that take their time; what must never be is noted, for an error inside a skill only ends the skill."""

    def __init__(self, threats: Sequence[float]) -> None:
        self.threats = threats
        self.busy: set[str] = set()
        self.held: set[str] = set()
        self.wrong: list[str] = []

    async def observe(self, agent: str) -> dict[str, Any]:
        return {"holds": agent in self.held}

    async def act(self, agent: str, command: str, arguments: Known) -> dict[str, Any]:
        if agent in self.busy:
            self.wrong.append(f"{agent}: {command} while another command runs")
        if agent in self.held and command == "hold":
            self.wrong.append(f"{agent}: a skill begins before the clean-up of the one before")
        self.busy.add(agent)
        try:
            await anyio.sleep(arguments.get("seconds", 0.0))
        finally:
            self.busy.discard(agent)
        if command == "hold":
            self.held.add(agent)
        elif command == "release":
            self.held.discard(agent)
        elif command == "slip":
            raise ActionFailed("slipped")
        return {}

    async def happenings(self) -> AsyncIterator[Happening]:
        before = 0.0
        for number, at in enumerate(sorted(self.threats)):
            await anyio.sleep(at - before)
            before = at
            yield Happening("threat", ("", *NAMES)[number % 4])
        await anyio.sleep_forever()


async def work(context: SkillContext, seconds: float, times: int, slips: bool, let_go: float) -> None:
    """Take hold of something, work on it, let go in the end."""
    # Whatever moment it is stopped at: what it has taken hold of is let go.
    context.on_leaving("release", seconds=let_go)
    await context.act("hold")
    for _ in range(times):
        await context.act("work", seconds=seconds)
    if slips:
        await context.act("slip")


@dataclass(frozen=True)
class Case:
    """One episode."""

    agents: int
    mode: Literal["parallel", "serial", "reactive"]
    planning: Literal["events", "continuous"]
    horizon: int
    latency: float
    decisions: tuple[Mapping[str, Any], ...]
    threats: tuple[float, ...]
    staleness: Literal["always", "drop_if_precondition_fails", "replan"]
    interrupts: bool
    end: float


@st.composite
def decisions(draw: st.DrawFn) -> dict[str, Any]:
    arguments = {
        "seconds": draw(SECONDS),
        "times": draw(st.integers(0, 3)),
        "slips": draw(st.booleans()),
        "let_go": draw(SECONDS),
    }
    work = {"name": "work", "arguments": arguments}
    wanted = draw(st.sampled_from([work] * 3 + [None, {"name": "fly"}]))
    then = {"then": [work] * draw(st.integers(1, 2))} if draw(st.booleans()) else {}
    return {"skill": wanted, **then, "interrupt": draw(st.booleans()), "reason": ""}


CASES = st.builds(
    Case,
    agents=st.integers(1, 3),
    mode=st.sampled_from(["parallel", "parallel", "serial", "reactive"]),
    planning=st.sampled_from(["events", "events", "continuous"]),
    horizon=st.sampled_from([1, 1, 3]),
    latency=st.sampled_from([0.15, 0.3, 0.5, 1.0, 2.5]),
    decisions=st.lists(decisions(), min_size=1, max_size=5).map(tuple),
    threats=st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.3, 2.0, 3.5]), max_size=5).map(tuple),
    staleness=st.sampled_from(["always", "drop_if_precondition_fails", "replan"]),
    interrupts=st.booleans(),
    end=st.sampled_from([0.5, 3.0, 5.25]),
)


def turns(chosen: Sequence[Mapping[str, Any]]) -> Callable[[Known], Mapping[str, Any]]:
    """A policy that goes through its decisions, for each agent from another one on."""
    turn: dict[str, Iterator[int]] = {name: itertools.count(number) for number, name in enumerate(NAMES)}
    return lambda known: chosen[next(turn[known["you"]["name"]]) % len(chosen)]


def played(case: Case) -> tuple[Yard, Recorder, list[Event]]:
    reflex = {"seconds": 0.5, "times": 1, "slips": False, "let_go": 0.1}
    rules = RuntimeSettings(
        clock="virtual",
        mode=case.mode,
        planning=case.planning,
        horizon=1 if case.planning == "continuous" else case.horizon,
        staleness=case.staleness,
        interrupts=case.interrupts,
        reflexes=[ReflexSettings(event="threat", skill="work", arguments=reflex)],
        limits=Limits(seconds=case.end),
    )

    async def main() -> tuple[Yard, Recorder, list[Event]]:
        world, memory = Yard(case.threats), Recorder()
        agents = team(NAMES[: case.agents], turns(case.decisions), case.latency, rules, (work,))
        await Runtime(rules, world, memory, agents).run()
        return world, memory, [event async for event in memory.since(0)]

    return clock.run(main, "virtual")


@settings(max_examples=40, **COMMON)
@given(CASES)
def test_whatever_happens_no_update_is_lost_and_no_agent_does_two_things_at_once(case: Case) -> None:
    world, memory, log = played(case)
    no_update_of_the_memory_is_lost(memory, log)
    assert world.wrong == []
    assert world.busy == world.held == set()
    for name in NAMES[: case.agents]:
        every_clean_up_comes_first([event for event in log if event.agent == name], case.end)


def no_update_of_the_memory_is_lost(memory: Recorder, log: Sequence[Event]) -> None:
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert sorted(memory.written, key=lambda event: event.seq) == log
    assert [event.time for event in log] == sorted(event.time for event in log)
    calls = Counter((e.kind, e.agent, e.data["call"], e.data["attempt"]) for e in log if e.kind.startswith("call_"))
    assert set(calls.values()) <= {1}
    for kind, agent, call, attempt in calls:
        assert ("call_end" if kind == "call_start" else "call_start", agent, call, attempt) in calls


def every_clean_up_comes_first(log: Sequence[Event], end: float) -> None:
    """In the log of one agent: a skill ends, cleaned up after, before the next begins."""
    running: int | None = None
    cleaned = True
    for event in log:
        if event.kind == "skill_start":
            assert (running, cleaned) == (None, True)
            running = event.data["skill"]
        elif event.kind == "command":
            assert event.data["skill"] == running
            cleaned = False
        elif event.kind == "cleanup":
            assert event.data["skill"] == running
            cleaned = True
        elif event.kind == "skill_end":
            assert event.data["skill"] == running
            assert cleaned or end <= event.time, "no clean-up between its last command and its end"
            running = None
    assert running is None


def text(log: Sequence[Event]) -> bytes:
    return "\n".join(json.dumps(event.__dict__, sort_keys=True) for event in log).encode()


@settings(max_examples=15, **COMMON)
@given(CASES)
def test_the_same_episode_gives_the_same_log_byte_for_byte(case: Case) -> None:
    assert text(played(case)[2]) == text(played(case)[2])


# Craftworld: what is reserved, and what is carried


CHEST = {"dirt": 6}
START = {"cobblestone": 5, "dirt": 4}


@st.composite
def errands(draw: st.DrawFn) -> dict[str, Any]:
    item, count = draw(st.sampled_from(["cobblestone", "dirt"])), draw(st.integers(1, 3))
    wanted = draw(
        st.sampled_from(
            [
                {"name": "give", "arguments": {"to": draw(st.sampled_from(NAMES)), "item": item, "count": count}},
                {"name": "chest_get", "arguments": {"item": item, "count": count}},
                {"name": "chest_deposit", "arguments": {"item": item, "count": count}},
                {"name": "mine", "arguments": {"item": "oak_log", "count": count}},
                {"name": "obtain_item", "arguments": {"item": "oak_planks", "count": count}},
            ]
        )
    )
    return {"skill": wanted, "interrupt": draw(st.booleans()), "reason": ""}


@settings(max_examples=8, **COMMON)
@given(
    agents=st.integers(2, 3),
    mode=st.sampled_from(["parallel", "parallel", "serial"]),
    latency=st.sampled_from([0.1, 0.35, 0.5, 1.0, 2.5]),
    chosen=st.lists(errands(), min_size=1, max_size=6),
    stops=st.lists(st.tuples(st.integers(1, 160), st.integers(0, 1)), max_size=6),
    seed=st.integers(0, 3),
)
def test_nothing_stays_reserved_and_nothing_gets_lost(
    agents: int, mode: Any, latency: float, chosen: list[dict[str, Any]], stops: list[tuple[int, int]], seed: int
) -> None:
    names = NAMES[:agents]
    rules = RuntimeSettings(clock="virtual", mode=mode, limits=Limits(seconds=8.0))

    async def people(runtime: Runtime) -> None:
        """Interrupt at any tick, also in the middle of two."""
        before = 0.0
        for ticks, who in sorted(stops):
            at = ticks * 0.05
            await anyio.sleep(at - before)
            before = at
            await runtime.interrupt(names[who])

    async def main() -> tuple[CraftWorld, list[Event]]:
        world = CraftWorld(
            CraftworldSettings(size=32, creatures="none", start=START, chest=CHEST), seed, {"team": list(names)}
        )
        memory = Recorder()
        library = [OBTAIN, *STEPWISE, *LIVING]
        runtime = Runtime(rules, world.team("team"), memory, team(names, turns(chosen), latency, rules, library))
        async with anyio.create_task_group() as aside:
            aside.start_soon(people, runtime)
            await runtime.run()
            aside.cancel_scope.cancel()
        return world, [event async for event in memory.since(0)]

    world, log = clock.run(main, "virtual")
    simulation = world.simulation
    assert simulation.claims == {}
    assert [body.chest for body in simulation.bodies.values()] == [None] * agents
    assert [chest.held_by for chest in simulation.chests.values()] == [None]
    stocks = [body.stock for body in simulation.bodies.values()] + [each.stock for each in simulation.chests.values()]
    total: Counter[str] = sum(stocks, Counter())
    # Neither is mined, made or used up by any of these errands.
    assert total["cobblestone"] == agents * START["cobblestone"]
    assert total["dirt"] == agents * START["dirt"] + CHEST["dirt"]
    assert min((count for stock in stocks for count in stock.values()), default=0) >= 0
    assert world.conserved()
    assert text(log) == text(clock.run(main, "virtual")[1])


def test_the_errands_do_something() -> None:
    """The property above would hold for agents that do nothing, too."""
    chosen = [
        {"skill": {"name": name, "arguments": arguments}, "interrupt": False, "reason": ""}
        for name, arguments in (
            ("chest_get", {"item": "dirt", "count": 2}),
            ("give", {"to": "bob", "item": "cobblestone", "count": 2}),
            ("mine", {"item": "oak_log", "count": 1}),
        )
    ]
    rules = RuntimeSettings(clock="virtual", mode="serial", limits=Limits(seconds=40.0))

    async def main() -> list[Event]:
        world = CraftWorld(
            CraftworldSettings(size=32, creatures="none", start=START, chest=CHEST), 0, {"t": ["ann", "bob"]}
        )
        memory = Recorder()
        agents = team(("ann", "bob"), turns(chosen), 0.5, rules, [OBTAIN, *STEPWISE, *LIVING])
        await Runtime(rules, world, memory, agents).run()
        return [event async for event in memory.since(0)]

    ended = Counter((e.data["name"], e.data["status"]) for e in clock.run(main, "virtual") if e.kind == "skill_end")
    assert {("chest_get", "done"), ("give", "done"), ("mine", "done")} <= set(ended), ended
