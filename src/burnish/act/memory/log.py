"""The team's memory: events that are only ever appended, and the state that follows from them. The fold is pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from burnish.core.errors import BurnishError

MESSAGES = 10  # the paper's prompt shows the last ten
MOST_UNFOLDED = 1000  # events that are kept for the next snapshot


class MemoryFailed(BurnishError):
    """The memory cannot be read or written."""


@dataclass(frozen=True)
class Event:
    """One entry of the log.

    Attributes:
        seq: its number, from 1, without gaps in the order of writing.
        time: seconds on the run's clock.
        agent: whose event; empty for the team's.
        kind: observe, call_start, call_end, plan, plan_dropped, skill_start, command, skill_end, reflex, chat, world,
            goal, limit, human.
        data: plain JSON.
        key: names an effect that must happen once (a skill's n-th command); unique in the log.
    """

    seq: int
    time: float
    agent: str
    kind: str
    data: Mapping[str, Any]
    key: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """What the team knows after the event ``version``: consistent, because it is folded from a prefix of the log.

    Attributes:
        version: sequence number of the last event in it.
        observations: each agent's latest.
        actions: each agent's running skill (name and arguments), absent when idle.
        results: each agent's last finished skill, with its status.
        chat: the last ten messages, ``{"from", "text"}``.
        touched: sequence number of the last thing that happened to each agent (not of its own doing).
    """

    version: int = 0
    observations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    actions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chat: tuple[Mapping[str, Any], ...] = ()
    touched: Mapping[str, int] = field(default_factory=dict)


def fold(state: Snapshot, *events: Event) -> Snapshot:
    """The snapshot after some more events. Each of its parts is copied once, not once an event.

    Raises:
        MemoryFailed: an event is missing in between.
    """
    version, chat = state.version, list(state.chat)
    observations, actions, results = dict(state.observations), dict(state.actions), dict(state.results)
    touched = dict(state.touched)
    for event in events:
        if event.seq != version + 1:
            raise _lost(event.seq, version)
        version = event.seq
        match event.kind:
            case "observe":
                observations[event.agent] = event.data
            case "skill_start":
                actions[event.agent] = event.data
            case "skill_end":
                actions.pop(event.agent, None)
                results[event.agent] = event.data
            case "chat":
                chat.append({"from": event.agent, "text": event.data["text"]})
            case "world" | "human":
                touched[event.agent] = event.seq
    return Snapshot(version, observations, actions, results, tuple(chat[-MESSAGES:]), touched)


def _lost(seq: int, version: int) -> MemoryFailed:
    return MemoryFailed(f"memory: event {seq} follows {version}; an event was lost")


class Folding:
    """A log's snapshot while the log grows: events are folded when somebody asks, all that have come together.

    With an event each time a team of thousands would be copied for each event of each of them.
    """

    def __init__(self) -> None:
        self._state = Snapshot()
        self._new: list[Event] = []

    @property
    def version(self) -> int:
        """Number of the last event in it."""
        return self._state.version + len(self._new)

    def add(self, event: Event) -> None:
        """The next event.

        Raises:
            MemoryFailed: it does not follow the last one.
        """
        if event.seq != self.version + 1:
            raise _lost(event.seq, self.version)
        self._new.append(event)
        if len(self._new) >= MOST_UNFOLDED:
            self.snapshot()

    def snapshot(self) -> Snapshot:
        """What is known after its last event."""
        if self._new:
            self._state, self._new = fold(self._state, *self._new), []
        return self._state


class Memory(ABC):
    """The log, and the snapshot after its last event. One object a process; several processes may share one log."""

    @abstractmethod
    async def append(
        self, kind: str, agent: str, data: Mapping[str, Any], *, time: float, key: str | None = None
    ) -> Event:
        """Write one event and return it with its number; when this returns, it is stored.

        Raises:
            MemoryFailed: the store cannot be written, or an event with this key exists already.
        """

    @abstractmethod
    def since(self, seq: int) -> AsyncIterator[Event]:
        """All events after number ``seq``, those of other processes too."""

    @abstractmethod
    async def find(self, key: str) -> Event | None:
        """The event with this key."""

    def recorded(self, key: str) -> Event | None:  # noqa: ARG002 - for those that replay
        """While an earlier session is replayed, its event with this key, still to come; else ``None``."""
        return None

    @abstractmethod
    async def snapshot(self) -> Snapshot:
        """What is known now, other processes' events included."""

    @abstractmethod
    async def close(self) -> None:
        """Release the store."""
