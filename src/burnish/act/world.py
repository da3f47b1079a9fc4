"""A world that agents live in: what a user implements. Three methods; nothing else is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from burnish.core.errors import BurnishError


class ActionFailed(BurnishError):
    """A command could not be carried out; the message says why in one line. The agent carries on."""


@dataclass(frozen=True)
class Happening:
    """Something that happened in a world.

    Attributes:
        kind: damage, death, chat, item, ... (a world's own words).
        agent: whom it concerns; empty for all.
        data: what a reflex or a prompt may want of it; plain JSON.
    """

    kind: str
    agent: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class World(Protocol):
    """Where agents live. All data in and out are plain JSON."""

    async def observe(self, agent: str) -> dict[str, Any]:
        """What the agent sees now. ``goal_reached`` (true or false) ends the run when it is true for all agents."""

    async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command; may take time, and may be cancelled at any await.

        Raises:
            ActionFailed: it could not be done.
        """

    def happenings(self) -> AsyncIterator[Happening]:
        """What happens, as it happens, until the world ends."""
