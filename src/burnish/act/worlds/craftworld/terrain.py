"""The map: deposits of every block that the data can mine, water, and where creatures live. A function of the seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from burnish.act.worlds.craftworld.rules import BOSSES, Cell, Tables, kind_of

# Deposits a hundred by hundred cells, and cells in one. What is not named has one deposit.
COMMON = {
    "oak_log": (40, 7),
    "birch_log": (14, 6),
    "spruce_log": (14, 6),
    "stone": (24, 22),
    "coal_ore": (16, 5),
    "iron_ore": (14, 5),
    "copper_ore": (8, 5),
    "gold_ore": (5, 4),
    "redstone_ore": (5, 5),
    "lapis_ore": (4, 4),
    "diamond_ore": (4, 4),
    "sand": (10, 12),
    "gravel": (8, 10),
    "clay": (6, 8),
    "dirt": (8, 10),
    "grass": (24, 5),
    "wheat": (16, 6),
    "carrots": (6, 5),
    "potatoes": (6, 5),
    "sugar_cane": (10, 4),
    "poppy": (6, 3),
    "dandelion": (6, 3),
}
FLUIDS = {"water": (6, 26), "lava": (2, 6), "powder_snow": (1, 4), "bee_nest": (4, 1), "sweet_berry_bush": (6, 2)}
RARE = (1, 5)
ROOM = 0.45  # share of the map that deposits of what is rare may take; beyond it agents could not move
HERDS = {"cow": 10, "pig": 8, "sheep": 10, "chicken": 10, "rabbit": 6, "cod": 5, "salmon": 5, "squid": 4}
LAIR = 14  # no lair of a hunter is nearer to where agents begin
PLANTS = ("grass", "wheat", "carrots", "potatoes", "beetroots", "poppy", "dandelion", "sweet_berry_bush", "sapling")


@dataclass(frozen=True)
class Terrain:
    """What stands where at the beginning.

    Attributes:
        size: cells on a side.
        blocks: block by cell.
        creatures: ``(name, cell)``, in a fixed order.
        spawn: the middle, where agents begin; free of blocks.
    """

    size: int
    blocks: dict[Cell, str]
    creatures: tuple[tuple[str, Cell], ...]
    spawn: Cell


def is_solid(block: str) -> bool:
    """Whether a block is in the way."""
    return not block.endswith(PLANTS)


def generate(seed: int, size: int, tables: Tables, creatures: bool) -> Terrain:
    """A map of ``size`` x ``size`` cells. Every block of the data, and if asked for every creature, is there."""
    rng = np.random.default_rng([seed, size])
    spawn = (size // 2, size // 2)
    blocks: dict[Cell, str] = {}
    share = size * size / 10_000
    deposits = {**dict.fromkeys(sorted(tables.drops), RARE), **COMMON, **FLUIDS}
    most = max(1, int(ROOM * size * size / len(deposits)))
    for block, (number, cells) in deposits.items():
        if block not in tables.drops and block not in FLUIDS:
            continue
        common = block in COMMON or block in FLUIDS
        for _ in range(max(1, round(number * share)) if common else max(1, round(share / 4))):
            _deposit(rng, blocks, block, cells if common else min(cells, most), size, spawn)
    living = tuple(_creatures(rng, blocks, tables, size, spawn, share)) if creatures else ()
    return Terrain(size, blocks, living, spawn)


def _deposit(rng: np.random.Generator, blocks: dict[Cell, str], block: str, cells: int, size: int, spawn: Cell) -> None:
    """A patch grown from a free cell, with gaps that one can walk through; smaller where there is no room."""
    for _ in range(30):
        x, y = (int(value) for value in rng.integers(2, size - 2, 2))
        if (x, y) not in blocks and max(abs(x - spawn[0]), abs(y - spawn[1])) > 2:
            break
    else:
        return
    border, left = [(x, y)], cells
    while border and left:
        cell = border.pop(int(rng.integers(len(border))))
        inside = 1 <= cell[0] < size - 1 and 1 <= cell[1] < size - 1
        if not inside or cell in blocks or max(abs(cell[0] - spawn[0]), abs(cell[1] - spawn[1])) <= 2:
            continue
        blocks[cell] = block
        left -= 1
        step = 2 if block.endswith("_log") else 1  # trunks stand apart
        border += [(cell[0] + dx * step, cell[1] + dy * step) for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1))]


def _creatures(
    rng: np.random.Generator, blocks: dict[Cell, str], tables: Tables, size: int, spawn: Cell, share: float
) -> Iterator[tuple[str, Cell]]:
    for name in sorted(set(tables.loot) - set(BOSSES)):
        hunter = kind_of(name, tables.health[name]).damage > 0
        for _ in range(max(1, round(HERDS.get(name, 1) * share))):
            for _ in range(50):
                x, y = (int(value) for value in rng.integers(1, size - 1, 2))
                far = max(abs(x - spawn[0]), abs(y - spawn[1])) > (min(LAIR, size // 2 - 4) if hunter else 2)
                if (x, y) not in blocks and far:
                    yield name, (x, y)
                    break
