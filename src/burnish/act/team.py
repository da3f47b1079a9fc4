"""A team: its agents, the plan that lies ready for each, and how a run of theirs ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import anyio

from burnish.act.attention import Attention
from burnish.act.planner import Chat
from burnish.act.reflexes import Reactor
from burnish.act.skills.library import Call, Library


@dataclass(frozen=True)
class PlannedCall:
    """A step of a plan: the call to run, who wanted it, and the memory that the plan was made on."""

    call: Call
    by: str
    version: int
    reason: str


class Slot:
    """Room for one plan of one or more steps. A newer one replaces what was not begun; taking waits until there is
    one."""

    def __init__(self) -> None:
        self._steps: deque[PlannedCall] = deque()
        self._filled = anyio.Event()

    @property
    def waiting(self) -> tuple[PlannedCall, ...]:
        """The steps that were not begun."""
        return tuple(self._steps)

    def put(self, *steps: PlannedCall) -> tuple[PlannedCall, ...]:
        """Leave a plan; returns the steps that it replaces."""
        replaced, self._steps = tuple(self._steps), deque(steps)
        self._filled.set()
        return replaced

    async def take(self) -> PlannedCall:
        """Wait for a step and take it out."""
        while not self._steps:
            self._filled = anyio.Event()
            await self._filled.wait()
        return self._steps.popleft()

    def pop(self) -> PlannedCall | None:
        """Take the next step out, if there is one."""
        return self._steps.popleft() if self._steps else None


@dataclass
class Agent:
    """One agent: its name, its goal in words, its chat model (``None``: it never plans) and its skills."""

    name: str
    goal: str
    library: Library
    chat: Chat | None = None
    reactor: Reactor | None = None
    slot: Slot = field(default_factory=Slot)
    attention: Attention = field(default_factory=Attention)
    """Why its planner thinks again."""
    thought: str = ""
    """The unfinished reply of its planner."""
    running: anyio.CancelScope | None = None
    """The scope of its running skill."""
    halted: bool = False
    """Whether it was stopped since it took its last plan up."""
    thinking: anyio.CancelScope | None = None
    """The scope of its thought: a reflex gives it up."""
    loops: list[anyio.CancelScope] = field(default_factory=list)
    """The scopes of its loops."""
    done: bool = False
    gone: bool = False
    calls: int = 0
    skills: int = 0
    reflexed: int = 0
    """The event at which a reflex last took over: plans made before it are overtaken."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        reached: agents whose goal was reached.
        gone: agents that the world took out (dead for good, disconnected).
        seconds: on the run's clock.
        tokens: prompt and reply tokens.
        limit: the limit that ended it, or empty.
    """

    reached: tuple[str, ...]
    gone: tuple[str, ...]
    seconds: float
    tokens: int
    limit: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``outcome.json``."""
        return {**asdict(self), "reached": list(self.reached), "gone": list(self.gone)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        """From ``outcome.json``; what else stands there is passed over."""
        return cls(tuple(data["reached"]), tuple(data["gone"]), data["seconds"], data["tokens"], data["limit"])

    def summary(self) -> str:
        """In one line."""
        reached = f"goal reached by {', '.join(self.reached)}" if self.reached else "goal not reached"
        gone = f"; out of the world: {', '.join(self.gone)}" if self.gone else ""
        limit = f"; ended by a limit: {self.limit}" if self.limit else ""
        return f"{reached} after {self.seconds:.1f} s and {self.tokens:,} tokens{gone}{limit}"
