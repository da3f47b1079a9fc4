"""Commands that move an agent through craftworld: to a place, to a creature, away from one, to what it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.act.world import ActionFailed
from burnish.act.worlds.craftworld import rules
from burnish.act.worlds.craftworld.bodies import Body, Creature
from burnish.act.worlds.craftworld.paths import around
from burnish.act.worlds.craftworld.processes import Process
from burnish.act.worlds.craftworld.rules import REACH, STEP, Cell, distance
from burnish.act.worlds.craftworld.simulation import Simulation


def walk(world: Simulation, body: Body, to: Sequence[int], near: int = 0) -> Process:
    """Walk until within ``near`` cells of a place."""
    yield from _travel(world, body, place_of(to), near)
    return {"at": list(body.at)}


def _travel(world: Simulation, body: Body, goal: Cell, near: int) -> Process:
    if not world.grid.inside(goal):
        raise ActionFailed(f"{list(goal)} is not on the map of {world.grid.size} x {world.grid.size} cells")
    while distance(body.at, goal) > near:
        path = world.grid.path(body.at, goal, near)
        if path is None:
            raise ActionFailed(f"there is no way to {list(goal)}")
        for cell in path:
            yield STEP
            if not world.grid.free(cell):
                break
            world.place_body(body, cell)


def explore(world: Simulation, body: Body) -> Process:
    """Walk to the nearest part of the map that this agent has not seen."""
    goal = world.grid.unknown(body.at, body.known)
    if goal is None:
        raise ActionFailed("has seen the whole map")
    chunk, before = rules.chunk_of(goal), len(body.known)
    for cell in world.grid.towards(body.at, goal, (0, 2, 4, 8)) or ():
        yield STEP
        if not world.grid.free(cell):
            break
        world.place_body(body, cell)
        if chunk in body.known:
            break
    body.known.add(chunk)  # what cannot be reached is not tried again
    return {"at": list(body.at), "seen": len(body.known) - before}


def patrol(world: Simulation, body: Body) -> Process:
    """Walk to another part of the map, in an order of chance. Stops when an enemy comes into sight."""
    last = world.grid.size - 1
    goal = (int(world.chance(body.index, 1) * last), int(world.chance(body.index, 2) * last))
    for cell in world.grid.towards(body.at, goal, (2, 4, 8)) or ():
        yield STEP
        if not world.grid.free(cell):
            break
        world.place_body(body, cell)
        if any(other.team != body.team for other in world.bodies_near(cell, rules.SIGHT)):
            break
    yield 1
    return {"at": list(body.at)}


def approach(world: Simulation, body: Body, target: str) -> Process:
    """Walk up to the nearest creature of a kind, or to an agent, that is in sight, until within reach of hands.

    What a detour takes out of sight is looked for where it was seen last.
    """
    goal: Cell | None = None
    path: list[Cell] = []
    for _ in range(200):
        try:
            seen = in_sight(world, body, target).at
        except ActionFailed:
            if goal is None or distance(body.at, goal) <= rules.SIGHT // 2:
                raise
            seen = goal
        if distance(body.at, seen) <= REACH:
            return {"at": list(body.at)}
        if seen != goal or not path:
            goal, path = seen, world.grid.path(body.at, seen, REACH) or []
            if not path:
                raise ActionFailed(f"there is no way to the {target}")
        yield STEP
        if world.grid.free(path[0]):
            world.place_body(body, path.pop(0))
        else:
            path = []
    raise ActionFailed(f"the {target} does not let itself be caught")


def flee(world: Simulation, body: Body, cells: int = 10) -> Process:
    """Get away from hunters, charging bosses and enemies nearby: up to so many cells, or until none is within them."""
    for _ in range(cells):
        threats = [
            each.at for each in world.creatures_near(body.at, cells) if each.hunts(body.at) or each.name in rules.BOSSES
        ]
        threats += [other.at for other in world.bodies_near(body.at, cells) if other.team != body.team]
        if not threats:
            break
        free = [cell for cell in around(body.at) if world.grid.free(cell)]
        if not free:
            raise ActionFailed("cornered")
        away = max(free, key=lambda cell: (min(distance(cell, each) for each in threats), _spread(cell, threats), cell))
        yield STEP
        if world.grid.free(away):
            world.place_body(body, away)
    yield 1
    return {"at": list(body.at)}


def in_sight(world: Simulation, body: Body, target: str) -> Body | Creature:
    """The agent of that name, or the nearest living creature of that kind, that can be seen from here.

    Raises:
        ActionFailed: there is none.
    """
    other = world.bodies.get(target)
    if other is not None:
        if not other.alive or distance(other.at, body.at) > rules.SIGHT:
            raise ActionFailed(f"{target} is not in sight")
        return other
    found = next((each for each in world.creatures_near(body.at, rules.SIGHT) if each.name == target), None)
    if found is None:
        raise ActionFailed(f"no {target} in sight")
    return found


def _spread(cell: Cell, threats: Sequence[Cell]) -> int:
    return sum((cell[0] - x) ** 2 + (cell[1] - y) ** 2 for x, y in threats)


def place_of(at: Sequence[int]) -> Cell:
    """The cell that ``[x, y]`` names.

    Raises:
        ActionFailed: other than two numbers.
    """
    if len(at) != 2:
        raise ActionFailed(f"{list(at)} is no place; write [x, y]")
    return int(at[0]), int(at[1])


def in_reach(body: Body, at: Sequence[int]) -> Cell:
    """The cell that ``[x, y]`` names, within reach of hands.

    Raises:
        ActionFailed: other than two numbers, or too far.
    """
    cell = place_of(at)
    if distance(cell, body.at) > REACH:
        raise ActionFailed(f"{list(cell)} is not within {REACH} cells of {list(body.at)}")
    return cell
