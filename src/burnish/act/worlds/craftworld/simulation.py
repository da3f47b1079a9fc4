"""The state of the world: agents and creatures in their places, items, chests, chance. Knows no event loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from burnish.act.skills.crafting import Crafting
from burnish.act.world import ActionFailed, Happening
from burnish.act.worlds.craftworld import rules
from burnish.act.worlds.craftworld.bodies import Body, Chest, Creature, Order
from burnish.act.worlds.craftworld.paths import Grid
from burnish.act.worlds.craftworld.processes import BODY, CREATURE, Key, Process, Processes
from burnish.act.worlds.craftworld.rules import Cell, chunk_of, distance
from burnish.act.worlds.craftworld.terrain import Terrain

_NOBODY: Mapping[Cell, set[int]] = {}


class Simulation(Processes):
    """The state of the world and its clock of ticks.

    Args:
        seed: of chance.
        terrain: the map at the beginning.
        crafting: items and recipes.
        teams: names of the agents of each team.
        homes: where each team begins.
        hunt: what a creature does once an agent is near.
        respawn: whether the dead come back.
        day_ticks: a day and a night.
        first: share of the day at tick 0.
    """

    def __init__(
        self,
        seed: int,
        terrain: Terrain,
        crafting: Crafting,
        teams: Mapping[str, Sequence[str]],
        homes: Mapping[str, Cell],
        hunt: Callable[[Any, Creature], Process],
        *,
        respawn: bool,
        day_ticks: int,
        first: float,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.crafting = crafting
        self.tables = rules.tables(crafting)
        self.grid = Grid(terrain.size, terrain.blocks)
        self._hunt = hunt
        self.respawn = respawn
        self.day_ticks = day_ticks
        self.first = first
        self.news: list[Happening] = []
        self.made: Counter[str] = Counter()
        self.used: Counter[str] = Counter()
        self.chests: dict[Cell, Chest] = {}
        self.piles: dict[Cell, Counter[str]] = {}
        self.claims: dict[Cell, str] = {}
        self.dead_bosses: set[str] = set()
        self.left = {team: len(names) for team, names in teams.items()}
        self.bodies: dict[str, Body] = {}
        self.creatures: dict[int, Creature] = {}
        self.by_index: list[Body] = []
        self._crowds: dict[Cell, dict[Cell, set[int]]] = {}
        """By chunk, by cell: the living who stand there. A crowd on one cell is looked at once."""
        self._creature_chunks: dict[Cell, set[int]] = {}
        self._creature_count = 0
        for team, names in teams.items():
            for name in names:
                body = Body(len(self.by_index), name, team, homes[team], homes[team])
                self.bodies[name] = body
                self.by_index.append(body)
                self._enter(body)
        for name, cell in terrain.creatures:
            self.add_creature(name, cell)
        for body in self.by_index:
            self.wake_near(body)

    # Commands

    def give(self, body: Body, order: Order, process: Process) -> None:
        """Let an agent begin a command at the next tick."""
        body.order = order
        self.start((BODY, body.index), process)

    def give_up(self, body: Body, order: Order) -> None:
        """Take a command back, unless it has ended."""
        if body.order is order:
            body.order = None
            self.stop((BODY, body.index))

    def fail(self, body: Body, why: str) -> None:
        """End an agent's command from outside of it."""
        self.stop((BODY, body.index))
        self._ended(body, None, why)

    def over(self, key: Key, result: Any, failure: str) -> None:
        """See :class:`Processes`: an agent's command has ended."""
        if key[0] == BODY:
            self._ended(self.by_index[key[1]], result, failure)

    def _ended(self, body: Body, result: Any, failure: str) -> None:
        order, body.order = body.order, None
        if order is not None:
            order.result, order.failure = result, failure
            order.wake()

    def chance(self, *parts: int) -> float:
        """A number in [0, 1) for this moment and these parts."""
        return rules.draw(self.seed, self.tick, *parts)

    @property
    def night(self) -> bool:
        """Whether it is night."""
        return rules.is_night(self.first + self.tick / self.day_ticks)

    # Items: each is made once and used up once, and the books are kept

    def make(self, stock: Counter[str], item: str, count: int) -> None:
        """Items come into the world."""
        self.made[item] += count
        stock[item] += count

    def use(self, stock: Counter[str], item: str, count: int) -> None:
        """Items go out of the world.

        Raises:
            ActionFailed: there are not so many.
        """
        if stock[item] < count:
            raise ActionFailed(f"needs {count} {item}, has {stock[item]}")
        self.used[item] += count
        _take(stock, item, count)

    def move(self, source: Counter[str], target: Counter[str], item: str, count: int) -> None:
        """Items change hands.

        Raises:
            ActionFailed: there are not so many.
        """
        if source[item] < count:
            raise ActionFailed(f"has {source[item]} {item}, not {count}")
        _take(source, item, count)
        target[item] += count

    def wear(self, body: Body, item: str, uses: int = 1) -> None:
        """Use a tool; a worn-out one is used up."""
        lasts = self.crafting.items[item].uses
        if lasts is None:
            return
        left = body.opened.pop(item, lasts) - uses
        if left > 0:
            body.opened[item] = left
        else:
            self.use(body.stock, item, 1)

    def books(self) -> Counter[str]:
        """All items that lie or are carried anywhere; equal to what was made less what was used, always."""
        total: Counter[str] = Counter()
        for stock in self._stocks():
            total.update(stock)
        return +total

    def _stocks(self) -> Iterator[Counter[str]]:
        yield from (body.stock for body in self.by_index)
        yield from (chest.stock for chest in self.chests.values())
        yield from self.piles.values()

    # Places

    def place_body(self, body: Body, cell: Cell) -> None:
        """Move an agent; it picks up what lies there and sees what is around."""
        before = chunk_of(body.at)
        self._leave(body)
        body.at = cell
        pile = self.piles.pop(cell, None)
        if pile is not None:
            body.stock.update(pile)
        if chunk_of(cell) != before:
            self._enter(body)
            self.wake_near(body)
        else:
            self._stand(body)
        if len(self.left) > 1:
            self._meet(body)

    def _meet(self, body: Body) -> None:
        """Agents of other teams that come into range are told of each other, once until they part."""
        near = {each.index: each for each in self.bodies_near(body.at, rules.THREAT_RANGE) if each.team != body.team}
        for index, other in near.items():
            if index not in body.met:
                gap = distance(other.at, body.at)
                self.tell("threat", body.name, name=other.name, distance=gap)
                self.tell("threat", other.name, name=body.name, distance=gap)
                other.met.add(body.index)
        for index in body.met - near.keys():
            self.by_index[index].met.discard(body.index)
        body.met = set(near)

    def remove_body(self, body: Body) -> None:
        """Take an agent off the map."""
        self._leave(body)

    def _enter(self, body: Body) -> None:
        self._stand(body)
        reach = rules.SIGHT // rules.CHUNK
        body.known.update(self.grid.chunks_around(chunk_of(body.at), reach))

    def _stand(self, body: Body) -> None:
        self._crowds.setdefault(chunk_of(body.at), {}).setdefault(body.at, set()).add(body.index)

    def _leave(self, body: Body) -> None:
        cells = self._crowds[chunk_of(body.at)]
        cells[body.at].remove(body.index)
        if not cells[body.at]:
            del cells[body.at]

    def put_body(self, body: Body, cell: Cell) -> None:
        """Put an agent onto the map."""
        body.at = cell
        self._enter(body)
        self.wake_near(body)

    def bodies_near(self, cell: Cell, reach: int) -> list[Body]:
        """Living agents within ``reach`` cells, nearest first."""
        return [self.by_index[index] for _, crowd in self.crowds_near(cell, reach) for index in crowd]

    def crowds_near(self, cell: Cell, reach: int) -> Iterator[tuple[int, list[int]]]:
        """The same as indices by distance: who needs the nearest alone is not kept up by a crowd."""
        x, y = cell
        rings: dict[int, list[set[int]]] = {}
        for chunk in self.grid.chunks_around(chunk_of(cell), -(-reach // rules.CHUNK)):
            for (its_x, its_y), crowd in self._crowds.get(chunk, _NOBODY).items():
                far = max(abs(its_x - x), abs(its_y - y))
                if far <= reach:
                    rings.setdefault(far, []).append(crowd)
        for far, crowds in sorted(rings.items()):
            yield far, sorted(set[int]().union(*crowds))

    def inhabited(self) -> list[Cell]:
        """Chunks with a living agent in them, in order."""
        return sorted(chunk for chunk, crowds in self._crowds.items() if crowds)

    def creatures_near(self, cell: Cell, reach: int) -> list[Creature]:
        """Creatures within ``reach`` cells, nearest first."""
        found = [
            creature
            for chunk in self.grid.chunks_around(chunk_of(cell), -(-reach // rules.CHUNK))
            for creature in (self.creatures[index] for index in self._creature_chunks.get(chunk, ()))
            if distance(creature.at, cell) <= reach
        ]
        return sorted(found, key=lambda creature: (distance(creature.at, cell), creature.index))

    # Creatures

    def add_creature(self, name: str, cell: Cell, lair: bool = True) -> Creature:
        """A creature comes, to live there or (without a lair) for the night; it sleeps until an agent is near."""
        kind = rules.kind_of(name, self.tables.health.get(name, 20))
        self._creature_count += 1
        home = cell if lair else None
        creature = Creature(self._creature_count, name, kind, cell, kind.health, born=self.tick, lair=home)
        self.creatures[creature.index] = creature
        self._creature_chunks.setdefault(chunk_of(cell), set()).add(creature.index)
        return creature

    def remove_creature(self, creature: Creature) -> None:
        """A creature goes."""
        self.stop((CREATURE, creature.index))
        self._creature_chunks[chunk_of(creature.at)].discard(creature.index)
        del self.creatures[creature.index]

    def move_creature(self, creature: Creature, cell: Cell) -> None:
        """A creature walks."""
        self._creature_chunks[chunk_of(creature.at)].discard(creature.index)
        creature.at = cell
        self._creature_chunks.setdefault(chunk_of(cell), set()).add(creature.index)

    def wake_near(self, body: Body) -> None:
        """Hunters near an agent begin to hunt."""
        for creature in self.creatures_near(body.at, rules.SIGHT):
            if creature.kind.damage > 0 and not self.runs((CREATURE, creature.index)):
                self.start((CREATURE, creature.index), self._hunt(self, creature))

    def tell(self, kind: str, agent: str, **data: Any) -> None:
        """Something has happened."""
        self.news.append(Happening(kind, agent, data))


def _take(stock: Counter[str], item: str, count: int) -> None:
    stock[item] -= count
    if not stock[item]:
        del stock[item]
