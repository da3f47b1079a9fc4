"""A run that was killed: replayed exactly where the world is simulated, without a repeated effect elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from burnish.act import clock
from burnish.act.memory.log import Event, MemoryFailed
from burnish.act.memory.replaying import ReplayingMemory
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.planner import Chat
from burnish.act.policies import policy_app
from burnish.act.recipe import EndpointSettings, Limits, ReflexSettings, RuntimeSettings
from burnish.act.reflexes import Rules
from burnish.act.runtime import Agent, Runtime
from burnish.act.skills.library import Library
from tests.act.worlds import SKILLS, Meadow, episode, team, wary

SETTINGS = RuntimeSettings(
    clock="virtual", limits=Limits(seconds=50.0), reflexes=[ReflexSettings(event="threat", skill="evade")]
)
OFTEN = SETTINGS.model_copy(update={"planning": "continuous"})
NAMES = ("ann", "bob")


async def filled(path: Path, events: list[Event]) -> SQLiteMemory:
    memory = SQLiteMemory(path)
    for event in events:
        await memory.append(event.kind, event.agent, event.data, time=event.time, key=event.key)
    return memory


def replayed(
    path: Path, past: list[Event], agents: Callable[[], list[Agent]], settings: RuntimeSettings = SETTINGS
) -> list[Event]:
    """The whole log after a run whose first session left ``past``."""

    async def main() -> list[Event]:
        inner = await filled(path, past)
        memory = ReplayingMemory(inner, [event async for event in inner.since(0)])
        made = agents()
        await Runtime(settings, Meadow(threat_at=10.0), memory, made).run()
        for agent in made:
            assert agent.chat is not None
            await agent.chat.close()
        return [event async for event in inner.since(0)]

    return clock.run(main, "virtual")


@pytest.mark.parametrize("settings", [SETTINGS, OFTEN], ids=["events", "continuous"])
def test_a_replayed_run_ends_as_the_uninterrupted_one_wherever_it_was_cut(
    tmp_path: Path, settings: RuntimeSettings
) -> None:
    _, whole = episode(Meadow(threat_at=10.0), settings, names=NAMES)
    for cut in range(1, len(whole), 3):
        again = replayed(tmp_path / f"{cut}.sqlite", whole[:cut], lambda: team(NAMES, wary, 8.0, settings), settings)
        assert again == whole, f"cut at {cut}"


@pytest.fixture
def served() -> Iterator[tuple[str, Counter[str]]]:
    """A policy behind a real server: its address, and how often each agent asked."""
    asked = Counter[str]()

    def policy(known: Any) -> dict[str, Any]:
        asked[known["you"]["name"]] += 1
        return wary(known)

    server = uvicorn.Server(uvicorn.Config(policy_app(policy, 0.0), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/v1", asked
    server.should_exit = True
    thread.join(10)


def test_answers_from_outside_are_not_asked_for_again(tmp_path: Path, served: tuple[str, Counter[str]]) -> None:
    """Tokens are the clock: 11 words of half a second each."""
    url, asked = served
    library = Library(SKILLS)

    def agents() -> list[Agent]:
        chat = Chat(EndpointSettings(url=url, seconds_per_token=0.5))
        return [Agent(name, "the goal", library, chat, Rules(SETTINGS.reflexes, library)) for name in NAMES]

    whole = replayed(tmp_path / "whole.sqlite", [], agents, OFTEN)
    calls = asked.total()
    assert calls >= 16
    for cut in range(3, len(whole), 11):
        asked.clear()
        again = replayed(tmp_path / f"{cut}.sqlite", whole[:cut], agents, OFTEN)
        # What comes after the log is live: two answers of one moment may arrive in either order.
        assert again[:cut] == whole[:cut], f"cut at {cut}"
        assert again[-1] == replace(whole[-1], seq=len(again)), f"cut at {cut}"
        answered = sum(event.kind == "call_end" for event in whole[:cut])
        assert asked.total() <= calls - answered


def test_a_replay_in_a_world_that_changed_is_refused(tmp_path: Path) -> None:
    _, whole = episode(Meadow(threat_at=10.0), SETTINGS, names=NAMES)

    async def main() -> None:
        inner = await filled(tmp_path / "memory.sqlite", whole[:40])
        memory = ReplayingMemory(inner, whole[:40])
        agents = team(NAMES, wary, 8.0, SETTINGS)
        with pytest.raises(MemoryFailed, match="start afresh"):
            await Runtime(SETTINGS, Meadow(threat_at=5.0), memory, agents).run()

    clock.run(main, "virtual")


class Killed(BaseException):
    """Stands for SIGKILL: whatever is written after it is not."""


class Mortal(SQLiteMemory):
    """Dies after so many events, and takes nothing after that."""

    def __init__(self, path: Path, events: int) -> None:
        super().__init__(path)
        self.left = events

    async def append(self, kind: str, agent: str, data: Any, *, time: float, key: str | None = None) -> Event:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return await super().append(kind, agent, data, time=time, key=key)


def chopper(known: Any) -> dict[str, Any]:
    """Chop three trees once, and nothing after."""
    if known["you"]["last"] is None and known["you"]["doing"] is None:
        return {"skill": {"name": "chop", "arguments": {"times": 3}}, "interrupt": False, "reason": ""}
    return {"skill": None, "interrupt": False, "reason": ""}


@pytest.mark.parametrize("cut", range(1, 16))
def test_no_finished_effect_is_repeated_in_a_world_that_lives_on(tmp_path: Path, cut: int) -> None:
    """The world is outside: it keeps its state. The second session goes on in the middle of the skill."""
    settings = RuntimeSettings(clock="virtual", limits=Limits(seconds=60.0))
    world = Meadow(goal={"chop": 3})
    path = tmp_path / "memory.sqlite"

    async def first() -> None:
        with pytest.raises(Killed):
            await Runtime(settings, world, Mortal(path, cut), team(("ann",), chopper, 1.0, settings)).run()

    clock.run(first, "virtual")
    in_flight = len(world.begun) - len(world.done)

    async def second() -> list[Event]:
        memory = SQLiteMemory(path)
        finished = [event async for event in memory.since(0) if event.kind == "command_end"]
        begun = [event async for event in memory.since(0) if event.kind == "command"]
        before = len(world.begun)
        await Runtime(settings, world, memory, team(("ann",), chopper, 1.0, settings)).run()
        events = [event async for event in memory.since(0)]
        keys = [event.key for event in events if event.key]
        assert len(keys) == len(set(keys)), "every effect has its own name in the log"
        again = [event for event in events if event.kind == "command"][len(begun) :]
        assert {event.key for event in again}.isdisjoint(event.key for event in begun)
        # Whatever the log says was begun is not begun again, whether or not it was finished.
        assert len(world.begun) - before == len(again)
        if len(begun) > len(finished):
            ended = next(event for event in events if event.kind == "skill_end")
            assert ended.data["status"] == "failed"
            assert "whether it took effect is not known" in ended.data["why"]
        return events

    events = clock.run(second, "virtual")
    starts = [event for event in events if event.kind == "skill_start"]
    assert starts[0].data["skill"] == 1
    assert in_flight <= 1
