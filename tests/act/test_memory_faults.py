"""Faults of the memory, and what a log is good for afterwards: the agents carry on, nothing is lost or done twice."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from burnish.act import clock
from burnish.act.loop import play
from burnish.act.memory.log import Event, Snapshot, fold
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.policies import policy_app
from burnish.act.recipe import Limits, TeamRecipe
from burnish.act.replay import read_log, replay_run
from burnish.act.runtime import Runtime
from burnish.core.run import Run
from tests.act.test_faults import CHOP, once, rules, served
from tests.act.worlds import Meadow, episode, team

TINY = Path(__file__).parents[2] / "recipes" / "planning_acting" / "tiny.yaml"


def test_a_locked_memory_is_waited_for_and_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    held = threading.Event()

    def hold() -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        held.set()
        time.sleep(0.4)
        other.execute("COMMIT")
        other.close()

    class Locked(Meadow):
        async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
            if command == "chop" and not held.is_set():
                threading.Thread(target=hold).start()
                held.wait(10)
            return await super().act(agent, command, arguments)

    outcome, events = episode(
        Locked(goal={"chop": 3}), rules(), lambda known: CHOP, 1.0, memory=lambda: SQLiteMemory(path)
    )
    assert held.is_set()
    assert outcome.reached == ("ann",)
    assert outcome.seconds == 7.0  # a second of planning, six of chopping: the virtual clock stood still meanwhile
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


def test_the_state_is_saved_while_it_runs(tmp_path: Path) -> None:
    """Whoever opens the file in the middle of a skill finds all that has happened so far."""
    path = tmp_path / "memory.sqlite"
    found: list[Snapshot] = []

    class Looking(Meadow):
        async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
            done = await super().act(agent, command, arguments)
            other = SQLiteMemory(path)
            found.append(await other.snapshot())
            await other.close()
            return done

    _, events = episode(Looking(goal={"chop": 3}), rules(), lambda known: CHOP, 1.0, memory=lambda: SQLiteMemory(path))
    assert len(found) == 3
    for seen in found:
        assert seen.actions["ann"]["name"] == "chop"
        state = Snapshot()
        for event in events[: seen.version]:
            state = fold(state, event)
        assert state == seen


def test_a_whole_run_can_be_put_back_to_any_moment(tmp_path: Path) -> None:
    """A prefix of the log is a state of the whole team: from there on it may go another way."""
    _, events = episode(Meadow(), rules(limits=Limits(seconds=20.0)), once("mine", {"seconds": 5.0}), 1.0)
    cut = next(event.seq for event in events if event.kind == "skill_end")
    path = tmp_path / "memory.sqlite"

    async def put_back() -> None:
        memory = SQLiteMemory(path)
        for event in events[:cut]:
            await memory.append(event.kind, event.agent, event.data, time=event.time, key=event.key)
        await memory.close()

    anyio.run(put_back)
    world = Meadow(goal={"chop": 3})
    outcome, after = episode(world, rules(), lambda known: CHOP, 1.0, memory=lambda: SQLiteMemory(path))
    assert outcome.reached == ("ann",)
    assert after[:cut] == events[:cut]
    assert [command for _, _, command in world.begun] == ["chop"] * 3  # what had been mined is not mined again
    assert after[-1].time == events[cut - 1].time + outcome.seconds


def test_a_stop_before_the_beginning_is_not_forgotten() -> None:
    async def main() -> tuple[Any, list[Event]]:
        settings, memory = rules(limits=Limits(seconds=500.0)), SQLiteMemory(Path(":memory:"))
        runtime = Runtime(settings, Meadow(), memory, team(("ann", "bob"), once("mine", {}), 1.0, settings))
        runtime.stop("a signal")
        return await runtime.run(), [event async for event in memory.since(0)]

    outcome, events = clock.run(main, "virtual")
    assert (outcome.limit, outcome.seconds) == ("a signal", 0.0)
    assert [event.kind for event in events] == ["limit"]


def test_an_interrupted_errand_of_many_steps_cleans_up_once(tiny_run: Path) -> None:

    cleaned = Counter((e.agent, e.data["skill"], e.data["command"]) for e in read_log(tiny_run) if e.kind == "cleanup")
    assert len(cleaned) >= 6
    assert set(cleaned.values()) == {1}


# Replay, tokens


@pytest.mark.parametrize("reactive", ["rule", "llm"])
def test_a_run_is_played_again_without_its_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reactive: str
) -> None:
    from burnish.act.worlds.craftworld.policies import POLICIES

    def both(known: Mapping[str, Any]) -> Mapping[str, Any]:
        """The planner's answers, and those of the small model that is asked when something has happened."""
        if "happened" not in known:
            return POLICIES["gatherer"](known)
        away = {"name": "retreat", "arguments": {"cells": 12}}
        return {"skill": away if known["happened"]["kind"] == "damage" else None, "interrupt": True, "reason": ""}

    monkeypatch.setenv("THE_KEY", "of the service")
    with served(policy_app(both, 0.0)) as url:
        service = f"{{url: '{url}', key_variable: THE_KEY, seconds_per_token: 0.1}}"
        overrides = ["runtime.limits.seconds=110", f"planner={service}"]
        if reactive == "llm":
            overrides += ["runtime.reactive=llm", "runtime.reflexes=[]", f"runtime.reactor={service}"]
        recipe = TeamRecipe.load(TINY, overrides)
        with Run(recipe, tmp_path / "run", quiet=True) as run:
            play(recipe, run)
    monkeypatch.delenv("THE_KEY")
    found = replay_run(tmp_path / "run")
    assert (found.difference, found.same) == ("", True)
    assert found.events > 40
    reactions = [event for event in read_log(tmp_path / "run") if event.kind == "reaction"]
    assert bool(reactions) == (reactive == "llm")
