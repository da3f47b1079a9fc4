"""The team's memory: events that are only ever appended, and the state that follows from them. The fold is pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from burnish.core.errors import BurnishError

MESSAGES = 10  # the paper's prompt shows the last ten


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


def fold(state: Snapshot, event: Event) -> Snapshot:
    """The snapshot after one more event.

    Raises:
        MemoryFailed: an event is missing in between.
    """
    if event.seq != state.version + 1:
        raise MemoryFailed(f"memory: event {event.seq} follows {state.version}; an event was lost")
    state = replace(state, version=event.seq)
    match event.kind:
        case "observe":
            return replace(state, observations={**state.observations, event.agent: event.data})
        case "skill_start":
            return replace(state, actions={**state.actions, event.agent: event.data})
        case "skill_end":
            idle = {name: action for name, action in state.actions.items() if name != event.agent}
            return replace(state, actions=idle, results={**state.results, event.agent: event.data})
        case "chat":
            message = {"from": event.agent, "text": event.data["text"]}
            return replace(state, chat=(*state.chat, message)[-MESSAGES:])
        case "world" | "human":
            return replace(state, touched={**state.touched, event.agent: event.seq})
    return state


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
