"""What a running skill gets: commands to the world that are logged, counted, and never done twice."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from burnish.act.memory.log import Event, Memory, MemoryFailed
from burnish.act.world import ActionFailed, World


@runtime_checkable
class SkillContext(Protocol):
    """What a skill may do; the runtime gives it one that logs, counts, and can be taken away at any await."""

    @property
    def agent(self) -> str:
        """The agent's name."""

    async def act(self, command: str, **arguments: Any) -> dict[str, Any]:
        """One command in the world. A resumed run does not repeat a finished one: its result is in the log.

        Raises:
            ActionFailed: it could not be done.
        """

    async def observe(self) -> dict[str, Any]:
        """What the agent sees now."""

    async def say(self, text: str) -> None:
        """A message to the team."""

    def on_leaving(self, command: str, **arguments: Any) -> None:
        """A command to be carried out when the skill ends, however it ends (let go of keys, close a window).

        In a scope that interruption does not reach, but a time limit does. Last in, first out.
        """


@runtime_checkable
class Logbook(Protocol):
    """Where a context writes: the session."""

    memory: Memory

    async def log(self, kind: str, agent: str, data: Mapping[str, Any], key: str | None = None) -> Event:
        """Append one event."""

    def span(self, name: str, agent: str, about: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """Around what takes time, for traces."""


class LoggedContext:
    """The context of one agent in one run of one skill: every command is logged.

    Args:
        agent: whose.
        skill: the number of the skill among the agent's; with a command's number it names that command for ever.
        world: where.
        book: the log.
    """

    def __init__(self, agent: str, skill: int, world: World, book: Logbook) -> None:
        self._agent = agent
        self._skill = skill
        self._world = world
        self._book = book
        self._commands = 0
        self._leaving: list[tuple[str, dict[str, Any]]] = []

    @property
    def agent(self) -> str:
        """See :class:`SkillContext`."""
        return self._agent

    async def act(self, command: str, **arguments: Any) -> dict[str, Any]:
        """One command in the world, logged before and after; answered from the log if an earlier session did it.

        Raises:
            ActionFailed: it could not be done, or a killed session left it half done: whether it took effect is not
                known.
        """
        self._commands += 1
        key = f"{self._agent}/{self._skill}/{self._commands}"
        about = {"skill": self._skill, "command": command, "arguments": arguments}
        memory = self._book.memory
        if await memory.find(key) is not None:
            ended = await memory.find(f"{key}/end")
            if ended is None:
                raise ActionFailed(f"{command}: the run was killed in it; whether it took effect is not known")
            if ended.data["status"] == "failed":
                raise ActionFailed(ended.data["why"])
            return dict(ended.data["result"])
        await self._book.log("command", self._agent, about, key=key)
        try:
            with self._book.span("command", self._agent, {**about, "key": key}):
                result = await self._world.act(self._agent, command, arguments)
        except ActionFailed as error:
            await self._book.log(
                "command_end", self._agent, {**about, "status": "failed", "why": str(error)}, f"{key}/end"
            )
            raise
        await self._book.log("command_end", self._agent, {**about, "status": "done", "result": result}, f"{key}/end")
        return result

    async def observe(self) -> dict[str, Any]:
        """What the agent sees now."""
        return await self._world.observe(self._agent)

    async def say(self, text: str) -> None:
        """A message to the team."""
        await self._book.log("chat", self._agent, {"text": text})

    def on_leaving(self, command: str, **arguments: Any) -> None:
        """A command for the skill's end, however it ends; last in, first out."""
        self._leaving.append((command, arguments))

    async def leave(self) -> None:
        """Carry out what was left for the end; a failure there does not keep the rest from being done.

        One that an earlier session finished is not repeated: meanwhile another agent may hold what it would let go of.
        """
        while self._leaving:
            command, arguments = self._leaving.pop()
            key = f"{self._agent}/{self._skill}/leaving/{len(self._leaving) + 1}"
            if await self._book.memory.find(key) is not None:
                continue
            why = ""
            try:
                await self._world.act(self._agent, command, arguments)
            except ActionFailed as error:
                why = str(error)
            except MemoryFailed:
                raise
            except Exception as error:  # noqa: BLE001 - the world is the user's code
                why = f"{type(error).__name__}: {error}".replace("\n", " ")[:500]
            about = {"skill": self._skill, "command": command, "arguments": arguments, "why": why}
            await self._book.log("cleanup", self._agent, about, key=key)
