"""What there is to reach: items for each agent or for the team, a boss dead, the other teams dead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.act.worlds.craftworld.bodies import Body
from burnish.act.worlds.craftworld.processes import Process
from burnish.act.worlds.craftworld.rules import TICKS
from burnish.act.worlds.craftworld.simulation import Simulation
from burnish.act.worlds.stock import missing


@dataclass
class Goal:
    """What a team is to reach; all of it. With nothing set there is no goal, and a run ends by its limits.

    Attributes:
        items: each agent is to hold these.
        team_items: the team together is to hold these.
        boss: this boss is to be dead.
        opponents: the other teams are to be dead.
    """

    items: Mapping[str, int] = field(default_factory=dict)
    team_items: Mapping[str, int] = field(default_factory=dict)
    boss: str | None = None
    opponents: bool = False

    def state(self, world: Simulation, body: Body) -> dict[str, Any]:
        """What is asked for and what is missing, for a prompt."""
        state: dict[str, Any] = {}
        if self.items:
            state |= {"items": dict(self.items), "missing": missing(self.items, body.stock)}
        if self.team_items:
            state |= {"team_items": dict(self.team_items), "team_missing": self.team_missing(world, body.team)}
        if self.boss is not None:
            state["kill"] = self.boss
        if self.opponents:
            state["opponents_alive"] = self._opponents(world, body.team)
        return state

    def reached(self, world: Simulation, body: Body) -> bool:
        """Whether an agent's goal is reached."""
        if not (self.items or self.team_items or self.boss or self.opponents):
            return False
        return (
            not missing(self.items, body.stock)
            and not self.team_missing(world, body.team)
            and (self.boss is None or self.boss in world.dead_bosses)
            and not (self.opponents and self._opponents(world, body.team))
        )

    def team_missing(self, world: Simulation, team: str) -> dict[str, int]:
        """Of each item how many the team is lacking."""
        if not self.team_items:
            return {}
        total: Counter[str] = Counter()
        for body in world.bodies.values():
            if body.team == team:
                for item in self.team_items:
                    total[item] += body.stock[item]
        return missing(self.team_items, total)

    @staticmethod
    def _opponents(world: Simulation, team: str) -> int:
        return sum(left for name, left in world.left.items() if name != team)


def orders(world: Simulation, goal: Goal, every: float, items: Sequence[str]) -> Process:
    """Every so many seconds a person wants, instead of what is missing of one item, as many of another.

    Both are drawn; what the team holds stays asked for, so the work that is left does not grow.
    """
    team = next(iter(world.left))
    while True:
        yield round(every * TICKS)
        missing = goal.team_missing(world, team)
        old = _drawn(world, 1, sorted(missing))
        new = _drawn(world, 2, [item for item in items if item != old])
        if old is None or new is None:
            continue
        count, asked = missing[old], Counter(goal.team_items)
        asked[old] -= count
        asked[new] += count
        goal.team_items = {item: wanted for item, wanted in asked.items() if wanted > 0}
        world.tell("order", "", item=new, count=count, instead_of=old)


def _drawn(world: Simulation, draw: int, items: Sequence[str]) -> str | None:
    """One of several items, by the world's chance; none of none."""
    return items[int(world.chance(draw) * len(items))] if items else None
