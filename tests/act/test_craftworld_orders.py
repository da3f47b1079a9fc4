"""A person who changes a team's order in craftworld: what is exchanged, what stays, who is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from burnish.act.recipe import CraftworldSettings
from burnish.act.worlds.craftworld.world import CraftWorld
from burnish.core.errors import UserError

TEAM = {"team": ["ann", "bob"]}


def ordered(seed: int = 3, items: Sequence[str] = ("birch_log",), **changes: Any) -> CraftWorld:
    settings = {
        "size": 32,
        "creatures": "none",
        "goal": {"team_items": {"oak_log": 10}},
        "orders": {"every": 5.0, "items": list(items)},
        **changes,
    }
    return CraftWorld(CraftworldSettings.model_validate(settings), seed, TEAM)


def told(world: CraftWorld) -> list[dict[str, Any]]:
    """The orders that were told of."""
    assert {each.agent for each in world.simulation.news} == {""}, "orders are told to all"
    return [dict(each.data) for each in world.simulation.news if each.kind == "order"]


def goal(world: CraftWorld) -> dict[str, Any]:
    simulation = world.simulation
    return world._goal.state(simulation, simulation.bodies["ann"])


def test_what_is_missing_is_wanted_of_another_item() -> None:
    world = ordered()
    simulation = world.simulation
    simulation.make(simulation.bodies["ann"].stock, "oak_log", 3)
    simulation.make(simulation.bodies["bob"].stock, "oak_log", 1)
    simulation.advance(5 * 20)
    assert not simulation.news, "from the tick after the first on, 5 s pass"
    simulation.advance(5 * 20 + 1)
    assert told(world) == [{"item": "birch_log", "count": 6, "instead_of": "oak_log"}]
    assert goal(world) == {"team_items": {"oak_log": 4, "birch_log": 6}, "team_missing": {"birch_log": 6}}
    simulation.advance(10 * 20 + 1)
    assert len(told(world)) == 1, "there is nothing else to want instead of birch"
    simulation.make(simulation.bodies["bob"].stock, "birch_log", 6)
    assert world._goal.reached(simulation, simulation.bodies["ann"])


def test_an_item_may_be_wanted_again_and_the_work_left_does_not_grow() -> None:
    world = ordered(items=("oak_log", "birch_log", "spruce_log"))
    simulation = world.simulation
    simulation.make(simulation.bodies["ann"].stock, "oak_log", 3)
    asked = []
    for turn in range(1, 13):
        simulation.advance(turn * 5 * 20 + 1)
        state = goal(world)
        assert sum(state["team_missing"].values()) == 7
        assert sum(state["team_items"].values()) == 10
        asked.append(next(iter(state["team_missing"])))
    assert all(one != other for one, other in zip(["oak_log", *asked], asked, strict=False)), "always another one"
    assert set(asked) == {"oak_log", "birch_log", "spruce_log"}
    again = ordered(items=("oak_log", "birch_log", "spruce_log"))
    again.simulation.make(again.simulation.bodies["ann"].stock, "oak_log", 3)
    again.simulation.advance(12 * 5 * 20 + 1)
    assert told(again) == told(world), "a function of the seed, whoever looks how often"
    other = ordered(4, items=("oak_log", "birch_log", "spruce_log"))
    other.simulation.advance(12 * 5 * 20 + 1)
    assert [each["item"] for each in told(other)] != asked, "another seed, other orders"


def test_a_team_that_has_all_is_left_alone() -> None:
    world = ordered()
    simulation = world.simulation
    simulation.make(simulation.bodies["ann"].stock, "oak_log", 10)
    simulation.advance(100 * 20)
    assert simulation.news == []


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match=r"orders: change what `goal.team_items` asks of one team"):
        ordered(goal={"items": {"oak_log": 1}})
    with pytest.raises(ValidationError, match="and no `opponents`"):
        ordered(opponents={"agents": ["eve"]})
    with pytest.raises(UserError, match=r"world.orders.items: .*oak_lok"):
        ordered(items=("oak_lok",))
