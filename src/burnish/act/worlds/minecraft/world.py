"""Minecraft as the runtime sees it: observe, act, happenings. The game goes on whether anybody looks or not."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from burnish.act import clock
from burnish.act.recipe import MinecraftSettings
from burnish.act.world import ActionFailed, Happening
from burnish.act.worlds.minecraft.bridge import Bridge, Died
from burnish.act.worlds.minecraft.packages import install
from burnish.act.worlds.stock import missing
from burnish.core import paths
from burnish.core.errors import UserError

LOG = logging.getLogger(__name__)
RESTARTS = 3  # of the child, in one run
CONNECT_SECONDS = 30.0
SIGN_IN_SECONDS = 300.0


class MinecraftWorld:
    """A team of players on a server; one Node child for all of them, started at the first look.

    Args:
        settings: the recipe's.
        agents: the players' names.
        packages: folder with ``node_modules``; default: installed from the lock file into the cache.
    """

    def __init__(self, settings: MinecraftSettings, agents: Sequence[str], packages: Path | None = None) -> None:
        self._settings = settings
        self._agents = list(agents)
        self._packages = packages
        self._bridge: Bridge | None = None
        self._starts = 0
        self._lock = anyio.Lock()
        self._began: float | None = None
        self._listeners: list[deque[Happening]] = []
        self._changed = anyio.Event()
        self._lost: set[str] = set()

    async def observe(self, agent: str) -> dict[str, Any]:
        """See :class:`burnish.act.world.World`; the keys are craftworld's, places are [x, y, z].

        Raises:
            UserError: the server refuses the connection, or it was lost too often.
        """
        for _ in range(RESTARTS + 1):
            bridge = await self._running(agent)
            try:
                seen = dict(await bridge.call("observe", {"agent": agent}, CONNECT_SECONDS))
                break
            except Died:
                continue
        else:
            raise self._given_up()
        team = {name: Counter(held) for name, held in seen.pop("team").items()}
        goal = self._settings.goal
        own = missing(goal.items, Counter(seen["inventory"]))
        together = missing(goal.team_items, sum(team.values(), Counter()))
        state: dict[str, Any] = {}
        if goal.items:
            state |= {"items": dict(goal.items), "missing": own}
        if goal.team_items:
            state |= {"team_items": dict(goal.team_items), "team_missing": together}
        reached = bool(state) and not own and not together
        return {"time": round(self._time(), 2), **seen, "goal": state, "goal_reached": reached}

    async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`burnish.act.world.World`; the commands are those of craftworld that fit, and ``chat``."""
        bridge = await self._running(agent)
        limit = self._settings.command_seconds
        asked = {"agent": agent, "command": command, "arguments": dict(arguments)}
        return dict(await bridge.call("act", asked, limit))

    async def happenings(self) -> AsyncIterator[Happening]:
        """See :class:`burnish.act.world.World`: damage, death, item, disconnected, chat (never an instruction)."""
        news: deque[Happening] = deque()
        self._listeners.append(news)
        try:
            while True:
                while news:
                    yield news.popleft()
                changed = self._changed
                if not news:
                    await changed.wait()
        finally:
            self._listeners.remove(news)

    async def close(self) -> None:
        """Leave the game and end the child."""
        if self._bridge is not None:
            await self._bridge.close()
            self._bridge = None

    @property
    def pid(self) -> int | None:
        """The child's process id, while it runs."""
        return self._bridge.pid if self._bridge is not None and self._bridge.alive else None

    def _time(self) -> float:
        if self._began is None:
            self._began = clock.now()
        return clock.now() - self._began

    async def _running(self, agent: str) -> Bridge:
        if agent not in self._agents:
            raise UserError(f"{agent}: no such agent in this world")
        async with self._lock:
            if self._bridge is None or not self._bridge.alive:
                await self._start()
            assert self._bridge is not None
            if agent in self._lost:
                self._count()
                await self._connect(self._bridge, agent)
            return self._bridge

    def _count(self) -> None:
        if self._starts > RESTARTS:
            raise self._given_up()
        self._starts += 1

    async def _start(self) -> None:
        self._count()
        if self._bridge is not None:
            await self._bridge.close()
        if self._packages is None:
            self._packages = await anyio.to_thread.run_sync(install)
        bridge = Bridge(self._packages, self._heard)
        await bridge.start()
        try:
            for agent in self._agents:
                await self._connect(bridge, agent)
        except BaseException:
            await bridge.close()
            raise
        self._bridge = bridge

    async def _connect(self, bridge: Bridge, agent: str) -> None:
        settings = self._settings
        asked = {
            "agent": agent,
            "host": settings.host,
            "port": settings.port,
            "version": settings.version,
            "auth": settings.auth,
            "craft_command": settings.craft_command,
            "profiles": str(paths.cache() / "minecraft"),
        }
        where = f"{settings.host}:{settings.port}"
        try:
            await bridge.call("connect", asked, SIGN_IN_SECONDS if settings.auth == "microsoft" else CONNECT_SECONDS)
        except ActionFailed as error:
            raise UserError(
                f"world: the Minecraft server at {where} does not let {agent} in: {error}; see that it runs, with "
                f"version {settings.version}"
            ) from None
        self._lost.discard(agent)

    def _given_up(self) -> UserError:
        where = f"{self._settings.host}:{self._settings.port}"
        return UserError(f"world: the connection to {where} was lost {self._starts} times; look at the server's log")

    def _heard(self, params: Mapping[str, Any]) -> None:
        if params["kind"] == "disconnected":
            self._lost.add(params["agent"])
        happening = Happening(params["kind"], params["agent"], params["data"])
        for news in self._listeners:
            news.append(happening)
        self._changed.set()
        self._changed = anyio.Event()
