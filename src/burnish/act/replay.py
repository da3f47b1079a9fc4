"""The log of a run again: told in order at any speed, or played again to see that every event comes out the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.act import clock
from burnish.act.memory.log import Event, Memory, MemoryFailed
from burnish.act.memory.replaying import ReplayingMemory
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.recipe import EndpointSettings, TeamRecipe
from burnish.core.errors import UserError
from burnish.core.files import read_json


@dataclass(frozen=True)
class ReplayResult:
    """What came of playing a run again.

    Attributes:
        events: how many the log has.
        same: whether each of them came out again, and nothing else.
        difference: the first difference, in words; empty if there is none.
    """

    events: int
    same: bool
    difference: str


class _End(MemoryFailed):
    """The log's end is reached."""


class _Ended(SQLiteMemory):
    """Takes no event: what comes here would come after the log's end."""

    def __init__(self) -> None:
        super().__init__(Path(":memory:"))

    async def append(
        self,
        kind: str,
        agent: str,
        _data: Mapping[str, Any],
        *,
        time: float,
        key: str | None = None,  # noqa: ARG002 - a keyword of every memory
    ) -> Event:
        raise _End(f"`{kind}` of {agent or 'the team'} at {time:g} s")


def run_recipe(run: Path) -> TeamRecipe:
    """The recipe of an episode's run folder.

    Raises:
        UserError: it is none.
    """
    path = run / "recipe.yaml"
    if not path.is_file():
        raise UserError(f"{run}: not a run's folder (no recipe.yaml in it)")
    from burnish.core.method import find_method
    from burnish.core.recipe import method_of

    if not issubclass(find_method(method_of(path)).settings(), TeamRecipe):
        raise UserError(f"{run}: not an episode of agents; its recipe's method is {method_of(path)}")
    return TeamRecipe.load(path)


def open_log(recipe: TeamRecipe, run: Path) -> Memory:
    """The team's memory of a run that has begun.

    Raises:
        UserError: nothing has been remembered yet.
        MemoryFailed: it cannot be read.
    """
    from burnish.act.episode import open_memory

    if recipe.memory == "sqlite" and not (run / "artifacts" / "memory.sqlite").is_file():
        raise UserError(f"{run}: nothing has happened in this run yet; start it with `burnish run`")
    return open_memory(recipe, run)


def read_log(run: Path) -> list[Event]:
    """All events of a run, whether it has ended or not.

    Raises:
        UserError: it is no run of agents, or it has not begun.
        MemoryFailed: its memory cannot be read.
    """
    recipe = run_recipe(run)

    async def main() -> list[Event]:
        memory = open_log(recipe, run)
        try:
            return [event async for event in memory.since(0)]
        finally:
            await memory.close()

    return clock.run(main)


def paced(events: Sequence[Event], speed: float | None, sleep: Callable[[float], None] = time.sleep) -> Iterator[Event]:
    """The events in order, with the pauses between them as they were, so many times faster; ``None``: without pauses.

    Raises:
        UserError: a speed that is not above 0.
    """
    if speed is not None and not speed > 0:
        raise UserError(f"speed: {speed:g}; 2 is twice as fast, and none leaves the pauses out")
    before = events[0].time if events else 0.0
    for event in events:
        if speed is not None and event.time > before:
            sleep((event.time - before) / speed)
            before = event.time
        yield event


def replay_run(run: Path) -> ReplayResult:
    """Play a simulated run again by itself, with the answers that outside models gave, and compare every event.

    Raises:
        UserError: its world lives outside of the run, or it ran on the wall's clock: nothing comes out the same there.
    """
    from burnish.act.episode import AgentPool, set_up_episode
    from burnish.act.loop import run_episode
    from burnish.act.planner import RecordedChat
    from burnish.act.runtime import Runtime

    recipe, events = run_recipe(run), read_log(run)
    finished = (read_json(run / "run.json") or {}).get("status") == "finished"

    async def main() -> str:
        setup = set_up_episode(recipe)
        if not setup.simulated:
            raise UserError(
                f"{run}: only a simulated world on the clock `virtual` or `tokens` can be played again; the log of "
                "this one can still be read"
            )
        pool = AgentPool(_without_keys(recipe), setup.library)
        for agent in pool.agents:
            if agent.chat is not None and agent.chat.outside:
                agent.chat = RecordedChat(agent.chat.settings)
        memory = ReplayingMemory(_Ended(), events)
        try:
            await run_episode(recipe, setup, Runtime(recipe.runtime, setup.world, memory, pool.agents), None)
        except _End as more:
            return f"after its last event there is one more: {more}" if finished else ""
        except MemoryFailed as error:
            return str(error)
        finally:
            await pool.close()
        missing = len(events) - len([event async for event in memory.since(0)])
        return f"the last {missing} events did not come" if missing else ""

    difference = clock.run(main, recipe.runtime.clock)
    return ReplayResult(len(events), not difference, difference)


def _without_keys(recipe: TeamRecipe) -> TeamRecipe:
    """The recipe for somebody who has no key of the models' endpoints, and needs none."""

    def free(settings: EndpointSettings | None) -> EndpointSettings | None:
        return None if settings is None else settings.model_copy(update={"key_variable": None})

    agents = [agent.model_copy(update={"model": free(agent.model)}) for agent in recipe.agents]
    runtime = recipe.runtime.model_copy(update={"reactor": free(recipe.runtime.reactor)})
    return recipe.model_copy(update={"agents": agents, "planner": free(recipe.planner), "runtime": runtime})


def to_line(event: Event) -> str:
    """An event as one line of JSON, as in ``events.jsonl``."""
    return json.dumps(event.__dict__, ensure_ascii=False, sort_keys=True)
