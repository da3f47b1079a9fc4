"""What items are and how each can be had: crafted, smelted, mined, taken from creatures, or collected."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

from burnish.core.errors import UserError, nearest

FURNACE = "furnace"
REUSED = 0.01  # share of a tool's or station's cost charged to what it serves: it serves again and again


@dataclass(frozen=True)
class Craft:
    """Turn ``uses`` into ``makes`` of ``item``, at a station or (``at`` is None) in the hands."""

    item: str
    makes: int
    uses: Mapping[str, int]
    at: str | None


@dataclass(frozen=True)
class Smelt:
    """Turn one ``source`` into one ``item`` in a furnace, by fuel."""

    item: str
    source: str


@dataclass(frozen=True)
class Mine:
    """Break ``block``: any of ``tools``, or the hand if there are none. ``chance``: items for a block, on average."""

    item: str
    block: str
    tools: tuple[str, ...]
    chance: float
    hardness: float

    @property
    def effort(self) -> float:
        """In blocks of no hardness broken, for one item."""
        return (1.0 + 0.02 * max(self.hardness, 0.0)) / self.chance


@dataclass(frozen=True)
class Kill:
    """Take ``item`` from ``creature`` of that ``health``. ``chance``: items for a creature, on average."""

    item: str
    creature: str
    chance: float
    health: int

    @property
    def effort(self) -> float:
        """In blocks broken, for one item."""
        return (1.0 + 0.2 * self.health) / self.chance


@dataclass(frozen=True)
class Collect:
    """Use something on ``source`` (water, a cow): ``uses`` is used up each time, any of ``tools`` only wears."""

    item: str
    source: str
    uses: Mapping[str, int]
    tools: tuple[str, ...]


Production = Craft | Smelt | Mine | Kill | Collect
"""One of the possibilities to get an item."""


@dataclass(frozen=True)
class Item:
    """Attributes: the most in one slot, uses before it breaks (tools), hunger that it stills (food)."""

    stack: int
    uses: int | None = None
    food: float | None = None


@dataclass(frozen=True)
class Crafting:
    """The rules of a world of items.

    Attributes:
        items: every item that exists.
        productions: how each can be had, in the data's order; an item without an entry cannot.
        fuel: items that one piece of fuel smelts; the first that can be had is burnt.
        remainders: what stays in hand when an ingredient is used up (a bucket of its milk).
        withheld: why an item cannot be had.
    """

    items: Mapping[str, Item]
    productions: Mapping[str, tuple[Production, ...]]
    fuel: Mapping[str, float]
    remainders: Mapping[str, str]
    withheld: Mapping[str, str]

    def known(self, item: str) -> str:
        """``item``, if it exists.

        Raises:
            UserError: it does not; the nearest name is given.
        """
        if item not in self.items:
            raise UserError(f"item: `{item}` is unknown; {nearest(item, sorted(self.items))}")
        return item

    @cached_property
    def costs(self) -> Mapping[str, float]:
        """Effort for one of each item from nothing, in blocks broken; an item that cannot be had is absent.

        The least fixed point of the productions' costs (Knuth's generalisation of Dijkstra, by rounds): from infinity
        downwards, so that an item made of itself alone (a block of nine ingots of a block) stays out of reach.
        """
        costs: dict[str, float] = {}
        changed = True
        while changed:
            changed = False
            for item, productions in self.productions.items():
                best = min(production_cost(production, costs, self.fuel) for production in productions)
                if best < costs.get(item, math.inf) - 1e-12:
                    costs[item] = best
                    changed = True
        return costs


def batch_parts(production: Production) -> list[tuple[str, int]]:
    """The items that one batch of this production uses up, and how many."""
    if isinstance(production, Smelt):
        return [(production.source, 1)]
    return list(production.uses.items()) if isinstance(production, Craft | Collect) else []


def parts(production: Production) -> Iterator[tuple[str, float]]:
    """The items that one item of this production uses up, and how many."""
    makes = production.makes if isinstance(production, Craft) else 1
    return ((name, need / makes) for name, need in batch_parts(production))


def production_cost(production: Production, costs: Mapping[str, float], fuel: Mapping[str, float]) -> float:
    """Effort for one item by this production, given the costs of its parts; infinite while one of them has none."""
    total = sum(count * costs.get(name, math.inf) for name, count in parts(production))
    if isinstance(production, Craft):
        return total + 0.05 + (REUSED * costs.get(production.at, math.inf) if production.at else 0.0)
    if isinstance(production, Smelt):
        heat = next((costs[name] / burns for name, burns in fuel.items() if name in costs), math.inf)
        return total + 0.5 + heat + REUSED * costs.get(FURNACE, math.inf)
    if isinstance(production, Kill):
        return production.effort
    tool = REUSED * min(costs.get(name, math.inf) for name in production.tools) if production.tools else 0.0
    if isinstance(production, Collect):
        return total + 2.0 + tool
    return production.effort + tool


@lru_cache(maxsize=1)
def load_crafting() -> Crafting:
    """The embedded rules: Java edition 1.20, from minecraft-data (MIT); `tools/crafting_data.py` writes the file."""
    text = files("burnish.act").joinpath("data/crafting.json").read_text()
    return crafting_from(json.loads(text))


def crafting_from(data: Mapping[str, Any]) -> Crafting:
    """Rules from the parsed JSON: the tables items, craft, smelt, mine, loot, collect, fuel, remainders, withheld."""
    productions: dict[str, list[Production]] = {}
    for item, rows in data["mine"].items():
        productions.setdefault(item, []).extend(
            Mine(item, row["block"], tuple(row["tools"]), row["chance"], row["hardness"]) for row in rows
        )
    for item, rows in data["craft"].items():
        productions.setdefault(item, []).extend(Craft(item, row["makes"], row["uses"], row["at"]) for row in rows)
    for item, sources in data["smelt"].items():
        productions.setdefault(item, []).extend(Smelt(item, source) for source in sources)
    for item, rows in data["loot"].items():
        productions.setdefault(item, []).extend(
            Kill(item, row["creature"], row["chance"], row["health"]) for row in rows
        )
    for item, row in data["collect"].items():
        productions.setdefault(item, []).append(Collect(item, row["from"], row["uses"], tuple(row["tools"])))
    return Crafting(
        items={name: Item(**about) for name, about in data["items"].items()},
        productions={item: tuple(found) for item, found in productions.items()},
        fuel=data["fuel"],
        remainders=data["remainders"],
        withheld=data["withheld"],
    )
