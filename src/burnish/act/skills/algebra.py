"""Steps, and what they do to an inventory: the plain arithmetic that a plan must obey. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from burnish.act.skills.crafting import FURNACE, Collect, Craft, Crafting, Kill, Mine, Production, Smelt, batch_parts
from burnish.core.errors import BurnishError

SKILLS = {Mine: "mine", Craft: "craft", Smelt: "smelt", Kill: "kill", Collect: "collect"}


@dataclass(frozen=True)
class Step:
    """One call of one skill.

    Attributes:
        production: what is done.
        count: items that come of it (a craft gives whole batches).
        tool: what wears, for a mine or collect step that needs one.
        fuel: what is burnt, and how many pieces, for a smelt step; none while the heat of the last piece lasts.
    """

    production: Production
    count: int
    tool: str | None = None
    fuel: tuple[tuple[str, int], ...] = ()

    @property
    def skill(self) -> str:
        """mine, craft, smelt, kill or collect."""
        return SKILLS[type(self.production)]

    @property
    def item(self) -> str:
        """What comes of it."""
        return self.production.item


class Impossible(BurnishError):
    """A step asks for what the inventory does not hold."""


class Ledger:
    """An inventory with its opened tools and the heat left in the furnace.

    Args:
        have: items at the start; tools in it are new.
        crafting: the rules.
    """

    def __init__(self, have: Mapping[str, int], crafting: Crafting) -> None:
        self.stock: Counter[str] = Counter(have)
        self.opened: dict[str, int] = {}
        self.heat = 0.0
        self._crafting = crafting

    def do(self, step: Step) -> None:
        """Carry one step out.

        Raises:
            Impossible: a part, tool, station or fuel is missing; names it.
        """
        production = step.production
        batches = step.count // production.makes if isinstance(production, Craft) else step.count
        station = production.at if isinstance(production, Craft) else FURNACE if isinstance(production, Smelt) else None
        used = Counter({name: need * batches for name, need in batch_parts(production)})
        for name, pieces in step.fuel:
            used[name] += pieces
            self.heat += pieces * self._crafting.fuel[name]
        for name, need in used.items():
            if self.stock[name] < need + (name == station):
                raise Impossible(
                    f"{step.skill} {step.count} {step.item}: needs {need} {name}, holds {self.stock[name]}"
                )
        if station is not None and self.stock[station] < 1:
            raise Impossible(f"{step.skill} {step.item}: needs a {station}")
        self.stock -= used
        for name, need in used.items():
            if name in self._crafting.remainders:
                self.stock[self._crafting.remainders[name]] += need
        if isinstance(production, Smelt):
            self.heat -= step.count
            if self.heat < 0:
                raise Impossible(f"smelt {step.count} {step.item}: the fuel does not last")
        if step.tool is not None:
            self.wear(step.tool, wear(production, step.count))
        self.stock[step.item] += step.count

    def wear(self, tool: str, uses: int) -> None:
        """Use a tool; a worn-out one is gone.

        Raises:
            Impossible: there is none, or it has not so many uses left.
        """
        if self.stock[tool] < 1:
            raise Impossible(f"needs a {tool}")
        left = self.opened.pop(tool, self._crafting.items[tool].uses or 1) - uses
        if left < 0:
            raise Impossible(f"the {tool} breaks before it is done")
        if left == 0:
            self.stock[tool] -= 1
        else:
            self.opened[tool] = left


def wear(production: Production, count: int) -> int:
    """Uses of a tool for ``count`` items, on average at most."""
    return math.ceil(count / production.chance) if isinstance(production, Mine) else count


def works(steps: Iterable[Step], have: Mapping[str, int], crafting: Crafting) -> bool:
    """Whether the steps can be carried out one after another."""
    ledger = Ledger(have, crafting)
    try:
        for step in steps:
            ledger.do(step)
    except Impossible:
        return False
    return True


def joined(steps: list[Step], have: Mapping[str, int], crafting: Crafting) -> list[Step]:
    """Steps of one production made one, at the first place, wherever the plan still works: fewer walks."""
    found: list[Step] = []
    for step in steps:
        for at, earlier in enumerate(found):
            if earlier.production == step.production and earlier.tool == step.tool:
                both = Step(step.production, earlier.count + step.count, step.tool, _burnt(earlier, step))
                attempt = [*found[:at], both, *found[at + 1 :]]
                if works(attempt, have, crafting):  # what follows finds the same inventory
                    found = attempt
                    break
        else:
            found.append(step)
    return found


def _burnt(one: Step, other: Step) -> tuple[tuple[str, int], ...]:
    return tuple((Counter(dict(one.fuel)) + Counter(dict(other.fuel))).items())
