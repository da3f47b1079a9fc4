"""The runtime on the virtual clock: exact timelines, interruption, clean-up, staleness, reflexes, limits, resume."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from burnish.act import clock
from burnish.act.memory.log import MemoryFailed
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.recipe import Limits, ReflexSettings, RuntimeSettings
from burnish.act.runtime import Runtime
from burnish.act.skill_context import SkillContext
from burnish.act.skills.library import skill
from tests.act.worlds import Meadow, chop, episode, team, wary


def settings(**changes: Any) -> RuntimeSettings:
    """With the published planning, whose exact times the paper gives; planning on events: ``test_attention.py``."""
    return RuntimeSettings(**{"clock": "virtual", "planning": "continuous", "limits": Limits(seconds=60.0), **changes})


def kinds(events: list[Any], *wanted: str) -> list[tuple[float, str]]:
    return [(event.time, event.kind) for event in events if event.kind in wanted]


def test_serial_reacts_when_the_skill_has_ended_and_a_plan_was_made() -> None:
    world = Meadow(threat_at=10.0)
    episode(world, settings(mode="serial", limits=Limits(seconds=50.0)))
    # Planning 0 to 8, mining 8 to 38 whatever happens, planning 38 to 46.
    assert world.begun[:2] == [(8.0, "ann", "mine"), (46.0, "ann", "evade")]
    assert world.done[0] == (38.0, "ann", "mine")


def test_parallel_interrupts_at_the_end_of_the_call_that_saw_the_threat() -> None:
    world = Meadow(threat_at=10.0)
    _, events = episode(world, settings(limits=Limits(seconds=30.0)))
    starts = [event.time for event in events if event.kind == "call_start"]
    assert starts[:3] == [0.0, 8.0, 16.0]  # the planner never waits for the actor
    assert world.begun[:2] == [(8.0, "ann", "mine"), (24.0, "ann", "evade")]
    ended = next(event for event in events if event.kind == "skill_end")
    assert (ended.time, ended.data["status"]) == (24.0, "interrupted")


def test_without_interrupts_the_skill_goes_on() -> None:
    world = Meadow(threat_at=10.0)
    episode(world, settings(interrupts=False, limits=Limits(seconds=40.0)))
    assert (38.0, "ann", "mine") in world.done
    assert world.begun[1] == (38.0, "ann", "evade")  # planned at 24, begun when the agent is free


def test_a_reflex_acts_at_once_and_the_thought_that_did_not_know_is_given_up() -> None:
    world = Meadow(threat_at=10.0)
    rule = ReflexSettings(event="threat", where="health", below=6, skill="evade")

    def miner(known: Any) -> dict[str, Any]:
        return {"skill": {"name": "mine", "arguments": {}}, "interrupt": True, "reason": "always"}

    _, events = episode(world, settings(reflexes=[rule], limits=Limits(seconds=19.0)), miner)
    assert (10.0, "ann", "evade") in world.begun
    # The call that began at 8 did not know of the threat: its answer can no longer matter. The next one sees it.
    ends = [(event.time, event.data["status"]) for event in events if event.kind == "call_end"]
    assert ends[:3] == [(8.0, "done"), (10.0, "cancelled"), (18.0, "done")]
    plans = [event.time for event in events if event.kind == "plan"]
    assert plans[:2] == [8.0, 18.0]


def test_the_clean_up_runs_before_the_next_command() -> None:
    world = Meadow(threat_at=3.0)

    def restless(known: Any) -> dict[str, Any]:
        return {"skill": {"name": "mine", "arguments": {"seconds": 5.0}}, "interrupt": True, "reason": "again"}

    # Meadow asserts that nothing is held twice; every plan interrupts the mining before it.
    outcome, events = episode(world, settings(limits=Limits(seconds=20.0)), restless, latency=2.0)
    assert outcome.limit == "20 s"
    assert world.held == set()
    order = [event.kind for event in events if event.kind in ("skill_start", "cleanup", "skill_end")]
    assert order == ["skill_start", "cleanup", "skill_end"] * (len(order) // 3)
    assert len(order) >= 24


def test_a_clean_up_that_hangs_is_cut_off() -> None:
    async def cling(context: SkillContext) -> None:
        """Hold on for ever."""
        context.on_leaving("release", seconds=1e6)
        await context.act("mine", seconds=1.0)

    def clinging(known: Any) -> dict[str, Any]:
        return {"skill": {"name": "cling", "arguments": {}}, "interrupt": False, "reason": ""}

    _, events = episode(Meadow(), settings(limits=Limits(seconds=9.5)), clinging, 1.0, skills=(cling,))
    ended = [event for event in events if event.kind == "skill_end"]
    # A second of planning, one of mining, two of clean-up: begun again at once.
    assert [event.time for event in ended][:2] == [4.0, 7.0]
    assert "took too long" in ended[0].data["why"]


@pytest.mark.parametrize(
    ("name", "status", "why"),
    [("stumble", "failed", "the hoe is broken"), ("crash", "failed", "ZeroDivisionError: a mistake of two lines")],
)
def test_a_skill_that_fails_does_not_end_the_agent(name: str, status: str, why: str) -> None:
    def policy(known: Any) -> dict[str, Any]:
        wanted = "chop" if known["you"]["last"] else name
        return {"skill": {"name": wanted, "arguments": {}}, "interrupt": False, "reason": ""}

    world = Meadow(goal={"chop": 3})
    outcome, events = episode(world, settings(), policy, 1.0)
    first = next(event for event in events if event.kind == "skill_end")
    assert (first.data["status"], first.data["why"]) == (status, why)
    assert outcome.reached == ("ann",)


def test_a_newer_plan_replaces_one_that_was_not_begun() -> None:
    calls = iter(range(100))

    def policy(known: Any) -> dict[str, Any]:
        number = next(calls)
        skill = {"name": "chop", "arguments": {"times": number + 1}}
        return {"skill": skill, "interrupt": False, "reason": ""}

    _, events = episode(Meadow(), settings(limits=Limits(seconds=9.5)), policy, 0.9)
    started = [event.data["arguments"]["times"] for event in events if event.kind == "skill_start"]
    # The first chop lasts from 0.9 to 2.9; plans 2 and 3 are there by then, and only the newest is begun. It ends at
    # 8.9, after plan 9 (8.1) and before plan 10 (9.0).
    assert started == [1, 3, 9]
    replaced = [event for event in events if event.kind == "plan_dropped"]
    assert replaced[0].data == {
        "skill": {"name": "chop", "arguments": {"times": 2}},
        "why": "replaced by a newer plan",
    }


def test_a_plan_whose_precondition_fails_is_dropped() -> None:
    def fresh(seen: Any, times: int) -> str | None:
        return "enough wood" if seen["done"].get("chop", 0) >= 3 else None

    guarded = skill(chop, precondition=fresh)

    def policy(known: Any) -> dict[str, Any]:
        return {"skill": {"name": "chop", "arguments": {"times": 3}}, "interrupt": False, "reason": ""}

    rule: dict[str, Any] = {"limits": Limits(seconds=20.0)}
    for staleness, chops in (("drop_if_precondition_fails", 3), ("always", 9)):
        world = Meadow()
        episode(world, settings(staleness=staleness, **rule), policy, 1.0, skills=(guarded,))
        assert len(world.done) == chops, staleness


def test_replan_drops_a_plan_if_something_has_happened_since() -> None:
    world = Meadow(threat_at=10.0)
    _, events = episode(world, settings(staleness="replan", limits=Limits(seconds=60.0)), wary)
    assert all(event.data["why"] != "something has happened since" for event in events if event.kind == "plan_dropped")
    # The same with a threat that names the agent, while a plan of before lies in the slot.
    assert (24.0, "ann", "evade") in world.begun


def test_the_goal_ends_the_call_that_can_no_longer_matter() -> None:
    world = Meadow(goal={"mine": 1})
    outcome, events = episode(world, settings(limits=Limits(seconds=500.0)), wary)
    assert outcome.reached == ("ann",)
    assert outcome.seconds == 38.0  # and not 40, when the call in flight would have ended
    last = [event for event in events if event.kind == "call_end"][-1]
    assert last.data["status"] == "cancelled"


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (Limits(seconds=20.0), "20 s"),
        (Limits(seconds=500.0, steps=1), "1 steps"),
        (Limits(seconds=500.0, tokens=100), "100 tokens"),
    ],
)
def test_limits_end_a_run_cleanly(limits: Limits, named: str) -> None:
    world = Meadow(threat_at=10.0)
    outcome, events = episode(world, settings(limits=limits))
    assert outcome.limit == named
    assert events[-1].kind == "limit"
    starts = len(kinds(events, "skill_start"))
    assert len(kinds(events, "skill_end")) == starts
    assert world.held == set()


def test_the_same_run_gives_the_same_log() -> None:
    logs = []
    for _ in range(2):
        rule = ReflexSettings(event="threat", skill="evade")
        _, events = episode(Meadow(threat_at=10.0), settings(reflexes=[rule]), names=("ann", "bob", "eve"))
        logs.append("\n".join(json.dumps(event.__dict__, sort_keys=True) for event in events))
    assert logs[0] == logs[1]
    assert len(logs[0]) > 10_000


def test_virtual_time_costs_no_time() -> None:
    async def main() -> float:
        await anyio.sleep(1e6)
        return clock.now()

    assert clock.run(main, "virtual") == 1e6


def test_a_held_clock_stands_still() -> None:
    async def main() -> tuple[float, float]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 100.0)
            with clock.hold():
                await anyio.to_thread.run_sync(time.sleep, 0.05)
            held = clock.now()
        return held, clock.now()

    assert clock.run(main, "virtual") == (0.0, 100.0)


def test_the_wall_limits_a_wait_under_a_virtual_clock() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with clock.fail_after_on_the_wall(0.05):
                with clock.hold():
                    await anyio.Event().wait()
        return clock.now()

    assert clock.run(main, "virtual") == 0.0


def test_memory_failures_end_the_run() -> None:
    class Full(SQLiteMemory):
        async def append(self, kind: str, agent: str, data: Any, *, time: float, key: str | None = None) -> Any:
            if time >= 8.0:
                raise MemoryFailed("memory: the disk is full")
            return await super().append(kind, agent, data, time=time, key=key)

    with pytest.raises(MemoryFailed, match="the disk is full"):
        episode(Meadow(), settings(), memory=lambda: Full(Path(":memory:")))


def test_what_people_write_into_the_log_from_elsewhere_is_heard(tmp_path: Path) -> None:
    """On the wall's clock: another process's interrupt stops the skill, its words reach reflex and planner."""
    path = tmp_path / "memory.sqlite"
    heard: list[Any] = []

    def policy(known: Any) -> dict[str, Any]:
        heard.append(known["chat"])
        name = "mine" if known["you"]["last"] is None else "chop"
        return {"skill": {"name": name, "arguments": {}}, "interrupt": False, "reason": ""}

    async def person(world: Meadow, scope: anyio.CancelScope) -> None:
        other = SQLiteMemory(path)
        while not world.begun:
            await anyio.sleep(0.01)
        await other.append("human", "ann", {"interrupt": True}, time=0.0)
        await other.append("chat", "human", {"text": "hello"}, time=0.0)
        while ["hello"] not in [[message["text"] for message in chat] for chat in heard]:
            await anyio.sleep(0.01)
        while "evade" not in [command for _, _, command in world.begun]:
            await anyio.sleep(0.01)
        await other.close()
        scope.cancel()

    async def main() -> list[Any]:
        world, memory = Meadow(), SQLiteMemory(path)
        rule = ReflexSettings(event="chat", skill="evade")
        rules = RuntimeSettings(clock="wall", reflexes=[rule], limits=Limits(seconds=60.0))
        with anyio.move_on_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(person, world, tasks.cancel_scope)
                await Runtime(rules, world, memory, team(("ann",), policy, 0.1, rules)).run()
        return [event async for event in memory.since(0)]

    events = clock.run(main, "wall")
    ended = next(event for event in events if event.kind == "skill_end")
    assert (ended.data["name"], ended.data["status"]) == ("mine", "interrupted")
    assert next(event for event in events if event.kind == "reflex").data["on"] == "chat"
    assert 0.0 <= ended.time < 60.0  # the log's time starts at 0, on this clock, too


def test_the_time_of_the_log_never_goes_backwards(tmp_path: Path) -> None:
    """A later session's clock starts anew (the machine was started again): the log's time goes on."""
    path = tmp_path / "memory.sqlite"
    for seconds in (20.0, 10.0):
        episode(Meadow(), settings(limits=Limits(seconds=seconds)), memory=lambda: SQLiteMemory(path))

    async def main() -> list[float]:
        return [event.time async for event in SQLiteMemory(path).since(0)]

    times = anyio.run(main)
    assert times == sorted(times)
    assert times[-1] == 30.0
