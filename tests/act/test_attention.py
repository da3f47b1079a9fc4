"""When a planner thinks: at the slot's bound, on news, never merely because its last call returned."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from burnish.act import clock
from burnish.act.attention import Attention
from burnish.act.memory.log import Event
from burnish.act.policies import Policy
from burnish.act.recipe import Limits, RuntimeSettings, TeamRecipe
from burnish.act.skill_context import SkillContext
from burnish.act.skills.library import Call, Library, skill
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


# A step that was taken out of the slot and has not begun: its precondition is asked for, and the world takes its time


class Foggy(Meadow):
    """To look takes time.

    Args:
        looking: seconds, each time anew.
    """

    def __init__(self, looking: Callable[[], float], **what: Any) -> None:
        super().__init__(**what)
        self.looking = looking

    async def observe(self, agent: str) -> dict[str, Any]:
        await anyio.sleep(self.looking())
        return await super().observe(agent)


def always(_seen: Any, **_arguments: Any) -> None:
    """A precondition that holds."""


CAREFUL = skill(work, precondition=always)


@pytest.mark.parametrize("latency", [4.0, 8.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_bound_is_reached_in_a_world_that_takes_uneven_time_to_look_at(latency: float, seed: int) -> None:
    """The planner must not think between the taking of a step and its beginning, on what was before."""
    lengths, rng = [6.0] * 10, random.Random(seed)
    world = Foggy(lambda: rng.uniform(0.005, 0.05), goal={"work": len(lengths)})
    outcome, events = episode(world, settings(), errands(lengths), latency, skills=(CAREFUL,))
    # A step has three looks in its way: after the one before it, for its precondition, and before the next thought.
    assert outcome.seconds <= slot_bound(lengths, latency) + 3 * 0.05 * len(lengths)
    assert sum(event.kind == "call_end" for event in events) <= len(lengths) + 1


def test_an_answer_that_comes_while_a_step_is_about_to_begin_does_not_repeat_it() -> None:
    """Errand 0 from 4 to 13; news at 11 makes the planner name errand 1 again at 15, which was taken at 14.5 and begins
    at 16."""
    world = Foggy(lambda: 1.5 if world.done and not world.begun[1:] else 0.0, threat_at=11.0, goal={"work": 3})
    _, events = episode(world, settings(), errands([9.0, 9.0, 9.0]), 4.0, skills=(CAREFUL,))
    begun = [(event.time, event.data["arguments"]["number"]) for event in events if event.kind == "skill_start"]
    assert begun[1][0] == 16.0
    assert [number for _, number in begun] == [0, 1, 2]


def test_who_was_about_to_think_when_a_step_was_taken_thinks_about_that_step() -> None:
    """News at 12.9 and a look until 13.4; errand 0 ends at 13, errand 1 is taken at 13.5 and begins at 14."""
    world = Foggy(lambda: 0.5 if world.threat_at and clock.now() >= world.threat_at else 0.0, threat_at=12.9)
    limits = Limits(seconds=20.0)
    _, events = episode(world, settings(limits=limits), errands([9.0] * 9), 4.0, skills=(CAREFUL,))
    assert [event.time for event in events if event.kind == "skill_start"] == [4.0, 14.0]
    assert thoughts(events) == [0.0, 4.0, 14.5]


def test_who_hears_news_with_a_step_about_to_begin_thinks_about_that_step() -> None:
    """Errand 0 ends at 13, errand 1 begins at 14: the threat of 13.2 is thought about from 14 on."""
    world = Foggy(lambda: 0.5 if 13.0 <= clock.now() < 14.0 else 0.0, threat_at=13.2)
    limits = Limits(seconds=20.0)
    _, events = episode(world, settings(limits=limits), errands([9.0] * 9), 4.0, skills=(CAREFUL,))
    assert [event.time for event in events if event.kind == "skill_start"] == [4.0, 14.0]
    assert thoughts(events) == [0.0, 4.0, 14.0]


def test_a_step_that_is_dropped_leaves_something_to_think_about() -> None:
    def never(_seen: Any, **_arguments: Any) -> str:
        return "it is too late"

    late = skill(work, precondition=never)
    limits = Limits(seconds=20.0)
    _, events = episode(Meadow(), settings(limits=limits), errands([1.0]), 4.0, skills=(late,))
    assert [event.time for event in events if event.kind == "call_start"] == [0.0, 4.0, 8.0, 12.0, 16.0]


# Nothing to do


def nothing(_known: Any) -> dict[str, Any]:
    return {"skill": None, "interrupt": False, "reason": "wait"}


def thoughts(events: Sequence[Event], agent: str = "ann") -> list[float]:
    return [event.time for event in events if event.kind == "call_start" and event.agent == agent]


def test_who_finds_nothing_to_do_asks_again_ever_more_rarely() -> None:
    _, events = episode(Meadow(), settings(limits=Limits(seconds=200.0)), nothing, 4.0)
    assert thoughts(events) == [0.0, 5.0, 11.0, 19.0, 31.0, 51.0, 85.0, 119.0, 153.0, 187.0]
    _, events = episode(Meadow(), settings(limits=Limits(seconds=200.0)), nothing, 0.0)
    assert thoughts(events)[:6] == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0], "however fast the answer"
    _, events = episode(Meadow(), settings(planning="continuous", limits=Limits(seconds=200.0)), nothing, 4.0)
    assert len(thoughts(events)) == 50, "as published"


def test_news_end_a_rest_and_what_is_done_makes_the_next_one_short() -> None:
    """Resting from 35 to 51: the threat of 40 is thought about at once."""

    def policy(known: Mapping[str, Any]) -> dict[str, Any]:
        if not known["you"]["see"]["threat"] or known["you"]["see"]["done"]:
            return nothing(known)
        return {"skill": {"name": "evade", "arguments": {}}, "interrupt": False, "reason": ""}

    _, events = episode(Meadow(threat_at=40.0), settings(limits=Limits(seconds=60.0)), policy, 4.0)
    # It evades at 44, and once more at 48, before it knows that it has. Then there is nothing to do beside that (52),
    # and nothing now (56): the first rest is of one second again.
    assert thoughts(events)[4:] == [31.0, 40.0, 44.0, 48.0, 52.0, 57.0]


def waits_for_bob(known: Mapping[str, Any]) -> dict[str, Any]:
    """Bob works for 20 s; Ann has something to do when he is done."""
    you = known["you"]
    seconds = 20.0 if you["name"] == "bob" else 2.0
    waits = you["name"] == "ann" and not you["see"]["done"]
    if waits or you["doing"] or you["last"]:
        return nothing(known)
    work = {"name": "work", "arguments": {"number": 0, "seconds": seconds}}
    return {"skill": work, "interrupt": False, "reason": ""}


def test_a_mate_that_has_done_something_ends_a_rest() -> None:
    """Ann would rest from 23 to 31; Bob is done at 24."""
    rules = settings(limits=Limits(seconds=33.0))
    _, events = episode(Meadow(), rules, waits_for_bob, 4.0, ("ann", "bob"), skills=(work,))
    assert thoughts(events)[:5] == [0.0, 5.0, 11.0, 19.0, 24.0]
    alone = rules.model_copy(update={"shared_memory": False})
    _, events = episode(Meadow(), alone, nothing, 4.0, ("ann", "bob"), skills=(work,))
    assert thoughts(events)[:5] == [0.0, 5.0, 11.0, 19.0, 31.0]


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
    attention.heard(4)
    assert attention.due(0), "news"
    assert not attention.due(1), "of which is thought with it"
    attention.thinks(4)
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
    attention.taken = True
    assert not attention.due(0), "what was taken is about to begin"
    attention.passed_over()
    assert attention.due(0)


def test_who_rests_is_ended_by_what_happens() -> None:
    attention = Attention()
    attention.thinks(3)
    assert attention.idle
    attention.rest(until=7.0)
    assert not attention.due(0)
    attention.stir(4)
    assert attention.due(0)
    attention.thinks(5)
    attention.rest(until=9.0)
    assert not attention.due(0), "what stirred it is thought about"
    assert attention.fruitless == 2
    attention.heard(6)
    assert attention.due(0)
    attention.thinks(6)
    attention.rest(until=20.0)
    attention.skill_began(7, call(1), by_planner=False)
    attention.skill_ended(1.0, done=True)
    assert attention.due(0), "something was done meanwhile"
    assert attention.fruitless == 0


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


@pytest.mark.parametrize("planning", ["events", "continuous"])
def test_a_stop_for_what_has_ended_meanwhile_stops_nothing(planning: str) -> None:
    """Errand 0 from 4 to 13, errand 1 after it; on a threat the planner wants errand 0 stopped, and says so at 15."""

    def policy(known: Mapping[str, Any]) -> dict[str, Any]:
        doing = (known["you"]["doing"] or {"arguments": {"number": -1}})["arguments"]["number"]
        if doing == 0 and known["you"]["see"]["threat"]:
            return {"skill": None, "interrupt": True, "reason": "not this one"}
        if doing == 1:
            return nothing(known)
        arguments = {"number": doing + 1, "seconds": 20.0 if doing == 0 else 9.0}
        return {"skill": {"name": "work", "arguments": arguments}, "interrupt": False, "reason": ""}

    def ends(threat_at: float) -> list[tuple[float, int, str]]:
        rules = settings(planning=planning, limits=Limits(seconds=30.0))
        _, events = episode(Meadow(threat_at=threat_at), rules, policy, 4.0, skills=(work,))
        return [
            (event.time, event.data["arguments"]["number"], event.data["status"])
            for event in events
            if event.kind == "skill_end" and event.time < 30.0
        ]

    assert ends(11.0) == [(13.0, 0, "done")]
    assert ends(7.0)[0] == (12.0, 0, "interrupted"), "one that comes in time does"


def test_the_paper_s_recipe_plans_as_published() -> None:
    recipe = TeamRecipe.load(Path(__file__).parents[2] / "recipes" / "planning_acting" / "paper.yaml")
    assert (recipe.runtime.mode, recipe.runtime.planning, recipe.runtime.horizon) == ("parallel", "continuous", 1)


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
