"""A user's own world: its mistakes are said as the user's, in one line with the method; a stopped page says nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from burnish.act import clock
from burnish.act.memory.log import Event
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.planner import Chat
from burnish.act.policies import policy_app
from burnish.act.recipe import EndpointSettings, Limits, RuntimeSettings
from burnish.act.runtime import Agent, Runtime
from burnish.act.skills.library import Library
from burnish.act.world import Happening
from burnish.act.worlds.own import OwnWorld
from burnish.core.errors import UserError
from tests.act.test_memory_faults import TINY
from tests.act.worlds import SKILLS, Meadow

CHOP = {"skill": {"name": "chop", "arguments": {"times": 1}}, "interrupt": False, "reason": "wood"}


class Bakery(Meadow):
    """A meadow with one mistake in it."""

    def __init__(
        self, seen: Callable[[], Any] = dict, done: Callable[[], Any] = dict, news: Callable[[], Any] = dict
    ) -> None:
        super().__init__()
        self.seen, self.made, self.news = seen, done, news

    async def observe(self, agent: str) -> Any:
        return self.seen()

    async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> Any:
        return self.made()

    async def happenings(self) -> AsyncIterator[Any]:
        found = self.news()
        if found:
            yield found
        async for happening in super().happenings():
            yield happening


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (Bakery(seen=lambda: 3), "bakery:world: `observe` returned a int; return a dict"),
        (Bakery(seen=lambda: {"oven": object()}), "bakery:world: `observe` returned what is no JSON"),
        (Bakery(seen=lambda: 1 / 0), r"bakery:world: `observe` raised ZeroDivisionError: .* \(test_own_world.py:\d+\)"),
        (Bakery(news=lambda: "fire"), "bakery:world: `happenings` gave a str; give Happening"),
        (Bakery(news=lambda: 1 / 0), "bakery:world: `happenings` raised ZeroDivisionError"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_world_is_its_authors(world: Bakery, words: str) -> None:
    with pytest.raises(UserError, match=words):
        lived(world)


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (lambda: None, "bakery:world: `act` returned a NoneType; return a dict"),
        (lambda: dict[str, Any]()["dough"], "bakery:world: `act` raised KeyError: 'dough' (test_own_world.py:"),
    ],
)
def test_a_mistake_in_a_command_fails_its_skill_and_is_named(done: Callable[[], Any], words: str) -> None:
    events = lived(Bakery(done=done))
    assert words in next(event.data["why"] for event in events if event.kind == "skill_end")


def lived(world: Bakery) -> list[Event]:
    """The log of ten seconds."""

    async def main() -> list[Event]:
        chat = Chat(EndpointSettings(url="http://here/v1"), policy_app(lambda known: CHOP, 1.0))
        settings, memory = RuntimeSettings(clock="virtual", limits=Limits(seconds=10.0)), SQLiteMemory(Path(":memory:"))
        agents = [Agent("ann", "wood", Library(SKILLS), chat)]
        await Runtime(settings, OwnWorld("bakery:world", world), memory, agents).run()
        return [event async for event in memory.since(0)]

    return clock.run(main, "virtual")


class Plain(Meadow):
    def observe(self, agent: str) -> Any:
        return {}


class Unyielding(Meadow):
    async def happenings(self) -> Any:  # type: ignore[override]
        return [Happening("fire")]


def test_methods_that_cannot_be_awaited_are_refused_before_the_start() -> None:
    with pytest.raises(UserError, match="bakery:world: `observe` must be `async def`"):
        OwnWorld("bakery:world", Plain())
    with pytest.raises(UserError, match="bakery:world: `happenings` must yield"):
        OwnWorld("bakery:world", Unyielding())  # type: ignore[arg-type]


def test_a_page_that_was_open_makes_no_noise_when_the_server_is_stopped(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "burnish.cli"]
    play = [*line, "run", str(TINY), "--out", str(tmp_path / "run"), "--set", "runtime.limits.seconds=5"]
    subprocess.run(play, check=True, capture_output=True, timeout=120)
    watch = [*line, "act", "watch", str(tmp_path / "run"), "--port", "0"]
    server = subprocess.Popen(watch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    url = next(word for text in server.stdout for word in text.split() if word.startswith("http://127.0.0.1"))
    with httpx.Client(timeout=20) as client, client.stream("GET", f"{url.rstrip('/')}/events") as events:
        next(events.iter_lines())
        time.sleep(0.2)
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=60)[0]
    assert "Traceback" not in said
    assert "ERROR" not in said
