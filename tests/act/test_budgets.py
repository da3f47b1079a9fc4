"""What a run may cost: calls that were given up are paid for too, in the run's limit and in the planner's budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from burnish.act import clock
from burnish.act.chat_api import BadRequest, chat_app
from burnish.act.memory.log import Event
from burnish.act.memory.replaying import ReplayingMemory
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.planner import Chat, RecordedChat
from burnish.act.policies import policy_app
from burnish.act.recipe import EndpointSettings, Limits, ReflexSettings, RuntimeSettings
from burnish.act.reflexes import Rules
from burnish.act.runtime import Agent, Outcome, Runtime
from burnish.act.skills.library import Library
from tests.act.worlds import SKILLS, Meadow, wary

ENDPOINT = EndpointSettings(url="http://policy/v1")


def played(
    endpoint: EndpointSettings = ENDPOINT, app: Any = None, world: Meadow | None = None, **changes: Any
) -> tuple[Outcome, list[Event], Chat]:
    """A call from 0 to 8; one from 8 that is begun again on the threat of 10."""
    rules = RuntimeSettings(**{"clock": "virtual", "limits": Limits(seconds=15.0), **changes})

    async def main() -> tuple[Outcome, list[Event], Chat]:
        memory, chat = SQLiteMemory(Path(":memory:")), Chat(endpoint, app or policy_app(wary, 8.0))
        agent = Agent("ann", "the goal", Library(SKILLS), chat)
        outcome = await Runtime(rules, world or Meadow(threat_at=10.0), memory, [agent]).run()
        return outcome, [event async for event in memory.since(0)], chat

    return clock.run(main, "virtual")


def calls(events: list[Event]) -> list[tuple[float, str, int, int]]:
    """When each ended, how, and the tokens of its prompt and its reply."""
    return [
        (event.time, event.data["status"], event.data["tokens"]["prompt"], event.data["tokens"]["completion"])
        for event in events
        if event.kind == "call_end"
    ]


def test_a_call_that_is_given_up_is_charged_its_prompt() -> None:
    outcome, events, chat = played()
    first, second, third = calls(events)
    assert (first[:2], second[:2], third[:2]) == ((8.0, "done"), (10.0, "cancelled"), (15.0, "cancelled"))
    assert first[3] > 0
    assert second[3] == third[3] == 0, "how much of the reply was made is not known"
    assert second[2] == pytest.approx(first[2], rel=0.2), "the same prompt, about"
    assert outcome.tokens == chat.spent_tokens == sum(prompt + reply for _, _, prompt, reply in calls(events))


def test_a_call_that_is_given_up_counts_for_limit_and_budgets() -> None:
    _, events, _ = played()
    first, second, _ = calls(events)
    spent = first[2] + first[3] + second[2]
    for more, end in ((0, 10.0), (1, 15.0)):
        outcome, events, _ = played(limits=Limits(seconds=15.0, tokens=spent + more))
        assert events[-1].time == end
        assert outcome.limit == (f"{spent} tokens" if end == 10.0 else "15 s")
        budget = ENDPOINT.model_copy(update={"token_budget": spent + more})
        outcome, events, _ = played(budget)
        assert (events[-1].time, outcome.limit) == (end, "the planner's budget" if end == 10.0 else "15 s")
    money = {"price_in": 1e6, "money_budget": float(first[2] + second[2])}
    outcome, events, _ = played(ENDPOINT.model_copy(update=money))
    assert (events[-1].time, outcome.limit) == (10.0, "the planner's budget")


def test_the_call_that_the_goal_ends_is_paid_for_and_ends_nothing() -> None:
    whole, events, _ = played(world=Meadow(goal={"mine": 1}), planning="continuous", limits=Limits(seconds=500.0))
    assert calls(events)[-1][1] == "cancelled"
    just = Limits(seconds=500.0, tokens=whole.tokens)
    again, _, _ = played(world=Meadow(goal={"mine": 1}), planning="continuous", limits=just)
    assert again == whole
    assert again.limit == ""


class Late:
    """A chat back end that does not answer in time, then refuses, then does nothing."""

    name = "late"

    def __init__(self) -> None:
        self.asked: Iterator[int] = iter(range(100))

    def count(self, messages: Any) -> int:
        return 1

    async def answer(self, messages: Any, asked: Any) -> Any:
        number = next(self.asked)
        if number == 0:
            await anyio.sleep(1e4)
        if number == 1:
            raise BadRequest("no")
        yield '{"skill": null}'


def test_who_is_too_late_is_paid_and_who_refuses_is_not() -> None:
    endpoint = ENDPOINT.model_copy(update={"timeout": 5.0})
    outcome, events, chat = played(endpoint, chat_app(Late()), Meadow(), mode="serial", limits=Limits(seconds=8.5))
    late, refused, answered = calls(events)[:3]
    assert (late[:2], late[2] > 100, late[3]) == ((5.0, "no answer within 5 s"), True, 0)
    assert refused[2:] == (0, 0)
    assert answered[2] == 1, "as the server counts"
    assert outcome.tokens == chat.spent_tokens == sum(prompt + reply for _, _, prompt, reply in calls(events))


def test_a_replay_charges_what_the_run_was_charged() -> None:
    """From the log alone: a call that came too late, one that was cancelled by a reflex, one that was answered."""
    rules = RuntimeSettings(
        clock="virtual", limits=Limits(seconds=30.0), reflexes=[ReflexSettings(event="threat", skill="evade")]
    )
    endpoint = ENDPOINT.model_copy(update={"timeout": 5.0})

    class Slow(Late):
        async def answer(self, messages: Any, asked: Any) -> Any:
            await anyio.sleep((1e4, 4.5, 1.0)[min(2, next(self.asked))])
            yield '{"skill": {"name": "mine", "arguments": {}}}'

    def run(past: list[Event]) -> tuple[Outcome, list[Event], int]:
        async def main() -> tuple[Outcome, list[Event], int]:
            inner = SQLiteMemory(Path(":memory:"))
            memory = ReplayingMemory(inner, past) if past else inner
            chat = RecordedChat(endpoint) if past else Chat(endpoint, chat_app(Slow()))
            library = Library(SKILLS)
            agent = Agent("ann", "the goal", library, chat, Rules(rules.reflexes, library))
            outcome = await Runtime(rules, Meadow(threat_at=8.0), memory, [agent]).run()
            return outcome, [event async for event in memory.since(0)], chat.spent_tokens

        return clock.run(main, "virtual")

    whole = run([])
    assert [status for _, status, _, _ in calls(whole[1])][:3] == ["no answer within 5 s", "cancelled", "done"]
    assert run(whole[1]) == whole
