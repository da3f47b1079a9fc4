"""Craftworld as the runtime sees it: observe, act, happenings. Ticks are computed when somebody looks."""

from __future__ import annotations

import inspect
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cache
from typing import Any

import anyio

from burnish.act import clock
from burnish.act.recipe import CraftworldSettings
from burnish.act.skills.crafting import Crafting, load_crafting
from burnish.act.world import ActionFailed, Happening
from burnish.act.worlds.craftworld import creatures, render, sight
from burnish.act.worlds.craftworld.bodies import Chest, Order
from burnish.act.worlds.craftworld.commands import COMMANDS
from burnish.act.worlds.craftworld.goals import Goal, orders
from burnish.act.worlds.craftworld.paths import around
from burnish.act.worlds.craftworld.processes import LIFE, SKY, Process
from burnish.act.worlds.craftworld.rules import BOSSES, TICKS, Cell, tables
from burnish.act.worlds.craftworld.simulation import Simulation
from burnish.act.worlds.craftworld.terrain import generate
from burnish.core.errors import UserError


class CraftWorld:
    """The embedded world.

    Args:
        settings: map, creatures, goal, what agents begin with.
        seed: of the map and of chance.
        teams: names of the agents of each team.

    Raises:
        UserError: an unknown item or boss, or a map without room.
    """

    def __init__(self, settings: CraftworldSettings, seed: int, teams: Mapping[str, Sequence[str]]) -> None:
        crafting = load_crafting()
        _check(settings, crafting)
        goal = settings.goal
        self._goal = Goal(goal.items, goal.team_items, goal.boss, goal.opponents)
        terrain = generate(seed, settings.size, tables(crafting), settings.creatures != "none")
        homes = _homes(terrain.spawn, settings.size, teams)
        for home in homes.values():
            for cell in (home, *around(home)):
                terrain.blocks.pop(cell, None)
        self.simulation = Simulation(
            seed,
            terrain,
            crafting,
            teams,
            homes,
            creatures.hunt,
            respawn=settings.respawn,
            day_ticks=round(settings.day_seconds * TICKS),
            first=settings.starts_at,
        )
        self._epoch: float | None = None
        self._changed = anyio.Event()
        self._listeners: list[deque[Happening]] = []
        self._populate(settings, homes)
        if settings.orders is not None:
            changes = orders(self.simulation, self._goal, settings.orders.every, settings.orders.items)
            self.simulation.start((SKY, 1), changes)

    def _populate(self, settings: CraftworldSettings, homes: Mapping[str, Cell]) -> None:
        world = self.simulation
        first, *others = homes.values()
        for home in others:
            world.grid.open_path(first, home)
        if settings.creatures != "all":
            for creature in [each for each in world.creatures.values() if each.kind.damage > 0]:
                world.remove_creature(creature)
        if settings.goal.boss is not None:
            self._place_boss(settings.goal.boss, settings.boss_health, first)
        if settings.creatures == "all":
            world.start((SKY, 0), creatures.nights(world))
        for body in world.bodies.values():
            world.start((LIFE, body.index), creatures.life(world, body))
            for item, count in settings.start.items():
                world.make(body.stock, item, count)
        if settings.chest:
            for home in homes.values():
                self._place_chest((home[0] + 1, home[1] + 1), settings.chest)

    def _place_boss(self, name: str, health: float | None, home: Cell) -> None:
        """A boss north of a home, in a clearing that one can walk to."""
        world, cell = self.simulation, (home[0], max(1, home[1] - 14))
        for spot in (cell, *around(cell)):
            if spot in world.grid.blocks:
                world.grid.clear(spot)
        world.grid.open_path(home, cell)
        boss = world.add_creature(name, cell)
        if health is not None:
            boss.health = health
        for body in world.bodies.values():
            world.wake_near(body)

    def _place_chest(self, cell: Cell, items: Mapping[str, int]) -> None:
        world = self.simulation
        if cell in world.grid.blocks:
            return
        world.grid.put(cell, "chest")
        world.chests[cell] = Chest()
        for item, count in items.items():
            world.make(world.chests[cell].stock, item, count)

    # The three methods of a world

    async def observe(self, agent: str) -> dict[str, Any]:
        """See :class:`burnish.act.world.World`."""
        self._advance()
        return sight.observe(self.simulation, self._body(agent), self._goal)

    async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`burnish.act.world.World`; the commands are those of ``commands.py``."""
        self._advance()
        body = self._body(agent)
        function = COMMANDS.get(command)
        if function is None:
            raise ActionFailed(f"there is no command `{command}`; known: {', '.join(COMMANDS)}")
        try:
            _signature(function).bind(self.simulation, body, **arguments)
        except TypeError as error:
            raise ActionFailed(f"{command}: {error}") from None
        if not body.alive:
            if command in ("release", "close"):  # who died has let go of everything
                return {}
            raise await self._lie(agent)
        if body.order is not None:
            raise ActionFailed(f"{agent} does something else already: {body.order.command}")
        ended = anyio.Event()
        order = Order(command, ended.set)
        self.simulation.give(body, order, function(self.simulation, body, **arguments))
        self._changed.set()
        try:
            await ended.wait()
        finally:
            self._advance()
            self.simulation.give_up(body, order)
            self._changed.set()
        if order.result is None:
            raise ActionFailed(order.failure)
        return dict(order.result)

    async def _lie(self, agent: str) -> ActionFailed:
        """The dead can do nothing; a moment passes, so that nobody asks without end."""
        await anyio.sleep(1.0)
        return ActionFailed(f"{agent} is dead")

    async def happenings(self) -> AsyncIterator[Happening]:
        """See :class:`burnish.act.world.World`. The world goes on while somebody listens."""
        news: deque[Happening] = deque()
        self._listeners.append(news)
        try:
            while True:
                self._advance()
                while news:
                    yield news.popleft()
                self._changed = anyio.Event() if self._changed.is_set() else self._changed
                changed = self._changed
                due = self.simulation.due()
                wait = math.inf if due is None else due / TICKS - self._elapsed()
                with anyio.move_on_after(wait):
                    await changed.wait()
        finally:
            self._listeners.remove(news)

    # For people and tests

    def team(self, name: str) -> TeamView:
        """The world as one team of several sees it: only its own happenings, and those of all."""
        return TeamView(self, name)

    def render(self) -> str:
        """The map as SVG."""
        self._advance()
        return render.svg(self.simulation)

    def ascii(self) -> str:
        """The map as text."""
        self._advance()
        return render.ascii_map(self.simulation)

    def conserved(self) -> bool:
        """Whether all items that were made, less those used up, are still somewhere."""
        world = self.simulation
        made = Counter(world.made)
        made.subtract(world.used)
        return world.books() == +made and min(made.values(), default=0) >= 0

    # Time

    def _elapsed(self) -> float:
        if self._epoch is None:
            self._epoch = clock.now()
        return clock.now() - self._epoch

    def _advance(self) -> None:
        world = self.simulation
        world.advance(math.floor(self._elapsed() * TICKS + 1e-6))
        if world.news:
            for news in self._listeners:
                news.extend(world.news)
            world.news.clear()
            self._changed.set()

    def _body(self, agent: str) -> Any:
        body = self.simulation.bodies.get(agent)
        if body is None:
            raise UserError(f"{agent}: no such agent in this world")
        return body


class TeamView:
    """A :class:`CraftWorld` for one of its teams."""

    def __init__(self, world: CraftWorld, team: str) -> None:
        self._world = world
        self._names = {body.name for body in world.simulation.bodies.values() if body.team == team}

    async def observe(self, agent: str) -> dict[str, Any]:
        """See :class:`burnish.act.world.World`."""
        return await self._world.observe(agent)

    async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`burnish.act.world.World`."""
        return await self._world.act(agent, command, arguments)

    async def happenings(self) -> AsyncIterator[Happening]:
        """See :class:`burnish.act.world.World`."""
        async for happening in self._world.happenings():
            if not happening.agent or happening.agent in self._names:
                yield happening


@cache
def _signature(command: Callable[..., Process]) -> inspect.Signature:
    return inspect.signature(command)


def _homes(spawn: Cell, size: int, teams: Mapping[str, Sequence[str]]) -> dict[str, Cell]:
    """One team in the middle; several on a circle around it."""
    if len(teams) == 1:
        return dict.fromkeys(teams, spawn)
    radius = min(size // 2 - 3, 20)
    turns = [2 * math.pi * number / len(teams) for number in range(len(teams))]
    return {
        team: (spawn[0] + round(radius * math.cos(turn)), spawn[1] + round(radius * math.sin(turn)))
        for team, turn in zip(teams, turns, strict=True)
    }


def _check(settings: CraftworldSettings, crafting: Crafting) -> None:
    asked = {
        "goal.items": settings.goal.items,
        "goal.team_items": settings.goal.team_items,
        "start": settings.start,
        "chest": settings.chest,
        "orders.items": [] if settings.orders is None else settings.orders.items,
    }
    for where, items in asked.items():
        for item in items:
            try:
                crafting.known(item)
            except UserError as error:
                raise UserError(f"world.{where}: {error}") from None
    if settings.goal.boss is not None and settings.goal.boss not in BOSSES:
        raise UserError(f"world.goal.boss: `{settings.goal.boss}` is no boss; known: {', '.join(BOSSES)}")
