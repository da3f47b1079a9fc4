"""What there is in the world besides its map: agents' bodies, creatures, chests, and what an agent is doing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from burnish.act.worlds.craftworld.rules import HEALTH, HUNGER, LEASH, Cell, Kind, distance


@dataclass
class Order:
    """One command of one agent: what came of it, and whom to tell.

    Attributes:
        command: its name.
        wake: called once when it has ended.
        result: what came of it, or
        failure: why it did not work.
    """

    command: str
    wake: Callable[[], None]
    result: Mapping[str, Any] | None = None
    failure: str = ""


@dataclass
class Body:
    """An agent in the world.

    Attributes:
        stock: its inventory, what it wears and wields included; no limit of slots.
        opened: uses left of the tool of each kind that has been used.
        heat: items that the fuel in its furnace still smelts.
        fed: hunger at the tick ``fed_at``; it falls with time.
        ready: tick of its next blow.
        claim: the block that it means to take: nobody else is sent there.
        chest: the chest that it holds open: nobody else can.
        known: chunks that it has seen.
        met: agents of other teams that are a threat, as of the last step of either.
        gone: out of the world for good.
    """

    index: int
    name: str
    team: str
    at: Cell
    home: Cell
    stock: Counter[str] = field(default_factory=Counter)
    opened: dict[str, int] = field(default_factory=dict)
    heat: float = 0.0
    health: float = HEALTH
    fed: float = HUNGER
    fed_at: int = 0
    ready: int = 0
    hand: str | None = None
    worn: dict[str, str] = field(default_factory=dict)
    claim: Cell | None = None
    chest: Cell | None = None
    known: set[Cell] = field(default_factory=set)
    met: set[int] = field(default_factory=set)
    alive: bool = True
    gone: bool = False
    deaths: int = 0
    order: Order | None = None

    def wears(self) -> list[str]:
        """What it wears and still has."""
        return [item for item in self.worn.values() if self.stock[item] > 0]

    def wields(self) -> str | None:
        """What is in its hand, if it still has it."""
        return self.hand if self.hand is not None and self.stock[self.hand] > 0 else None

    def inventory(self) -> dict[str, int]:
        """Items and counts, sorted by name."""
        return {item: count for item, count in sorted(self.stock.items()) if count > 0}


@dataclass
class Creature:
    """An animal, a hunter or a boss.

    Attributes:
        born: tick from which a boss's cycles count.
        lair: where it keeps to; none for a hunter that came with the night and goes with it.
    """

    index: int
    name: str
    kind: Kind
    at: Cell
    health: float
    born: int = 0
    ready: int = 0
    lair: Cell | None = None

    def hunts(self, cell: Cell) -> bool:
        """Whether it goes for who stands there: hunters of the night do anywhere, others around their lair."""
        near = self.lair is None or distance(cell, self.lair) <= LEASH
        return self.kind.damage > 0 and near


@dataclass
class Chest:
    """A chest: its items, and who holds it open."""

    stock: Counter[str] = field(default_factory=Counter)
    held_by: str | None = None
