"""One session of a run: its time, its log, what it has used up, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace

from burnish.act import clock
from burnish.act.memory.log import Event, Memory
from burnish.act.recipe import Limits
from burnish.act.team import Agent
from burnish.act.tracing import NAME

# Events that have no length of their own in a trace. The others begin or end a span, or (what is seen) are too long and
# too many.
MOMENTS = {"chat", "cleanup", "goal", "human", "limit", "plan_dropped", "reflex", "world"}
LONGEST = 300  # characters of any one attribute


class Session:
    """What the loops of a team share.

    Args:
        memory: the team's; holds the log of an earlier session when it is resumed.
        limits: what ends the run at the latest.
        agents: the team.
        tracer: makes the spans; default: the process's own.

    Attributes:
        limit: what ended the run; empty while it runs, or if nothing did.
        tokens: used in this session.
        heard: told of every event of this session.
    """

    def __init__(
        self, memory: Memory, limits: Limits, agents: Sequence[Agent], tracer: trace.Tracer | None = None
    ) -> None:
        self.memory = memory
        self.limit = ""
        self.tokens = 0
        self.heard: Callable[[Event], None] = lambda _event: None
        self._limits = limits
        self._agents = agents
        self._skills = 0
        self._tracer = tracer or trace.get_tracer(NAME)
        self._epoch = time.time_ns()
        self._zero = 0.0
        """The clock's time at which the log's is 0."""

    async def begin(self) -> None:
        """Take up the log's time where an earlier session ended, whatever the clock says: it never goes backwards."""
        begun, last = clock.now(), 0.0
        async for event in self.memory.since(0):
            last = event.time
        self._zero = begun - last
        self._epoch = time.time_ns() - int(last * 1e9)

    def now(self) -> float:
        """Seconds of the run, as they stand in the log."""
        return round(clock.now() - self._zero, 9)

    async def log(self, kind: str, agent: str, data: Mapping[str, Any], key: str | None = None) -> Event:
        """One event of the team's memory, at the present time of its run."""
        event = await self.memory.append(kind, agent, data, time=self.now(), key=key)
        if kind in MOMENTS:
            with self.span(kind, agent, {"event": event.seq, **data}):
                pass
        self.heard(event)
        return event

    @contextmanager
    def span(self, name: str, agent: str, about: Mapping[str, Any]) -> Iterator[trace.Span]:
        """Something that takes time, as a span at the run's time; what happens inside is its child."""
        short = {key: _short(value) for key, value in {"agent": agent, **about}.items()}
        span = self._tracer.start_span(name, start_time=self._nanoseconds(), attributes=short)
        with trace.use_span(span):
            try:
                yield span
            finally:
                span.end(self._nanoseconds())

    def _nanoseconds(self) -> int:
        return self._epoch + int(self.now() * 1e9)

    def use(self, tokens: int) -> None:
        """Count tokens; ends the run when none are left. A run whose agents are all at their end has ended already."""
        self.tokens += tokens
        if self.tokens >= self._limits.tokens and not all(agent.done or agent.gone for agent in self._agents):
            self.end(f"{self._limits.tokens} tokens")

    def may_start_skill(self) -> bool:
        """Count one skill; ends the run when it is one too many."""
        self._skills += 1
        if self._skills > self._limits.steps:
            self.end(f"{self._limits.steps} steps")
            return False
        return True

    def end(self, limit: str) -> None:
        """End the run. Loop by loop: a scope of many tasks would cancel them in another order each time."""
        self.limit = self.limit or limit
        for agent in self._agents:
            for scope in agent.loops:
                scope.cancel()


def _short(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float) else str(value)[:LONGEST]
