"""Paths in craftworld: the search against a plain one, small maps leave room, whom one is to fight can be reached."""

from __future__ import annotations

import itertools
from collections import deque

import numpy as np
import pytest

from burnish.act.recipe import CraftworldSettings, GoalSettings
from burnish.act.skills.crafting import load_crafting
from burnish.act.worlds.craftworld.paths import Grid, around
from burnish.act.worlds.craftworld.rules import Cell, distance, tables
from burnish.act.worlds.craftworld.terrain import generate, is_solid
from burnish.act.worlds.craftworld.world import CraftWorld


def reached(grid: Grid, start: Cell) -> dict[Cell, int]:
    """Every cell that can be walked to, and in how many steps: breadth first."""
    steps, border = {start: 0}, deque([start])
    while border:
        here = border.popleft()
        for cell in around(here):
            if cell not in steps and grid.free(cell):
                steps[cell] = steps[here] + 1
                border.append(cell)
    return steps


def maze(seed: int, size: int = 20) -> Grid:
    rng = np.random.default_rng(seed)
    cells = {(int(x), int(y)): "stone" for x, y in rng.integers(0, size, (int(size * size * 0.45), 2))}
    cells.pop((0, 0), None)
    return Grid(size, cells)


@pytest.mark.parametrize("seed", range(8))
def test_the_search_finds_a_shortest_way_or_none(seed: int) -> None:
    grid = maze(seed)
    steps = reached(grid, (0, 0))
    for goal in [(19, 19), (10, 3), (5, 17), (0, 0), (12, 12)]:
        for near in (0, 2):
            within = [count for cell, count in steps.items() if distance(cell, goal) <= near]
            path = grid.path((0, 0), goal, near)
            if not within:
                assert path is None
                continue
            assert path is not None
            cells = [(0, 0), *path]
            assert all(distance(a, b) == 1 and grid.free(b) for a, b in itertools.pairwise(cells))
            assert distance(cells[-1], goal) <= near
            assert len(path) == min(within)


@pytest.mark.parametrize("seed", range(8))
def test_towards_takes_the_first_distance_that_can_be_reached(seed: int) -> None:
    grid, gaps = maze(seed), (0, 2, 4, 8)
    steps = reached(grid, (0, 0))
    for goal in [(19, 19), (10, 3), (5, 17), (12, 12)]:
        first = next((gap for gap in gaps if any(distance(cell, goal) <= gap for cell in steps)), None)
        path = grid.towards((0, 0), goal, gaps)
        if first is None:
            assert path is None
        else:
            assert path is not None
            assert distance([(0, 0), *path][-1], goal) <= first


@pytest.mark.parametrize("size", [32, 36, 48])
def test_small_maps_leave_room_to_move(size: int) -> None:
    world = tables(load_crafting())
    for seed in range(4):
        terrain = generate(seed, size, world, creatures=False)
        free = size * size - sum(is_solid(block) for block in terrain.blocks.values())
        assert len(reached(Grid(size, terrain.blocks), terrain.spawn)) > 0.9 * free


def test_a_boss_and_the_other_team_can_be_walked_to() -> None:
    teams = {"home": ["ann"], "away": ["eve"]}
    for seed in range(10, 26):  # 10, 23 and 24 have a wall around the boss
        settings = CraftworldSettings(size=48, creatures="none", goal=GoalSettings(boss="elder_guardian"))
        world = CraftWorld(settings, seed, teams).simulation
        boss = next(each for each in world.creatures.values() if each.name == "elder_guardian")
        cells = reached(world.grid, world.bodies["ann"].at)
        assert world.bodies["eve"].at in cells
        assert boss.at in cells


def test_rings_and_the_nearest_block_against_looking_everywhere() -> None:
    grid = Grid(61, {(int(x), int(y)): "stone" for x, y in np.random.default_rng(3).integers(0, 61, (300, 2))})
    every = list(grid.chunks_around((0, 0), 99))
    for chunk in [(0, 0), (3, 4), (7, 7)]:
        for reach in range(8):
            assert list(grid.ring(chunk, reach)) == [each for each in every if distance(each, chunk) == reach]
    known = set(every[::2])
    taken = dict.fromkeys(list(grid.blocks)[::3], "ann")
    free = [cell for cell in grid.blocks if cell not in taken and (cell[0] // 8, cell[1] // 8) in known]
    for start in [(0, 0), (30, 30), (60, 12)]:
        best = min(free, key=lambda cell: (distance(start, cell), cell[1], cell[0]))
        assert grid.nearest(start, ["stone"], known, taken) == best
    assert grid.nearest((0, 0), ["stone"], set(), {}) is None
