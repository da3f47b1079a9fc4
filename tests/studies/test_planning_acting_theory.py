"""Bounds of acting while thinking, by hand, and the study's own planner, which sets how long a skill lasts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from burnish.studies.planning_acting.policy import fetcher, goal_words
from burnish.studies.planning_acting.theory import gain, gain_in_the_long_run, least_time, taking_turns

LENGTHS = st.lists(st.floats(0.5, 40), min_size=1, max_size=20)


def test_taking_turns_by_hand() -> None:
    assert taking_turns([3.0, 9.0, 5.0], 8.0) == 3 * 8 + 17
    assert taking_turns([3.0, 9.0, 5.0], 8.0, horizon=2) == 2 * 8 + 17
    assert taking_turns([3.0, 9.0, 5.0], 8.0, horizon=4) == 8 + 17


def test_the_slot_by_hand() -> None:
    # L + max(3, 8) + max(9, 8) + 5
    assert least_time([3.0, 9.0, 5.0], 8.0) == 8 + 8 + 9 + 5
    assert least_time([4.0], 8.0) == 12
    assert least_time([], 8.0) == 0


def test_plans_of_some_steps_by_hand() -> None:
    assert least_time([3.0, 9.0, 5.0], 8.0, horizon=3) == 8 + 17
    # two steps a plan: the first two begin at 8 and 10; the third not before a call that began at 8 returns, at 16
    assert least_time([2.0, 2.0, 2.0, 2.0], 8.0, horizon=2) == 20
    assert least_time([2.0, 2.0, 2.0], 4.0, horizon=2) == 4 + 6, "the third is planned at 8, when the second ends"


@given(LENGTHS, st.floats(0.5, 20), st.integers(1, 5))
@hypothesis_settings(deadline=None)
def test_bounds_are_in_order(lengths: list[float], latency: float, horizon: int) -> None:
    slot = latency + sum(max(each, latency) for each in lengths[:-1]) + lengths[-1]
    assert least_time(lengths, latency) == pytest.approx(slot)
    assert least_time(lengths, latency, len(lengths)) == pytest.approx(latency + sum(lengths))
    found = [least_time(lengths, latency, steps) for steps in (horizon, horizon + 1)]
    assert found[1] <= found[0] + 1e-9
    assert found[0] <= taking_turns(lengths, latency, horizon) + 1e-9


def test_the_gain_by_hand() -> None:
    found = [gain_in_the_long_run(each) for each in (0.125, 0.5, 1, 2, 4)]
    assert found == [1.125, 1.5, 2.0, 1.5, 1.25]
    # 4 skills of 1, calls of 1: 8 against 1 + 4; calls of 2: 12 against 2 + 3 x 2 + 1
    assert gain(1.0, 4) == 8 / 5
    assert gain(2.0, 4) == 12 / 9
    assert gain(1.0, 1) == 1.0, "one skill: there is nothing to plan meanwhile"
    for each in (0.125, 0.5, 1.0, 2.0, 4.0):
        assert gain(each, 10_000) == pytest.approx(gain_in_the_long_run(each), rel=1e-3)
    # four steps a plan, 8 skills of 1, calls of 1: 2 + 8 against 1 + 8
    assert gain(1.0, 8, horizon=4) == 10 / 9


# The planner


def known(
    doing: tuple[str, int] | None = None,
    have: dict[str, int] | None = None,
    missing: dict[str, int] | None = None,
    asked: dict[str, int] | None = None,
    team: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What the prompt says to Bob."""
    goal = {"team_items": asked or {"oak_log": 20}, "team_missing": missing or {"oak_log": 20}}
    see = {"health": 20.0, "hunger": 20, "inventory": {"stone_sword": 1, **(have or {})}, "goal": goal, **more}
    you = {"name": "bob", "doing": action(doing), "last": None, "see": see}
    return {"goal": goal_words(6), "you": you, "team": team or {}, "chat": []}


def action(doing: tuple[str, int] | None) -> dict[str, Any] | None:
    """A running skill."""
    return None if doing is None else {"name": "obtain_item", "arguments": {"item": doing[0], "count": doing[1]}}


def mate(doing: tuple[str, int] | None, **have: int) -> dict[str, Any]:
    """What the prompt says of a teammate."""
    return {"doing": action(doing), "see": {"inventory": have}}


def wanted(reply: dict[str, Any]) -> list[tuple[str, int]]:
    """Items and counts of a reply's plan."""
    calls = [reply["skill"], *reply.get("then", [])] if reply["skill"] is not None else []
    assert {call["name"] for call in calls} <= {"obtain_item"}
    return [(call["arguments"]["item"], call["arguments"]["count"]) for call in calls]


def test_it_fetches_in_portions() -> None:
    assert wanted(fetcher(known())) == [("oak_log", 6)]
    assert wanted(fetcher({**known(), "goal": goal_words(50)})) == [("oak_log", 20)], "no more than is missing"
    # while one portion is under way, the next stands on its end, whatever is in the inventory by now
    for have in (0, 3):
        found = fetcher(known(("oak_log", 6), {"oak_log": have}, {"oak_log": 20 - have}))
        assert wanted(found) == [("oak_log", 12)]
        assert not found["interrupt"]
    last = fetcher(known(("oak_log", 20), {"oak_log": 18}, {"oak_log": 2}))
    assert (last["skill"], last["interrupt"]) == (None, False)


def test_it_plans_as_far_as_it_may() -> None:
    longer = {**known(), "horizon": 4}
    assert wanted(fetcher(longer)) == [("oak_log", 6), ("oak_log", 12), ("oak_log", 18), ("oak_log", 20)]
    assert wanted(fetcher({**longer, "horizon": 2})) == [("oak_log", 6), ("oak_log", 12)]
    assert wanted(fetcher({**longer, "horizon": 8}))[-1] == ("oak_log", 20), "fewer say that no more are needed"


def test_mates_share_what_there_is() -> None:
    team = {"ann": mate(("oak_log", 6), oak_log=2), "cid": mate(None)}
    # 20 wanted, 6 of them Ann's: 14 left
    assert wanted(fetcher({**known(missing={"oak_log": 18}, team=team), "horizon": 9}))[-1] == ("oak_log", 14)
    # Ann thinks too: the first portion is hers; with 6 left there is none for Bob
    team = {"ann": mate(None, oak_log=14)}
    assert wanted(fetcher(known(missing={"oak_log": 6}, team=team))) == []
    assert wanted(fetcher(known(missing={"oak_log": 6}, team={"cid": mate(None, oak_log=14)}))) == [("oak_log", 6)]


def test_it_follows_an_order_that_changes() -> None:
    changed = {"asked": {"oak_log": 4, "birch_log": 16}, "missing": {"birch_log": 16}}
    found = fetcher(known(("oak_log", 6), {"oak_log": 4}, **changed))
    assert (wanted(found), found["interrupt"]) == ([("birch_log", 6)], True)
    found = fetcher(known(None, {"oak_log": 4}, **changed))
    assert (wanted(found), found["interrupt"]) == ([("birch_log", 6)], False)


def test_first_of_all_it_stays_alive() -> None:
    danger = fetcher(known(("oak_log", 6), threat={"name": "zombie", "distance": 3}))
    assert (danger["skill"]["name"], danger["interrupt"]) == ("kill", True)
    assert fetcher(known(health=10.0))["skill"] is None, "it heals"
    hungry = fetcher(known(have={"bread": 1}, health=10.0) | {"chat": []})
    assert hungry["skill"] is None
    starving = known(have={"bread": 1}, health=10.0, hunger=12)
    assert fetcher(starving)["skill"] == {"name": "eat", "arguments": {"item": "bread"}}
    unarmed = known()
    del unarmed["you"]["see"]["inventory"]["stone_sword"]
    assert wanted(fetcher(unarmed)) == [("wooden_sword", 1)]
    fled = known()
    fled["you"]["last"] = {"name": "retreat", "status": "done"}
    assert fetcher(fled)["skill"]["name"] == "explore"
