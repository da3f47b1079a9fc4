"""Plans against hand-computed counts, and against an interpreter of steps that shares no code with the planner."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from burnish.act import plan as plan_from_nothing
from burnish.act.skills.algebra import Step
from burnish.act.skills.crafting import Collect, Craft, Kill, Mine, Production, Smelt, crafting_from, load_crafting
from burnish.act.skills.decompose import Decomposition, plan
from burnish.act.skills.unobtainable import Unobtainable, why_unobtainable
from burnish.cli import app
from burnish.core.errors import UserError

RULES = load_crafting()


class Interpreter:
    """Carries a plan out one item at a time; fails where anything would go below zero."""

    def __init__(self, have: Mapping[str, int]) -> None:
        self.stock = Counter(have)
        self.opened: dict[str, int] = {}
        self.heat = 0.0

    def burn(self, name: str) -> None:
        assert self.stock[name] > 0, f"no {name} to burn"
        self.stock[name] -= 1
        self.heat += RULES.fuel[name]

    def use(self, step: Step, name: str, need: int) -> None:
        self.stock[name] -= need
        assert self.stock[name] >= 0, f"{step}: {name} below zero"
        if name in RULES.remainders:
            self.stock[RULES.remainders[name]] += need

    def station(self, way: Production) -> None:
        if isinstance(way, Craft):
            assert way.at is None or self.stock[way.at] > 0, f"no {way.at}"
        if isinstance(way, Smelt):
            assert self.stock["furnace"] > 0

    def make(self, step: Step) -> None:
        way = step.production
        self.station(way)
        used = {way.source: 1} if isinstance(way, Smelt) else {} if isinstance(way, Mine | Kill) else way.uses
        for name, need in used.items():
            self.use(step, name, need)
        self.station(way)  # not used up by what is made at it
        if isinstance(way, Smelt):
            self.heat -= 1
            assert self.heat >= 0, "the fuel did not last"
        self.stock[way.item] += way.makes if isinstance(way, Craft) else 1

    def wear(self, tool: str, uses: float) -> None:
        assert self.stock[tool] > 0, f"no {tool}"
        left = self.opened.pop(tool, RULES.items[tool].uses or 0) - math.ceil(round(uses, 6))
        assert left >= 0, f"{tool} broke"
        if left:
            self.opened[tool] = left
        else:
            self.stock[tool] -= 1

    def carry_out(self, step: Step) -> None:
        way = step.production
        for name, pieces in step.fuel:
            for _ in range(pieces):
                self.burn(name)
        times = step.count // way.makes if isinstance(way, Craft) else step.count
        for _ in range(times):
            self.make(step)
        if isinstance(way, Mine | Collect) and way.tools:
            assert step.tool in way.tools
        if step.tool is not None:
            self.wear(step.tool, times / way.chance if isinstance(way, Mine) else times)


def interpret(made: Decomposition, have: Mapping[str, int]) -> Counter[str]:
    """The inventory after a plan."""
    interpreter = Interpreter(have)
    for step in made.steps:
        interpreter.carry_out(step)
    return interpreter.stock


def steps(made: Decomposition) -> list[tuple[str, str, int]]:
    return [(step.skill, step.item, step.count) for step in made.steps]


@pytest.mark.parametrize(
    ("goal", "raw"),
    [
        # 3 planks + 2 sticks (2 planks) + a table (4 planks): 9 planks, 3 logs.
        ("wooden_pickaxe", {"oak_log": 3}),
        # One craft of sticks serves both pickaxes: still 9 planks.
        ("stone_pickaxe", {"oak_log": 3, "cobblestone": 3}),
        # 11 planks (3 + 4 + two crafts of sticks), 3 + 8 cobblestone, one coal smelts 8.
        ("iron_pickaxe", {"oak_log": 3, "cobblestone": 11, "raw_iron": 3, "coal": 1}),
        # Two items through the furnace one after the other: the heat of one coal serves both.
        ("smooth_stone", {"oak_log": 3, "cobblestone": 9, "coal": 1}),
        ("oak_log", {"oak_log": 1}),
    ],
)
def test_hand_computed_counts(goal: str, raw: dict[str, int]) -> None:
    assert plan(goal, 1, {}, RULES).raw == raw


def test_the_order_of_a_stone_pickaxe() -> None:
    assert steps(plan("stone_pickaxe", 1, {}, RULES)) == [
        ("mine", "oak_log", 3),
        ("craft", "oak_planks", 12),
        ("craft", "stick", 4),
        ("craft", "crafting_table", 1),
        ("craft", "wooden_pickaxe", 1),
        ("mine", "cobblestone", 3),
        ("craft", "stone_pickaxe", 1),
    ]


def test_what_lies_in_the_inventory_is_used_first() -> None:
    have = {"stick": 2, "birch_planks": 3, "crafting_table": 1}
    assert steps(plan("wooden_pickaxe", 1, have, RULES)) == [("craft", "wooden_pickaxe", 1)]
    assert plan("stick", 4, {"stick": 4}, RULES).steps == ()
    # Six of the eight ingots are there; charcoal lies about, so no coal is mined.
    have = {"iron_ingot": 1, "raw_iron": 2, "furnace": 1, "charcoal": 1, "stick": 2, "crafting_table": 1}
    assert steps(plan("iron_pickaxe", 1, have, RULES)) == [("smelt", "iron_ingot", 2), ("craft", "iron_pickaxe", 1)]


def test_fuel_that_lies_about_is_burnt_before_more_is_mined() -> None:
    have = {"furnace": 1, "raw_iron": 30, "coal": 1, "charcoal": 1, "wooden_pickaxe": 1}
    # 30 items need four pieces of 8: the two that lie there, and two to mine.
    made = plan("iron_ingot", 30, have, RULES)
    assert steps(made) == [("mine", "coal", 2), ("smelt", "iron_ingot", 30)]
    assert dict(made.steps[-1].fuel) == {"coal": 3, "charcoal": 1}


def test_tools_wear_out() -> None:
    # 150 blocks take three wooden pickaxes of 59 uses, or a wooden and a stone one (131): either way the steps are
    # split.
    made = plan("cobblestone", 150, {}, RULES)
    mined = [step.count for step in made.steps if step.item == "cobblestone"]
    assert sum(mined) == 150
    assert len(mined) > 1
    assert interpret(made, {})["cobblestone"] >= 150


def test_every_item_is_planned_or_says_why_not() -> None:
    planned, reasons = 0, Counter[str]()
    for item in RULES.items:
        try:
            assert interpret(plan(item, 1, {}, RULES), {})[item] >= 1
            planned += 1
        except Unobtainable as error:
            assert error.reason == why_unobtainable(item, RULES)
            assert "\n" not in str(error)
            reasons[error.reason] += 1
    # The paper counts 790 obtainable items.
    assert planned == 947
    assert planned + reasons.total() == len(RULES.items) == 1255
    assert not any("leads back" in reason for reason in reasons), "the embedded data explains every item"


items = st.sampled_from(sorted(RULES.costs))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    items, st.integers(1, 100), st.dictionaries(st.sampled_from(sorted(RULES.items)), st.integers(0, 64), max_size=8)
)
def test_a_plan_reaches_its_goal_and_never_goes_below_zero(goal: str, count: int, have: dict[str, int]) -> None:
    made = plan(goal, count, have, RULES)
    assert interpret(made, have)[goal] >= count
    taken = Counter[str]()
    for step in made.steps:
        if isinstance(step.production, Mine | Kill | Collect):
            taken[step.item] += step.count
    assert taken == Counter(made.raw)


def rules(**tables: object):
    empty: dict[str, Any] = {
        "items": {},
        "craft": {},
        "smelt": {},
        "mine": {},
        "loot": {},
        "collect": {},
        "fuel": {},
        "remainders": {},
    }
    return crafting_from({**empty, "withheld": {}, **tables})


def test_a_circle_of_recipes_ends_in_one_line() -> None:
    circle = rules(
        items={"a": {"stack": 64}, "b": {"stack": 64}},
        craft={
            "a": [{"makes": 1, "uses": {"b": 1}, "at": None}],
            "b": [{"makes": 1, "uses": {"a": 1}, "at": None}],
        },
    )
    with pytest.raises(Unobtainable, match="a: cannot be had: every way to it needs b, which leads back to it"):
        plan("a", 1, {}, circle)
    assert steps(plan("a", 2, {"b": 2}, circle)) == [("craft", "a", 2)]


def test_a_tool_that_needs_what_it_mines_cannot_be_had() -> None:
    circle = rules(
        items={"ore": {"stack": 64}, "pick": {"stack": 1, "uses": 10}},
        craft={"pick": [{"makes": 1, "uses": {"ore": 1}, "at": None}]},
        mine={"ore": [{"block": "ore", "tools": ["pick"], "chance": 1.0, "hardness": 1.0}]},
    )
    with pytest.raises(Unobtainable, match="ore: cannot be had"):
        plan("ore", 1, {}, circle)
    assert plan("ore", 3, {"pick": 1}, circle).raw == {"ore": 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("iron_pikaxe",), "item: `iron_pikaxe` is unknown; did you mean `iron_pickaxe`?"),
        (("stick", 0), "count: 0; ask for 1 or more"),
        (("stick", 1, {"stick": -1}), "have: -1 of stick; an inventory holds 0 or more"),
        (("stick", 1, {"stik": 1}), "item: `stik` is unknown"),
        (("bedrock",), "bedrock: cannot be had: creative mode only"),
        (("netherite_axe",), "needs netherite_upgrade_smithing_template: found only in"),
    ],
)
def test_bad_goals(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan_from_nothing(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_prints_the_plan_as_json() -> None:
    result = CliRunner().invoke(
        app, ["act", "plan", "iron_pickaxe", "--count", "1", "--have", '{"stick": 2}', "--json"]
    )
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert list(printed) == ["goal", "count", "raw", "steps"]
    assert (printed["goal"], printed["count"]) == ("iron_pickaxe", 1)
    # Two of the six sticks are there: one craft of four is enough. 3 + 4 + 2 planks.
    assert printed["raw"] == {"oak_log": 3, "cobblestone": 11, "raw_iron": 3, "coal": 1}
    assert printed["steps"][-1] == {"skill": "craft", "item": "iron_pickaxe", "count": 1}
    assert all(list(step) == ["skill", "item", "count"] for step in printed["steps"])


@pytest.mark.parametrize("have", ["{", "[]", '{"stick": "2"}', '{"stick": 1.5}', '{"stick": true}', "2"])
def test_a_broken_inventory_is_one_line(have: str) -> None:
    result = CliRunner().invoke(app, ["act", "plan", "stick", "--have", have])
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith("--have: ")
