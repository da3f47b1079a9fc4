"""What goes wrong around a run: endpoints, locks, actions that do not end, agents that wait for each other."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvicorn

from burnish.act import clock
from burnish.act.chat_api import chat_app
from burnish.act.memory.log import Event
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.planner import CallFailed, Chat
from burnish.act.policies import policy_app
from burnish.act.recipe import EndpointSettings, Limits, RuntimeSettings
from burnish.act.runtime import Agent, Runtime
from burnish.act.skill_context import SkillContext
from burnish.act.skills.library import Library
from tests.act.worlds import SKILLS, Meadow, chop, episode, evade, team

CHOP = {"skill": {"name": "chop", "arguments": {"times": 3}}, "interrupt": False, "reason": "wood"}
NOTHING = {"skill": None, "interrupt": False, "reason": "go on"}


def rules(**changes: Any) -> RuntimeSettings:
    return RuntimeSettings(**{"clock": "virtual", "limits": Limits(seconds=60.0), **changes})


def ends(events: list[Event], agent: str = "ann") -> list[tuple[float, str, str]]:
    return [(e.time, e.data["name"], e.data["status"]) for e in events if e.kind == "skill_end" and e.agent == agent]


def run_with(app: Any, settings: RuntimeSettings, world: Meadow, **endpoint: Any) -> tuple[Any, list[Event]]:
    """An episode whose planner is any application, not a policy."""

    async def main() -> tuple[Any, list[Event]]:
        chat = Chat(EndpointSettings(url="http://here/v1", **endpoint), app)
        memory = SQLiteMemory(Path(":memory:"))
        outcome = await Runtime(settings, world, memory, [Agent("ann", "wood", Library(SKILLS), chat)]).run()
        return outcome, [event async for event in memory.since(0)]

    return clock.run(main, "virtual")


# The planner's endpoint


class Faulty:
    """A chat back end whose first answer is at fault."""

    name = "faulty"

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.asked = 0

    def count(self, messages: Any) -> int:
        return 1

    async def answer(self, messages: Any, asked: Any) -> Any:
        self.asked += 1
        if self.asked == 1:
            if self.fault == "timeout":
                yield '{"reason": "let me'
                await anyio.sleep(1e4)
            yield "x" * 10_000_000 if self.fault == "10 MB" else '{"skill": {"name": "ch'
        else:
            yield json.dumps(CHOP)


@pytest.mark.parametrize("fault", ["timeout", "10 MB", "half"])
def test_an_agent_carries_on_after_an_answer_that_is_none(fault: str) -> None:
    world = Meadow(goal={"chop": 3})
    outcome, events = run_with(chat_app(Faulty(fault)), rules(), world, timeout=5.0, retries=0)
    assert outcome.reached == ("ann",)
    first = next(event for event in events if event.kind == "call_end")
    if fault == "timeout":
        assert (first.time, first.data["status"]) == (5.0, "no answer within 5 s")
    else:
        assert len(first.data["text"]) <= 65_536


@contextmanager
def served(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("why", ["cancelled", "no answer within 1 s"])
def test_a_half_said_thought_is_kept_as_such(why: str) -> None:
    """Whether the run ends meanwhile, or the answer takes too long."""

    async def main() -> list[Event]:
        settings = RuntimeSettings(limits=Limits(seconds=1.0 if why == "cancelled" else 1.5))
        chat = Chat(EndpointSettings(url=url, timeout=30.0 if why == "cancelled" else 1.0, retries=0))
        memory = SQLiteMemory(Path(":memory:"))
        await Runtime(settings, Meadow(), memory, [Agent("ann", "wood", Library(SKILLS), chat)]).run()
        return [event async for event in memory.since(0)]

    with served(chat_app(Faulty("timeout"))) as url:
        events = clock.run(main)
    first = next(event for event in events if event.kind == "call_end")
    assert first.data["status"] == why
    assert first.data["text"] == '{"reason": "let me'


def test_an_unfinished_thought_can_be_read_on_a_virtual_clock() -> None:
    def policy(known: Any) -> dict[str, Any]:
        return {**NOTHING, "reason": "one two three four five six seven"}

    _, events = episode(Meadow(), rules(limits=Limits(seconds=6.0)), policy, 12.0)
    (call,) = [event for event in events if event.kind == "call_end"]
    assert (call.time, call.data["status"]) == (6.0, "cancelled")
    whole = json.dumps(policy(None))
    assert whole.startswith(call.data["text"])
    assert 0.3 * len(whole) < len(call.data["text"]) < 0.7 * len(whole)


def test_a_call_that_times_out_is_not_sent_again() -> None:
    """A retry after a time-out would pay twice, and be answered twice; only what was refused is tried again."""
    backend = Faulty("timeout")

    async def main() -> None:
        with pytest.raises(CallFailed, match=r"no answer within 0\.5 s"):
            chat = Chat(EndpointSettings(url=url, timeout=0.5, retries=5))
            await chat.complete([{"role": "user", "content": "?"}], {"type": "object"}, lambda text: None)
        await anyio.sleep(1.5)

    with served(chat_app(backend)) as url:
        clock.run(main)
    assert backend.asked == 1


@pytest.mark.parametrize("policy", [lambda known: 1 / 0, lambda known: ["chop"], lambda known: None, lambda known: {}])
def test_a_malformed_policy_ends_nothing(policy: Callable[[Any], Any]) -> None:
    outcome, events = episode(Meadow(), rules(limits=Limits(seconds=30.0)), policy, 1.0)
    assert outcome.limit == "30 s"
    assert ends(events) == []
    assert sum(event.kind == "plan" for event in events) >= 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_policy_that_raises_is_named(stream: bool) -> None:
    def policy(known: Any) -> Any:
        return known["nope"]

    _, events = run_with(policy_app(policy, 1.0), rules(limits=Limits(seconds=5.0)), Meadow(), stream=stream)
    status = next(event.data["status"] for event in events if event.kind == "call_end")
    assert "the policy raised KeyError: 'nope' (test_faults.py:" in status


# Skills and actions


def test_what_lasts_long_is_done_once() -> None:
    """Neither a call nor a command of more than three minutes is begun a second time."""
    asked = Counter[str]()

    def policy(known: Any) -> dict[str, Any]:
        asked["calls"] += 1
        first = known["you"]["last"] is None and known["you"]["doing"] is None
        return (
            {"skill": {"name": "mine", "arguments": {"seconds": 1000.0}}, "interrupt": False, "reason": ""}
            if first
            else NOTHING
        )

    async def main() -> tuple[Meadow, list[Event]]:
        world, memory = Meadow(goal={"mine": 1}), SQLiteMemory(Path(":memory:"))
        chat = Chat(EndpointSettings(url="http://policy/v1", timeout=900.0), policy_app(policy, 400.0))
        limits = rules(limits=Limits(seconds=5000.0), planning="continuous")
        await Runtime(limits, world, memory, [Agent("ann", "iron", Library(SKILLS), chat)]).run()
        return world, [event async for event in memory.since(0)]

    world, events = clock.run(main, "virtual")
    assert world.begun == [(400.0, "ann", "mine")]
    assert world.done == [(1400.0, "ann", "mine")]
    assert ends(events) == [(1400.0, "mine", "done")]
    # Begun at 0, 400, 800 and 1200; the last one was cut off by the goal.
    assert asked["calls"] == 4


def once(name: str, arguments: Mapping[str, Any]) -> Callable[[Any], dict[str, Any]]:
    """A skill, once; then nothing more."""

    def policy(known: Any) -> dict[str, Any]:
        idle = known["you"]["last"] is None and known["you"]["doing"] is None
        return (
            {"skill": {"name": name, "arguments": dict(arguments)}, "interrupt": False, "reason": ""}
            if idle
            else NOTHING
        )

    return policy


def test_interrupts_of_several_agents_do_not_meet() -> None:
    """Two of three are interrupted at one moment: each once, and the third not."""

    async def main() -> list[Event]:
        settings, memory = rules(limits=Limits(seconds=45.0)), SQLiteMemory(Path(":memory:"))
        names = ("ann", "bob", "eve")
        runtime = Runtime(settings, Meadow(), memory, team(names, once("mine", {"seconds": 30.0}), 1.0, settings))

        async def people() -> None:
            await anyio.sleep(5.5)
            async with anyio.create_task_group() as both:
                both.start_soon(runtime.interrupt, "ann")
                both.start_soon(runtime.interrupt, "bob")

        async with anyio.create_task_group() as aside:
            aside.start_soon(people)
            await runtime.run()
        return [event async for event in memory.since(0)]

    events = clock.run(main, "virtual")
    assert ends(events, "ann")[0] == ends(events, "bob")[0] == (5.5, "mine", "interrupted")
    assert ends(events, "eve") == [(31.0, "mine", "done")]


class Stubborn(Meadow):
    """Some of its commands do not let themselves be cancelled."""

    async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if command == "shielded":
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5.0)
            return {}
        if command == "throws":
            try:
                await anyio.sleep(5.0)
            except anyio.get_cancelled_exc_class():
                raise RuntimeError("cannot be cancelled") from None
        if command == "swallows":
            try:
                await anyio.sleep(5.0)
            except anyio.get_cancelled_exc_class():
                return {}
        return await super().act(agent, command, arguments)


@pytest.mark.parametrize("command", ["shielded", "throws", "swallows"])
def test_an_action_that_cannot_be_cancelled_ends_nothing_but_itself(command: str) -> None:
    async def dig(context: SkillContext) -> None:
        """Dig in a way that cannot be stopped."""
        await context.act(command)

    def policy(known: Any) -> dict[str, Any]:
        name = "dig" if known["you"]["doing"] is None and known["you"]["last"] is None else "chop"
        return {"skill": {"name": name, "arguments": {}}, "interrupt": name == "chop", "reason": ""}

    world = Stubborn(goal={"chop": 3})
    outcome, events = episode(world, rules(), policy, 1.0, skills=(dig, chop))
    ended = next(event for event in events if event.kind == "skill_end")
    assert ended.time == (6.0 if command == "shielded" else 2.0)  # waited for, where there is no other way
    assert world.begun[0] == (ended.time, "ann", "chop")
    assert outcome.limit == "" or len(world.begun) > 1


def test_an_interrupt_reaches_tools_inside_of_tools() -> None:
    stopped: list[tuple[float, str]] = []

    async def tool(context: SkillContext, name: str, depth: int) -> None:
        try:
            if depth:
                async with anyio.create_task_group() as inner:
                    inner.start_soon(tool, context, f"{name}0", depth - 1)
                    inner.start_soon(tool, context, f"{name}1", depth - 1)
            else:
                await context.act("mine", seconds=30.0)
        finally:
            stopped.append((clock.now(), name))

    async def nested(context: SkillContext) -> None:
        """Use tools that use tools."""
        await tool(context, "t", 2)

    def policy(known: Any) -> dict[str, Any]:
        return {
            "skill": {"name": "evade" if known["you"]["doing"] else "nested", "arguments": {}},
            "interrupt": True,
            "reason": "",
        }

    world = Meadow()
    _, events = episode(world, rules(limits=Limits(seconds=2.5)), policy, 1.0, skills=(nested, evade))
    assert ends(events)[0] == (2.0, "nested", "interrupted")
    assert len(stopped) == 7
    assert {at for at, _ in stopped} == {2.0}
    assert world.begun[4] == (2.0, "ann", "evade")  # after the four commands of the tools
    assert world.done == []


def test_agents_that_wait_for_each_other_do_not_wait_for_ever() -> None:
    """Each listens for the other. Thinking goes on meanwhile, so that one of them can see it and speak."""

    async def listen_for(context: SkillContext) -> None:
        """Listen until somebody speaks."""
        await context.act("listen", seconds=1e6)

    async def greet(context: SkillContext) -> None:
        """Say hello, and get to work."""
        await context.say("hello")
        await context.act("chop", seconds=1.0)

    def policy(known: Any) -> dict[str, Any]:
        stuck = known["you"]["doing"] is not None and all(
            other["doing"] is not None for other in known["team"].values()
        )
        greets = (stuck and known["you"]["name"] == "ann") or known["chat"]
        return {
            "skill": {"name": "greet" if greets else "listen_for", "arguments": {}},
            "interrupt": bool(greets),
            "reason": "",
        }

    outcomes = {}
    for mode in ("parallel", "serial"):
        world = Meadow(goal={"chop": 2})
        outcome, _ = episode(world, rules(mode=mode), policy, 2.0, names=("ann", "bob"), skills=(listen_for, greet))
        outcomes[mode] = (outcome.reached, outcome.limit)
    assert outcomes["parallel"] == (("ann", "bob"), "")
    assert outcomes["serial"] == ((), "60 s")  # who only thinks between skills cannot help it; the limit does
