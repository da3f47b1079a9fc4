"""An episode as a run: played live in the terminal, remembered event by event, resumed after a kill."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from opentelemetry.trace import Tracer

from burnish.act import clock
from burnish.act.episode import AgentPool, EpisodeSetup, open_memory, opponent_runtime, set_up_episode
from burnish.act.event_text import describe
from burnish.act.memory.log import Event, Memory, MemoryFailed, Snapshot
from burnish.act.memory.replaying import ReplayingMemory
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.recipe import CraftworldSettings, TeamRecipe
from burnish.act.runtime import Outcome, Runtime
from burnish.act.timeline import overlap, timeline
from burnish.act.tracing import tracing
from burnish.core.errors import Interrupted, UserError
from burnish.core.run import Run

STOPPED = "stopped by a signal"
POLL = 0.2  # seconds between looks for a stop signal, on the wall's clock
MAP = 1.0  # seconds between new maps for the live page, likewise


class Stopped(MemoryFailed):
    """A stop signal came: the log ends here, as if the run had been killed, and is resumed from here."""


class ObservedMemory(Memory):
    """A memory whose new events are passed on to an observer, and that takes none after a stop.

    Args:
        inner: where the log is.
        on_event: called with each new event.
        stop: whether to take no more.
    """

    def __init__(self, inner: Memory, on_event: Callable[[Event], None], stop: Callable[[], bool]) -> None:
        self._inner = inner
        self._on_event = on_event
        self._stop = stop

    async def append(
        self, kind: str, agent: str, data: Mapping[str, Any], *, time: float, key: str | None = None
    ) -> Event:
        """See :class:`Memory`.

        Raises:
            Stopped: a stop was asked for.
        """
        if self._stop():
            raise Stopped("stopped")
        event = await self._inner.append(kind, agent, data, time=time, key=key)
        self._on_event(event)
        return event

    def since(self, seq: int) -> AsyncIterator[Event]:
        """See :class:`Memory`."""
        return self._inner.since(seq)

    async def find(self, key: str) -> Event | None:
        """See :class:`Memory`."""
        return await self._inner.find(key)

    async def snapshot(self) -> Snapshot:
        """See :class:`Memory`."""
        return await self._inner.snapshot()

    async def close(self) -> None:
        """See :class:`Memory`."""
        await self._inner.close()


def play(recipe: TeamRecipe, run: Run) -> Path:
    """Play an episode to its end. Returns the folder with its log, map and outcome.

    Raises:
        UserError: something in the recipe does not exist, or this run cannot be resumed.
        Interrupted: a stop signal came; the same command goes on.
        MemoryFailed: the memory cannot be written.
    """
    folder = run.path / "artifacts"
    if run.finished:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tracing(recipe.runtime.tracing) as tracer:
            clock.run(lambda: _episode(recipe, run, tracer), recipe.runtime.clock)
    except Stopped:
        lost = isinstance(recipe.world, CraftworldSettings) and recipe.runtime.clock == "wall"
        how = "on the wall's clock craftworld has to start afresh" if lost else "the same command goes on"
        raise Interrupted(f"{run.path}: stopped; {how}", run.stop_signal) from None
    return folder


async def _episode(recipe: TeamRecipe, run: Run, tracer: Tracer | None) -> None:
    setup = set_up_episode(recipe)
    inner = open_memory(recipe, run.path)
    past = [event async for event in inner.since(0)]
    if past:
        _check_resume(setup)
        run.note(f"{run.path}: going on after event {past[-1].seq}, at {past[-1].time:.1f} s")
    at_once = recipe.runtime.clock != "wall"
    observed = ObservedMemory(inner, _Progress(run, past).on_event, lambda: at_once and run.stop_requested)
    memory: Memory = ReplayingMemory(observed, past) if past and setup.simulated else observed
    pool = AgentPool(recipe, setup.library)
    runtime = Runtime(recipe.runtime, setup.world, memory, pool.agents, tracer)
    try:
        outcome = await run_episode(recipe, setup, runtime, run)
        events = [event async for event in inner.since(0)]
        if outcome.limit == STOPPED:
            raise Stopped("stopped")
        _save(run, setup, outcome, events)
    finally:
        with anyio.CancelScope(shield=True):
            await pool.close()
            await inner.close()
            close = getattr(setup.world, "close", None)  # a world may hold a process or a connection
            if close is not None:
                await close()


async def run_episode(recipe: TeamRecipe, setup: EpisodeSetup, runtime: Runtime, run: Run | None) -> Outcome:
    """The team's run, with its opponents beside it; on the wall's clock also with stop signals and new maps."""
    try:
        async with anyio.create_task_group() as aside:
            if run is not None and recipe.runtime.clock == "wall":
                aside.start_soon(_watch, runtime, run)
                aside.start_soon(_draw, setup, run)
            if isinstance(recipe.world, CraftworldSettings) and recipe.world.opponents is not None:
                assert setup.craft is not None
                theirs = SQLiteMemory(Path(":memory:"))
                aside.start_soon(opponent_runtime(setup.craft, recipe.world.opponents, recipe.runtime, theirs).run)
            outcome = await runtime.run()
            aside.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
    return outcome


async def _watch(runtime: Runtime, run: Run) -> None:
    while not run.stop_requested:
        await anyio.sleep(POLL)
    runtime.stop(STOPPED)


async def _draw(setup: EpisodeSetup, run: Run) -> None:
    drawn = ""
    while True:
        found = _render(setup)
        if found is not None and found != drawn:
            drawn = found
            run.artifact("map.svg", found)
        await anyio.sleep(MAP)


def _render(setup: EpisodeSetup) -> str | None:
    render = getattr(setup.craft or setup.world, "render", None)
    return None if render is None else str(render())


def _check_resume(setup: EpisodeSetup) -> None:
    if setup.craft is not None and not setup.simulated:
        raise UserError(
            "runtime.clock: on the wall's clock craftworld cannot be played again to where the killed run was; start "
            "afresh, or use `clock: virtual`"
        )


class _Progress:
    """Notes what happens in the terminal, and keeps count from the first session on."""

    def __init__(self, run: Run, past: Sequence[Event]) -> None:
        self._run = run
        self._tokens = 0
        self._done: Counter[str] = Counter()
        for event in past:
            self._count(event)

    def on_event(self, event: Event) -> None:
        words = describe(event)
        if words is not None:
            self._run.note(f"{event.time:8.1f} s  {words}")
        self._count(event)
        if event.kind == "skill_end":
            skills = {f"skills_{status}": number for status, number in self._done.items()}
            self._run.log(event.seq, seconds=event.time, tokens=self._tokens, **skills)

    def _count(self, event: Event) -> None:
        if event.kind == "call_end":
            self._tokens += sum(event.data["tokens"].values())
        elif event.kind == "skill_end":
            self._done[event.data["status"]] += 1


def _save(run: Run, setup: EpisodeSetup, outcome: Outcome, events: Sequence[Event]) -> None:
    """The log as text, the map, and the outcome."""
    rows = (json.dumps(event.__dict__, ensure_ascii=False, sort_keys=True) for event in events)
    run.artifact("events.jsonl", "\n".join(rows) + "\n")
    drawn = _render(setup)
    if drawn is not None:
        run.artifact("map.svg", drawn)
    lanes = timeline(events)
    shares = {agent: round(overlap(lanes, agent), 4) for agent in lanes.agents()}
    run.artifact("outcome.json", {**outcome.to_json(), "overlap": shares})
    run.note(outcome.summary())
