"""What an agent sees: its own state, what is around it, and how far its goal is. Plain JSON."""

from __future__ import annotations

from typing import Any

from burnish.act.worlds.craftworld import creatures, rules
from burnish.act.worlds.craftworld.bodies import Body
from burnish.act.worlds.craftworld.goals import Goal
from burnish.act.worlds.craftworld.rules import TICKS, distance
from burnish.act.worlds.craftworld.simulation import Simulation

MOST = 8  # creatures and agents named
MOST_BLOCKS = 24  # kinds of blocks named, the nearest


def observe(world: Simulation, body: Body, goal: Goal) -> dict[str, Any]:
    """All that an agent knows first hand, as of the last tick."""
    share = (world.first + world.tick / world.day_ticks) % 1.0
    seen: dict[str, Any] = {
        "time": round(world.tick / TICKS, 2),
        "sky": "night" if rules.is_night(share) else "day",
        "at": list(body.at),
        "health": round(body.health, 2),
        "hunger": creatures.hunger(world, body),
        "inventory": body.inventory(),
        "hand": body.wields(),
        "armour": round(rules.armour(body.wears()), 2),
        "alive": body.alive,
        "gone": body.gone,
        "goal": goal.state(world, body),
        "goal_reached": goal.reached(world, body),
    }
    if not body.alive:
        return seen
    near = world.creatures_near(body.at, rules.SIGHT)
    others, enemy = _others(world, body)
    seen["blocks"] = _blocks(world, body)
    seen["creatures"] = [
        {"name": each.name, "at": list(each.at), "distance": distance(each.at, body.at), "hunts": each.hunts(body.at)}
        for each in near[:MOST]
    ]
    seen["agents"] = [
        {
            "name": other.name,
            "team": other.team,
            "at": list(other.at),
            "distance": distance(other.at, body.at),
            "health": round(other.health, 2),
        }
        for other in others
    ]
    threats = [
        (distance(each.at, body.at), each.name)
        for each in near
        if each.hunts(body.at) and each.name not in rules.BOSSES
    ]
    if enemy is not None:
        threats.append(enemy)
    if threats and min(threats)[0] <= rules.THREAT_RANGE:
        far, name = min(threats)
        seen["threat"] = {"name": name, "distance": far, "enemy": name in world.bodies}
    boss = next((each for each in near if each.name in rules.BOSSES), None)
    if boss is not None:
        doing, left = creatures.phase(world, boss)
        seen["boss"] = {
            "name": boss.name,
            "health": round(boss.health, 2),
            "distance": distance(boss.at, body.at),
            "phase": doing,
            "burst_in": left,
            "radius": boss.kind.radius,
        }
    return seen


def _others(world: Simulation, body: Body) -> tuple[list[Body], tuple[int, str] | None]:
    """The nearest other agents, and distance and name of the nearest of another team."""
    others: list[Body] = []
    enemy: tuple[int, str] | None = None
    several = len(world.left) > 1
    for far, crowd in world.crowds_near(body.at, rules.SIGHT):
        if several and enemy is None:
            bodies = (world.by_index[index] for index in crowd)
            enemy = min(((far, other.name) for other in bodies if other.team != body.team), default=None)
        nearest = [index for index in crowd[: MOST + 1] if index != body.index]
        others += [world.by_index[index] for index in nearest[: MOST - len(others)]]
        if len(others) == MOST and (enemy is not None or not several):
            break
    return others, enemy


def _blocks(world: Simulation, body: Body) -> dict[str, list[int]]:
    """The nearest block of each of the nearest kinds in sight."""
    nearest = world.grid.nearest_of_each(body.at, rules.SIGHT)
    kinds = sorted((rank, block) for block, rank in nearest.items())[:MOST_BLOCKS]
    return {block: list(rank[1]) for rank, block in sorted(kinds, key=lambda each: each[1])}
