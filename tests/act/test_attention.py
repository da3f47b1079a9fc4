"""When a planner thinks: at the slot's bound, on news, never merely because its last call returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from burnish.act.attention import Attention
from burnish.act.memory.log import Event
from burnish.act.policies import Policy
from burnish.act.recipe import Limits, RuntimeSettings
from burnish.act.skill_context import SkillContext
from burnish.act.skills.library import Call, Library
from tests.act.worlds import Meadow, episode, mine


async def work(context: SkillContext, number: int, seconds: float) -> None:
    """Do errand `number`, which takes some `seconds`."""
    await context.act("work", seconds=seconds)


def settings(**changes: Any) -> RuntimeSettings:
    return RuntimeSettings(**{"clock": "virtual", "limits": Limits(seconds=10_000.0), **changes})


def errands(lengths: Sequence[float]) -> Policy:
    """A planner with a list: whatever is done and under way, it names the next ones."""

    def policy(known: Mapping[str, Any]) -> dict[str, Any]:
        you = known["you"]
        first = you["see"]["done"].get("work", 0) + (you["doing"] is not None)
        calls = [
            {"name": "work", "arguments": {"number": number, "seconds": lengths[number]}}
            for number in range(first, min(len(lengths), first + known.get("horizon", 1)))
        ]
        then = {"then": calls[1:]} if len(calls) > 1 else {}
        return {"skill": calls[0] if calls else None, **then, "interrupt": False, "reason": ""}

    return policy


def played(lengths: Sequence[float], latency: float, **changes: Any) -> tuple[float, int, list[Event]]:
    """Seconds to the goal, planning calls, and the log."""
    world = Meadow(goal={"work": len(lengths)})
    outcome, events = episode(world, settings(**changes), errands(lengths), latency, skills=(work,))
    assert outcome.reached == ("ann",)
    numbers = [event.data["arguments"]["number"] for event in events if event.kind == "skill_start"]
    assert numbers == list(range(len(lengths))), "every errand once, in order"
    return outcome.seconds, sum(event.kind == "call_end" for event in events), events


def slot_bound(lengths: Sequence[float], latency: float) -> float:
    """L + sum over i < n of max(A_i, L) + A_n."""
    return latency + sum(max(each, latency) for each in lengths[:-1]) + lengths[-1]


LENGTHS = st.lists(st.integers(1, 40).map(float), min_size=1, max_size=12)


@given(LENGTHS, st.sampled_from([1.0, 4.0, 8.0, 16.0]))
@hypothesis_settings(max_examples=40, deadline=None)
def test_one_agent_in_a_calm_world_reaches_the_bound_of_the_slot(lengths: list[float], latency: float) -> None:
    seconds, calls, _ = played(lengths, latency)
    assert seconds == pytest.approx(slot_bound(lengths, latency))
    serial, serial_calls, _ = played(lengths, latency, mode="serial")
    assert serial == pytest.approx(len(lengths) * latency + sum(lengths))
    assert calls <= serial_calls + 1, "the one about what comes after the last"


@given(LENGTHS, st.sampled_from([1.0, 4.0, 8.0, 16.0]))
@hypothesis_settings(max_examples=40, deadline=None)
def test_with_a_plan_of_all_steps_it_waits_for_one_call_only(lengths: list[float], latency: float) -> None:
    seconds, calls, _ = played(lengths, latency, horizon=64)
    assert seconds == pytest.approx(latency + sum(lengths))
    assert calls == 1, "a plan shorter than it might be is all that is wanted"
    serial, serial_calls, _ = played(lengths, latency, mode="serial", horizon=64)
    assert serial == pytest.approx(seconds)
    assert serial_calls == 1


@given(LENGTHS, st.sampled_from([1.0, 4.0, 8.0, 16.0]), st.integers(2, 6))
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_plan_of_some_steps_lies_between(lengths: list[float], latency: float, horizon: int) -> None:
    """Whatever the horizon: each errand once, in order, no slower than the slot or than taking turns, no faster than
    the bound."""
    seconds, _, _ = played(lengths, latency, horizon=horizon)
    serial, _, _ = played(lengths, latency, mode="serial", horizon=horizon)
    assert latency + sum(lengths) <= seconds + 1e-6
    assert seconds <= min(slot_bound(lengths, latency), serial) + 1e-6


def test_the_next_plan_is_made_while_this_one_is_carried_out() -> None:
    """Short errands, slow thoughts: the next plan is begun before this one has run out."""
    lengths = [2.0] * 12
    seconds, _, events = played(lengths, 4.0, horizon=4)
    # plan 1 at 4; errands at 4, 6, 8, 10. With two that wait (4 s) a call is due: from 6 on, the answer comes at 10.
    assert [event.time for event in events if event.kind == "call_start"][:2] == [0.0, 6.0]
    assert seconds == 4.0 + sum(lengths)


def test_the_tail_of_a_plan_is_replaced_while_its_head_runs() -> None:
    """After an errand of 1 s two more seem short: the call that begins at 5 returns at 9, while they still wait."""
    _, _, events = played([1.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0], 4.0, horizon=4)
    dropped = [event for event in events if event.kind == "plan_dropped" and event.time == 9.0]
    assert [event.data["skill"]["arguments"]["number"] for event in dropped] == [2, 3]
    assert {event.data["why"] for event in dropped} == {"replaced by a newer plan"}


def test_continuous_planning_is_as_published() -> None:
    """It never stops calling, and an answer that was under way when the slot was taken repeats what then runs."""
    lengths = [12.0, 11.0, 12.0]
    world = Meadow(goal={"work": 3})
    limits = {"planning": "continuous"}
    _, events = episode(world, settings(**limits), errands(lengths), 8.0, skills=(work,))
    starts = [event.time for event in events if event.kind == "call_start"]
    assert starts == [8.0 * number for number in range(len(starts))], "the planner never waits for the actor"
    done = [event.data["arguments"]["number"] for event in events if event.kind == "skill_start"]
    assert done == [0, 1, 1], "the call of 16 saw errand 0, and wants 1 when 1 has begun"
    assert played(lengths, 8.0)[:2] == (slot_bound(lengths, 8.0), 4)


# News


def test_a_call_that_has_just_begun_is_begun_again_on_news() -> None:
    """Planning 0 to 8, mining from 8, a threat at 10: the call of 8 does not know of it and is given up."""
    world = Meadow(threat_at=10.0)
    _, events = episode(world, settings(limits=Limits(seconds=30.0)))
    calls = [(event.time, event.data["status"]) for event in events if event.kind == "call_end"]
    assert calls[:3] == [(8.0, "done"), (10.0, "cancelled"), (18.0, "done")]
    assert world.begun[:2] == [(8.0, "ann", "mine"), (18.0, "ann", "evade")]  # continuous planning: at 24


def test_a_call_that_is_about_to_return_is_kept_and_the_news_thought_about_after_it() -> None:
    world = Meadow(threat_at=13.0)
    _, events = episode(world, settings(limits=Limits(seconds=30.0)))
    calls = [(event.time, event.data["status"]) for event in events if event.kind == "call_end"]
    assert calls[:3] == [(8.0, "done"), (16.0, "done"), (24.0, "done")]
    assert (24.0, "ann", "evade") in world.begun


def test_in_a_calm_world_nobody_thinks_while_a_skill_runs_that_nothing_follows() -> None:
    _, events = episode(Meadow(), settings(limits=Limits(seconds=100.0)))
    # thought at 0 (mine), at 8 while it runs (nothing to add); mined at 38, then again
    assert [event.time for event in events if event.kind == "call_start"] == [0.0, 8.0, 38.0, 46.0, 76.0, 84.0]


def test_a_mate_that_takes_up_what_one_has_planned_makes_one_think_again() -> None:
    """Ann's plan lies ready while she mines; Bob begins a skill: she thinks again, and is told what she has planned."""
    seen: list[tuple[str, list[str]]] = []

    def policy(known: Mapping[str, Any]) -> dict[str, Any]:
        you = known["you"]
        seen.append((you["name"], [call["name"] for call in you["next"]]))
        late = you["name"] == "bob" and you["last"] is None and you["doing"] is None
        name, seconds = ("work", 9.0) if late else ("mine", 30.0)
        arguments = {"number": 0, "seconds": seconds} if name == "work" else {"seconds": seconds}
        return {"skill": {"name": name, "arguments": arguments}, "interrupt": False, "reason": ""}

    names, limits = ("ann", "bob"), Limits(seconds=20.0)
    episode(Meadow(), settings(limits=limits), policy, 4.0, names, skills=(mine, work))
    # both think at 0 and 4; at 13 Bob's errand is over and he takes up his plan, while Ann's lies ready
    assert seen.count(("ann", ["mine"])) == 1
    seen.clear()
    episode(Meadow(), settings(limits=limits, shared_memory=False), policy, 4.0, names, skills=(mine, work))
    assert ("ann", ["mine"]) not in seen, "who knows nothing of the others is not disturbed by them"


def test_a_failed_step_takes_those_after_it_along() -> None:
    def policy(known: Mapping[str, Any]) -> dict[str, Any]:
        last = known["you"]["last"]
        good = {"name": "work", "arguments": {"number": 1, "seconds": 2.0}}
        bad = {"name": "fail", "arguments": {}}
        if last is None:
            return {"skill": bad, "then": [good, good], "interrupt": False, "reason": ""}
        return {"skill": good, "then": [], "interrupt": False, "reason": ""}

    async def fail(context: SkillContext) -> None:
        """Try what cannot be done."""
        await context.act("fail")

    for mode in ("parallel", "serial"):
        world = Meadow(goal={"work": 1})
        _, events = episode(world, settings(mode=mode, horizon=3), policy, 4.0, skills=(work, fail))
        dropped = [event.data["why"] for event in events if event.kind == "plan_dropped"]
        assert dropped == ["the step before it came to nothing"] * 2, mode
        assert [event.time for event in events if event.kind == "call_start"][:2] == [0.0, 4.0], mode


# The state by itself


def call(number: int) -> Call:
    return Library([work]).call("work", {"number": number, "seconds": 1.0})


def test_what_began_meanwhile_is_not_repeated() -> None:
    attention = Attention()
    attention.thinks(10)
    one, two, three = call(1), call(2), call(3)
    attention.skill_began(12, one, by_planner=True)
    attention.skill_began(14, two, by_planner=True)
    assert attention.left_of([one, two, three]) == (three,)
    assert attention.left_of([three]) == (three,)
    attention.thinks(13)
    assert attention.left_of([two, three]) == (three,), "what began before the thought is not in its plan"


def test_there_is_something_to_think_about() -> None:
    attention = Attention()
    assert attention.due(0), "it lives"
    attention.thinks(3)
    assert attention.due(0), "nothing runs and nothing waits"
    assert not attention.due(1), "what waits is about to begin"
    attention.skill_began(5, call(1), by_planner=True)
    assert attention.due(0), "a skill began and nothing comes after it"
    assert not attention.due(1)
    attention.more = False
    assert not attention.due(0), "all that was wanted is under way"
    attention.heard(6)
    assert attention.due(0), "news"
    attention.thinks(6)
    assert not attention.due(0)
    attention.skill_ended(3.0, done=True)
    assert attention.due(0)


def test_the_next_plan_is_begun_before_this_one_runs_out() -> None:
    attention = Attention(call_seconds=8.0)
    for seconds in (2.0, 6.0):  # 4 s a skill
        attention.skill_ended(seconds, done=True)
    attention.skill_ended(99.0, done=False)  # cut short or failed: says nothing
    attention.thinks(1)
    attention.skill_began(2, call(1), by_planner=True)
    assert not attention.due(3), "12 s are left, and a call takes 8"
    assert attention.due(2)


def test_continuous_planning_has_one_step_a_plan() -> None:
    with pytest.raises(ValidationError, match="planning: continuous is as published, one step a plan: set horizon: 1"):
        RuntimeSettings(planning="continuous", horizon=2)


def test_an_interrupt_for_what_has_begun_meanwhile_stops_nothing() -> None:
    """The plan that waits begins while its planner, on news, asks for the same at once: it is not begun anew."""

    def policy(known: Mapping[str, Any]) -> dict[str, Any]:
        arguments = {"number": 1, "seconds": 20.0} if known["you"]["doing"] else {"number": 0, "seconds": 9.0}
        return {
            "skill": {"name": "work", "arguments": arguments},
            "interrupt": bool(known["you"]["see"]["threat"]),
            "reason": "",
        }

    # errand 0 from 4 to 13, errand 1 planned at 8; the threat of 11 makes the planner ask for it at once, at 15
    world = Meadow(threat_at=11.0)
    _, events = episode(world, settings(limits=Limits(seconds=30.0)), policy, 4.0, skills=(work,))
    ends = [(event.time, event.data["status"]) for event in events if event.kind == "skill_end"]
    assert ends[0] == (13.0, "done")
    assert [at for at, _, _ in world.begun][:2] == [4.0, 13.0]
    assert 15.0 not in [at for at, status in ends if status == "interrupted"]
