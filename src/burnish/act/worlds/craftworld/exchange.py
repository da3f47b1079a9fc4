"""Items change hands: chests, which one agent at a time holds open, and gifts."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.act.world import ActionFailed
from burnish.act.worlds.craftworld import creatures
from burnish.act.worlds.craftworld.bodies import Body, Chest
from burnish.act.worlds.craftworld.moving import in_reach
from burnish.act.worlds.craftworld.processes import Process
from burnish.act.worlds.craftworld.rules import REACH, distance
from burnish.act.worlds.craftworld.simulation import Simulation


def open_chest(world: Simulation, body: Body, at: Sequence[int]) -> Process:
    """Open the chest at a place in reach; while it is open nobody else can."""
    cell = in_reach(body, at)
    yield 2
    chest = world.chests.get(cell)
    if chest is None:
        raise ActionFailed(f"there is no chest at {list(cell)}")
    if chest.held_by not in (None, body.name):
        raise ActionFailed(f"{chest.held_by} holds the chest open")
    creatures.close(world, body)
    chest.held_by, body.chest = body.name, cell
    return {"items": dict(sorted(chest.stock.items()))}


def close_chest(world: Simulation, body: Body) -> Process:
    """Close the chest that is open."""
    creatures.close(world, body)
    yield 1
    return {}


def _open(world: Simulation, body: Body) -> Chest:
    if body.chest is None:
        raise ActionFailed("has no chest open")
    if distance(body.chest, body.at) > REACH:
        raise ActionFailed("the chest is out of reach")
    return world.chests[body.chest]


def put(world: Simulation, body: Body, item: str, count: int) -> Process:
    """Put items into the open chest."""
    yield 2
    world.move(body.stock, _open(world, body).stock, item, _positive(count))
    return {}


def take(world: Simulation, body: Body, item: str, count: int) -> Process:
    """Take items out of the open chest."""
    yield 2
    world.move(_open(world, body).stock, body.stock, item, _positive(count))
    return {"got": {item: count}}


def give(world: Simulation, body: Body, to: str, item: str, count: int) -> Process:
    """Give items to an agent in reach."""
    yield 5
    other = world.bodies.get(to)
    if other is None or not other.alive or distance(other.at, body.at) > REACH or other is body:
        raise ActionFailed(f"{to} is not within {REACH} cells")
    world.move(body.stock, other.stock, item, _positive(count))
    world.tell("item", to, item=item, count=count, by=body.name)
    return {}


def _positive(count: int) -> int:
    if count < 1:
        raise ActionFailed(f"count: {count}; 1 or more")
    return count
