"""From a goal ("one iron pickaxe") to the steps that reach it, with exact counts. Pure: an inventory in, a plan out.

Recursive decomposition over the recipe graph as in the paper's ``obtain_item`` (inventory, then craft, smelt, mine,
kill, with the tools, station and fuel each needs), but planned before anything is done: what a batch leaves over serves
the next need, tools wear, heat in the furnace carries over, and an item that cannot be had says why.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from burnish.act.skills.algebra import Step, joined, wear
from burnish.act.skills.crafting import (
    FURNACE,
    REUSED,
    Collect,
    Craft,
    Crafting,
    Kill,
    Mine,
    Production,
    Smelt,
    batch_parts,
    parts,
)
from burnish.act.skills.unobtainable import Unobtainable, why_unobtainable
from burnish.core.errors import UserError

RAW = (Mine, Kill, Collect)
PURE_FUEL = ("coal", "charcoal")  # what lies in an inventory to be burnt, and for little else


@dataclass(frozen=True)
class Decomposition:
    """Steps in an order that works.

    Attributes:
        goal: the item.
        count: how many shall be in the inventory at the end.
        steps: what to do.
        raw: items that must come out of the world (mined, killed for, collected), and how many.
        left: the inventory after all steps.
    """

    goal: str
    count: int
    steps: tuple[Step, ...]
    raw: Mapping[str, int]
    left: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain data, as ``burnish act plan --json`` prints it."""
        steps = [{"skill": step.skill, "item": step.item, "count": step.count} for step in self.steps]
        return {"goal": self.goal, "count": self.count, "raw": dict(self.raw), "steps": steps}


def plan(goal: str, count: int, have: Mapping[str, int], crafting: Crafting) -> Decomposition:
    """The steps after which ``count`` of ``goal`` are in the inventory; what is there already counts.

    Args:
        goal: an item.
        count: how many, at least 1.
        have: the inventory; tools in it are taken as new.
        crafting: the rules.

    Raises:
        UserError: an unknown item, a count below 1, a negative inventory.
        Unobtainable: no way leads to the goal; says why.
    """
    crafting.known(goal)
    if count < 1:
        raise UserError(f"count: {count}; ask for 1 or more")
    for name, number in have.items():
        crafting.known(name)
        if number < 0:
            raise UserError(f"have: {number} of {name}; an inventory holds 0 or more")
    state = _State(Counter(have))
    _Decomposer(crafting).obtain(goal, count, state, ())
    steps = joined(state.steps, have, crafting)
    raw: Counter[str] = Counter()
    for step in steps:
        if isinstance(step.production, RAW):
            raw[step.item] += step.count
    return Decomposition(goal, count, tuple(steps), dict(raw), dict(+state.stock))


@dataclass
class _State:
    """What planning knows: inventory, what of it is promised, uses left on opened tools, heat, steps so far."""

    stock: Counter[str]
    promised: Counter[str] = field(default_factory=Counter)
    opened: dict[str, int] = field(default_factory=dict)
    heat: float = 0.0
    steps: list[Step] = field(default_factory=list)

    def free(self, item: str) -> int:
        return self.stock[item] - self.promised[item]

    def copy(self) -> _State:
        return _State(self.stock.copy(), self.promised.copy(), dict(self.opened), self.heat, list(self.steps))

    def become(self, other: _State) -> None:
        self.stock, self.promised, self.opened = other.stock, other.promised, other.opened
        self.heat, self.steps = other.heat, other.steps


class _Decomposer:
    def __init__(self, crafting: Crafting) -> None:
        self._crafting = crafting

    def obtain(self, item: str, count: int, state: _State, above: tuple[str, ...]) -> None:
        """Bring the free stock of ``item`` to ``count``; ``above``: what it is wanted for, outermost first."""
        missing = count - state.free(item)
        if missing <= 0:
            return
        reason = why_unobtainable(item, self._crafting)
        productions = sorted(
            self._crafting.productions.get(item, ()), key=lambda production: self._estimate(production, missing, state)
        )
        for production in productions:
            if self._estimate(production, missing, state) == math.inf or not self._open(
                production, state, (*above, item)
            ):
                continue
            attempt = state.copy()
            try:
                self._do(production, missing, attempt, (*above, item))
            except Unobtainable as error:
                reason = reason or error.reason
                continue
            state.become(attempt)
            return
        raise Unobtainable(item, reason or f"every way to it needs {' or '.join(above[-1:]) or item} itself")

    def _open(self, production: Production, state: _State, above: tuple[str, ...]) -> bool:
        """Whether a production asks for nothing that it serves itself, but for what lies in the inventory."""
        return all(name not in above or state.free(name) >= math.ceil(need) for name, need in parts(production))

    def _estimate(self, production: Production, count: int, state: _State) -> float:
        """Effort for ``count`` items by this production, with what lies in the inventory for nothing."""
        costs = self._crafting.costs
        batches = math.ceil(count / production.makes) if isinstance(production, Craft) else count
        total = 0.0
        for name, need in batch_parts(production):
            short = max(0, batches * need - state.free(name))
            total += short * costs.get(name, math.inf) if short else 0.0
        if isinstance(production, Craft):
            return total + 0.05 * batches + self._once(production.at, state)
        if isinstance(production, Smelt):
            return total + 0.6 * count + self._once(FURNACE, state)
        if isinstance(production, Kill):
            return total + count * production.effort
        tool = min((self._once(name, state) for name in production.tools), default=0.0)
        if isinstance(production, Collect):
            return total + 2.0 * count + tool
        return total + count * production.effort + tool

    def _once(self, item: str | None, state: _State) -> float:
        if item is None or state.free(item) > 0:
            return 0.0
        return REUSED * self._crafting.costs.get(item, math.inf)

    def _do(self, production: Production, count: int, state: _State, above: tuple[str, ...]) -> None:
        if isinstance(production, Craft):
            self._craft(production, math.ceil(count / production.makes), state, above)
        elif isinstance(production, Smelt):
            self._smelt(production, count, state, above)
        elif isinstance(production, Kill):
            self._take(Step(production, count), state)
        else:
            self._with_tools(production, count, state, above)

    def _promise(self, needs: Iterable[tuple[str, int]], state: _State, above: tuple[str, ...]) -> Counter[str]:
        """Obtain all parts of one step; what the first needed is kept from being used for the second."""
        promised: Counter[str] = Counter()
        for name, need in needs:
            self.obtain(name, need, state, above)
            state.promised[name] += need
            promised[name] += need
        return promised

    def _use(self, promised: Counter[str], state: _State) -> None:
        """Use promised parts up; what stays of them (a bucket) goes back."""
        state.promised -= promised
        state.stock -= promised
        for name, used in promised.items():
            if name in self._crafting.remainders:
                state.stock[self._crafting.remainders[name]] += used

    def _craft(self, production: Craft, batches: int, state: _State, above: tuple[str, ...]) -> None:
        promised = self._promise([(name, need * batches) for name, need in production.uses.items()], state, above)
        if production.at is not None:
            self.obtain(production.at, 1, state, above)
        self._use(promised, state)
        self._take(Step(production, batches * production.makes), state)

    def _smelt(self, production: Smelt, count: int, state: _State, above: tuple[str, ...]) -> None:
        promised = self._promise([(production.source, count), (FURNACE, 1)], state, above)
        burnt = self._fuel(count, state, above)
        state.promised[FURNACE] -= 1
        del promised[FURNACE]
        self._use(promised, state)
        self._take(Step(production, count, fuel=tuple(burnt.items())), state)

    def _fuel(self, count: int, state: _State, above: tuple[str, ...]) -> Counter[str]:
        """Fuel for ``count`` items beyond the heat that is left: what lies in the inventory first."""
        fuel = self._crafting.fuel
        promised: Counter[str] = Counter()
        lying = [(name, True) for name in PURE_FUEL if name in fuel]
        for name, only_lying in [*lying, *((name, False) for name in fuel if name in self._crafting.costs)]:
            # To get fuel may itself take heat, so what is short is counted anew each time.
            while name not in above:
                pieces = math.ceil((count - state.heat - _heat(promised, fuel)) / fuel[name])
                if only_lying:
                    pieces = min(pieces, state.free(name))
                if pieces <= 0:
                    break
                promised += self._promise([(name, pieces)], state, above)
        if state.heat + _heat(promised, fuel) < count:
            raise Unobtainable("fuel", "all fuel needs the item that is to be smelted")
        state.heat += _heat(promised, fuel) - count
        self._use(promised, state)
        return promised

    def _with_tools(self, production: Mine | Collect, count: int, state: _State, above: tuple[str, ...]) -> None:
        """Mine or collect, with as many tools as wear out over it."""
        if isinstance(production, Collect):
            promised = self._promise([(name, need * count) for name, need in production.uses.items()], state, above)
        share = production.chance if isinstance(production, Mine) else 1.0  # items for one use
        left = count
        while left > 0:
            done, tool = left, None
            if production.tools:
                tool = self._tool(production.tools, state, above)
                uses = state.opened.get(tool, self._crafting.items[tool].uses or 1)
                done = min(left, math.floor(uses * share))
                uses -= wear(production, done)
                state.opened[tool] = uses
                if uses <= 0:
                    state.stock[tool] -= 1
                    del state.opened[tool]
            self._take(Step(production, done, tool), state)
            state.promised[production.item] += done  # the next tool must not be made of what the last one brought
            left -= done
        state.promised[production.item] -= count
        if isinstance(production, Collect):
            self._use(promised, state)

    def _tool(self, tools: tuple[str, ...], state: _State, above: tuple[str, ...]) -> str:
        costs = self._crafting.costs
        by_price = sorted(tools, key=lambda name: (costs.get(name, math.inf), name))
        for name in by_price:
            if state.free(name) > 0:
                return name
        for name in by_price:
            if name in above or name not in costs:
                continue
            attempt = state.copy()
            try:
                self.obtain(name, 1, attempt, above)
            except Unobtainable:
                continue
            state.become(attempt)
            return name
        raise Unobtainable(tools[0], "the tools that it takes need what is to be mined with them")

    def _take(self, step: Step, state: _State) -> None:
        state.steps.append(step)
        state.stock[step.item] += step.count


def _heat(pieces: Mapping[str, int], fuel: Mapping[str, float]) -> float:
    """Items that these pieces of fuel smelt."""
    return sum(number * fuel[name] for name, number in pieces.items())
