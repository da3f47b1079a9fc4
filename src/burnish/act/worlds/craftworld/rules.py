"""The numbers of craftworld, and the pure functions on them. Items, tools, drops and food: ``skills/crafting.py``.

Where nothing else is said the numbers are the game's (Java edition 1.20); ``docs/craftworld.md`` lists what is simpler.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from burnish.act.skills.crafting import Collect, Crafting, Kill, Mine

TICKS = 20  # a second
CHUNK = 8  # cells on a side; the unit of the spatial index and of what an agent knows
SIGHT = 16  # cells
THREAT_RANGE = 10  # cells; who hunts is a threat from here on
REACH = 2  # cells, of hands
STEP = 5  # ticks a cell: 4 cells a second
HEALTH, HUNGER = 20.0, 20.0
HUNGER_TICKS = 40 * TICKS  # for one point
HEAL_TICKS, HEALS_FROM = 4 * TICKS, 16.0  # one point of health, while hunger is at least so
EAT_TICKS, CRAFT_TICKS, SET_UP_TICKS, SMELT_TICKS = 32, 10, 20, 200
RESPAWN_TICKS = 10 * TICKS
NIGHT = (0.5, 0.95)  # share of the day
HUNT_RANGE, WAKE_TICKS = 12, 8
LEASH = 6  # cells around its lair that a hunter of the day keeps to

Cell = tuple[int, int]

_MASK = 2**64 - 1


def draw(*parts: int) -> float:
    """A number in [0, 1) that depends on ``parts`` alone: chance without a state, so without an order."""
    x = 0x9E3779B97F4A7C15
    for part in parts:
        x = ((x ^ (part & _MASK)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        x ^= x >> 31
    return x / 2**64


def distance(a: Cell, b: Cell) -> int:
    """Steps between two cells; a diagonal step is one."""
    return max(abs(a[0] - b[0]), abs(a[1] - b[1]))


def chunk_of(cell: Cell) -> Cell:
    """The chunk that a cell lies in."""
    return cell[0] // CHUNK, cell[1] // CHUNK


def is_night(share: float) -> bool:
    """Whether it is night at this share of the day."""
    return NIGHT[0] <= share % 1.0 < NIGHT[1]


# Tools and weapons

SPEED = {"wooden": 2.0, "stone": 4.0, "iron": 6.0, "diamond": 8.0, "netherite": 9.0, "golden": 12.0}
_SWORD = {"wooden": 4.0, "stone": 5.0, "iron": 6.0, "diamond": 7.0, "netherite": 8.0, "golden": 4.0}
_ARMOUR = {"leather": 0, "golden": 1, "chainmail": 2, "iron": 3, "diamond": 4, "netherite": 4}
_POINTS = {
    "helmet": (1, 2, 2, 2, 3),
    "chestplate": (3, 5, 5, 6, 8),
    "leggings": (2, 3, 4, 5, 6),
    "boots": (1, 1, 1, 2, 3),
}
SLOTS = ("helmet", "chestplate", "leggings", "boots")
SWORD_TICKS, AXE_TICKS, FIST_TICKS = 13, 20, 10


def slot_of(item: str) -> str | None:
    """Where an item is worn: helmet, chestplate, leggings, boots, ``off_hand`` for a shield; ``None``: in the hand."""
    kind = item.rpartition("_")[2]
    return kind if kind in SLOTS else "off_hand" if item == "shield" else None


def armour(worn: Iterable[str]) -> float:
    """Share of a blow that is taken off: 4 % a point of armour; a shield takes a quarter of the rest."""
    points, through = 0, 1.0
    for item in worn:
        material, _, kind = item.rpartition("_")
        if kind in _POINTS:
            points += _POINTS[kind][_ARMOUR.get(material, 2)]
        elif item == "shield":
            through = 0.75
    return 1.0 - through * (1.0 - 0.04 * min(points, 20))


def blow(item: str | None) -> tuple[float, int]:
    """Damage of one blow with what is in the hand, and the ticks until the next."""
    material, _, kind = (item or "").rpartition("_")
    if kind == "sword":
        return _SWORD.get(material, 4.0), SWORD_TICKS
    if kind == "axe":
        return (7.0 if material in ("wooden", "golden") else 9.0), AXE_TICKS
    return 1.0, FIST_TICKS


def fits(tool: str, block: str) -> bool:
    """Whether a tool is of the kind that breaks a block faster."""
    kind = tool.rpartition("_")[2]
    if kind == "axe":
        return block.endswith(("_log", "_stem", "_planks", "bamboo", "melon", "pumpkin", "crafting_table", "chest"))
    if kind == "shovel":
        return any(
            word in block for word in ("dirt", "sand", "gravel", "clay", "mud", "snow", "grass_block", "soul_soil")
        )
    return False


def break_ticks(block: str, tool: str | None, needed: tuple[str, ...], hardness: float) -> int:
    """Ticks to break a block: hardness x 1.5 s with what harvests it, divided by the speed of a fitting tool."""
    speed = 1.0
    if tool is not None and (tool in needed or fits(tool, block)):
        speed = SPEED.get(tool.partition("_")[0], 1.0)
    return max(1, math.ceil(hardness * 1.5 * TICKS / speed))


# Creatures


@dataclass(frozen=True)
class Kind:
    """A kind of creature.

    Attributes:
        health: points.
        damage: of one blow; 0 for the peaceful.
        reach: cells.
        pause: ticks between blows.
        hide: share of a blow that gets through.
        burst: damage to all within ``radius`` at the end of each cycle of ``period`` ticks; its last ``charge`` ticks
            are a warning.
    """

    health: float
    damage: float = 0.0
    reach: int = 1
    pause: int = TICKS
    hide: float = 1.0
    burst: float = 0.0
    radius: int = 0
    period: int = 0
    charge: int = 0


BOSSES: Mapping[str, Kind] = {
    "elder_guardian": Kind(80, 2.0, 2, 40, 0.5, burst=12.0, radius=6, period=20 * TICKS, charge=8 * TICKS),
    "wither": Kind(300, 2.0, 2, 40, 0.5, burst=14.0, radius=7, period=24 * TICKS, charge=10 * TICKS),
    "ender_dragon": Kind(200, 3.0, 2, 40, 0.5, burst=16.0, radius=8, period=30 * TICKS, charge=12 * TICKS),
}
_BLOWS = {
    **dict.fromkeys(("zombie", "husk", "drowned", "zombie_villager", "zombified_piglin", "slime", "silverfish"), 3.0),
    **dict.fromkeys(("spider", "cave_spider", "endermite", "phantom", "vex"), 2.0),
    **dict.fromkeys(("blaze", "evoker", "magma_cube", "zoglin", "hoglin", "guardian", "witch"), 5.0),
    **dict.fromkeys(("enderman", "wither_skeleton", "vindicator", "ravager"), 7.0),
    "warden": 16.0,
}
_SHOTS = {"skeleton": 3.0, "stray": 3.0, "ghast": 6.0, "shulker": 4.0}
NIGHT_HUNTERS = ("zombie", "skeleton", "spider")


@lru_cache(maxsize=256)
def kind_of(name: str, health: int) -> Kind:
    """The kind of a creature of the data file: those that strike, those that shoot, and the peaceful."""
    if name in BOSSES:
        return BOSSES[name]
    if name in _SHOTS:
        return Kind(health, _SHOTS[name], reach=6, pause=2 * TICKS)
    return Kind(health, _BLOWS.get(name, 0.0))


# Tables by block and by creature, from the data's tables by item


@dataclass(frozen=True)
class Tables:
    """The crafting data by what it is taken from.

    Attributes:
        drops: of each block, what breaking it may give.
        loot: of each creature, what killing it may give.
        collected: of each item that is collected, how.
        health: of each creature.
    """

    drops: Mapping[str, tuple[Mine, ...]]
    loot: Mapping[str, tuple[Kill, ...]]
    collected: Mapping[str, Collect]
    health: Mapping[str, int]


def tables(crafting: Crafting) -> Tables:
    """Turn the tables round."""
    drops: dict[str, list[Mine]] = defaultdict(list)
    loot: dict[str, list[Kill]] = defaultdict(list)
    collected: dict[str, Collect] = {}
    for productions in crafting.productions.values():
        for production in productions:
            if isinstance(production, Mine):
                drops[production.block].append(production)
            elif isinstance(production, Kill):
                loot[production.creature].append(production)
            elif isinstance(production, Collect):
                collected[production.item] = production
    return Tables(
        {block: tuple(found) for block, found in drops.items()},
        {name: tuple(found) for name, found in loot.items()},
        collected,
        {name: found[0].health for name, found in loot.items()},
    )
