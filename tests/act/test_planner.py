"""The planner against endpoints that misbehave; replies of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.act import clock
from burnish.act.memory.log import Snapshot
from burnish.act.planner import LONGEST, BudgetSpent, CallFailed, Chat, Reply, parse_decision, prompt
from burnish.act.policies import policy_app
from burnish.act.recipe import AgentSettings, EndpointSettings, Limits, ReflexSettings, RuntimeSettings, TeamRecipe
from burnish.act.skill_context import SkillContext
from burnish.act.skills.library import BadCall, Library, skill
from burnish.core.errors import UserError
from tests.act.worlds import SKILLS, Meadow, episode

LIBRARY = Library(SKILLS)


def reply(**changes: Any) -> str:
    return json.dumps(
        {"skill": {"name": "chop", "arguments": {"times": 2}}, "interrupt": False, "reason": "wood"} | changes
    )


def test_a_reply_becomes_a_decision() -> None:
    decision = parse_decision("Here you are:\n```json\n" + reply(interrupt=True) + "\n```", LIBRARY)
    (call,) = decision.calls
    assert (call.skill.name, call.arguments) == ("chop", {"times": 2})
    assert (decision.interrupt, decision.reason) == (True, "wood")
    assert parse_decision(reply(skill=None), LIBRARY).calls == ()
    assert parse_decision(reply(skill={"name": "chop"}), LIBRARY).calls[0].arguments == {"times": 3}


def test_a_reply_of_several_steps_becomes_a_plan() -> None:
    text = reply(then=[{"name": "chop", "arguments": {"times": 5}}, {"name": "chop", "arguments": {}}])
    decision = parse_decision(text, LIBRARY, horizon=3)
    assert [call.arguments["times"] for call in decision.calls] == [2, 5, 3]
    assert len(decision.to_json()["then"]) == 2
    assert parse_decision(reply(then=[]), LIBRARY, horizon=3).to_json() == parse_decision(reply(), LIBRARY).to_json()
    assert parse_decision(reply(skill=None, then=[]), LIBRARY, horizon=3).calls == ()
    with pytest.raises(BadCall, match="`then` is a list of at most 1 calls"):
        parse_decision(text, LIBRARY, horizon=2)
    with pytest.raises(BadCall, match="`then` is a list of at most 2 calls"):
        parse_decision(reply(then={"name": "chop"}), LIBRARY, horizon=3)
    with pytest.raises(BadCall, match="and so is each call of `then`"):
        parse_decision(reply(then=["chop"]), LIBRARY, horizon=3)
    assert "then" not in LIBRARY.reply_schema()["properties"]
    assert LIBRARY.reply_schema(3)["properties"]["then"]["maxItems"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not one JSON object"),
        ('{"skill": {"name": "cho', "not one JSON object"),
        ("[1, 2]", "not one JSON object"),
        ("{" * 100_000, "longer than"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "not one JSON object (RecursionError)"),
        (reply(skill="chop"), "`skill` is null or"),
        (reply(skill={"name": "chopp", "arguments": {}}), "there is no skill `chopp`; did you mean `chop`?"),
        (reply(skill={"name": 7}), "there is no skill `7`"),
        (reply(skill={"name": "chop", "arguments": {"times": "two"}}), "chop: times: Input should be a valid integer"),
        (reply(skill={"name": "chop", "arguments": {"trees": 2}}), "chop: trees: Extra inputs are not permitted"),
        (reply(skill={"name": "chop", "arguments": [2]}), "chop: arguments: "),
        (reply(interrupt="yes"), "`interrupt` is true or false"),
        (reply(reason=None), "`interrupt` is true or false, `reason` is text"),
        ("{" + "x" * LONGEST, "longer than"),
    ],
)
def test_a_reply_that_cannot_be_used_says_why(text: str, message: str) -> None:
    with pytest.raises(BadCall) as caught:
        parse_decision(text, LIBRARY)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.text(max_size=200),
        json_values.map(json.dumps),
        st.fixed_dictionaries({"skill": json_values}).map(json.dumps),
    )
)
def test_no_reply_does_more_than_fail(text: str) -> None:
    try:
        decision = parse_decision(text, LIBRARY)
    except BadCall as error:
        assert "\n" not in str(error)
    else:
        assert all(call.skill in list(LIBRARY) for call in decision.calls)


def test_the_prompt_holds_what_the_team_knows() -> None:
    snapshot = Snapshot(
        version=7,
        observations={"bob": {"health": 3}, "ann": {"health": 20}},
        actions={"bob": {"name": "mine", "arguments": {}}},
        results={"ann": {"name": "chop", "status": "done"}},
        chat=({"from": "bob", "text": "help"},),
    )
    system, user = prompt("ann", "an iron pickaxe", snapshot, LIBRARY)
    known = json.loads(user["content"])
    assert known == {
        "goal": "an iron pickaxe",
        "you": {"name": "ann", "doing": None, "last": {"name": "chop", "status": "done"}, "see": {"health": 20}},
        "team": {"bob": {"doing": {"name": "mine", "arguments": {}}, "see": {"health": 3}}},
        "chat": [{"from": "bob", "text": "help"}],
    }
    assert "Chop some trees, one after another." in system["content"]


# Endpoints


def chat(app: Any, **changes: Any) -> Chat:
    return Chat(EndpointSettings(url="http://here/v1", timeout=20.0, retries=1, **changes), app)


def ask(made: Callable[[], Chat], times: int = 1) -> list[Any]:
    """Replies, or what was raised, and the clock after each call."""

    async def main() -> list[Any]:
        found: list[Any] = []
        one = made()
        for _ in range(times):
            try:
                found.append(
                    await one.complete(
                        [{"role": "user", "content": "?"}, {"role": "user", "content": "{}"}], {}, lambda text: None
                    )
                )
            except (CallFailed, BudgetSpent) as error:
                found.append(error)
        await one.close()
        return [*found, clock.now()]

    return clock.run(main, "virtual")


def raw(status: int, body: bytes, kind: bytes = b"application/json", pause: float = 0.0) -> Any:
    """An endpoint that always answers so."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await anyio.sleep(pause)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})

    return app


def whole(text: str) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    head = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
    return json.dumps({**head, "choices": [choice]}).encode()


@pytest.mark.parametrize("stream", [False, True])
def test_a_good_endpoint(stream: bool) -> None:
    def policy(known: Any) -> dict[str, Any]:
        return {"skill": None, "interrupt": False, "reason": "a few words"}

    reply, time = ask(lambda: chat(policy_app(policy, 8.0), stream=stream))
    assert isinstance(reply, Reply)
    assert json.loads(reply.text)["reason"] == "a few words"
    assert reply.completion_tokens == len(json.dumps(policy(None)).split(" "))
    assert time == 8.0


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (raw(500, b"{}"), "InternalServerError"),
        (raw(200, whole("x")[:40]), "JSONDecodeError"),
        (raw(200, b"<html>busy</html>", b"text/html"), ""),
        (raw(404, b'{"error": {"message": "no such model\\nat all"}}'), "no such model"),
        (raw(200, b"{}", pause=1e4), "no answer within 20 s"),
    ],
)
def test_a_bad_endpoint_is_one_line(app: Any, message: str) -> None:
    error, time = ask(lambda: chat(app, stream=False))
    if isinstance(error, Reply):  # a page of text is no decision, and is found out when it is parsed
        with pytest.raises(BadCall):
            parse_decision(error.text, LIBRARY)
        return
    assert isinstance(error, CallFailed)
    assert message in str(error)
    assert "\n" not in str(error)
    assert time <= 20.0


def test_a_refused_connection_is_one_line() -> None:
    made = EndpointSettings(url="http://127.0.0.1:1/v1", timeout=5.0, retries=0)
    (error, _) = ask(lambda: Chat(made))
    assert isinstance(error, CallFailed)
    assert "APIConnectionError" in str(error)


def test_a_reply_of_ten_megabytes_is_not_used() -> None:
    (reply, _) = ask(lambda: chat(raw(200, whole("x" * 10_000_000)), stream=False))
    with pytest.raises(BadCall, match="longer than"):
        parse_decision(reply.text, LIBRARY)


def test_budgets_end_the_calls() -> None:
    def policy(known: Any) -> dict[str, Any]:
        return {"skill": None}

    found = ask(lambda: chat(policy_app(policy, 1.0), token_budget=2), times=3)
    assert isinstance(found[0], Reply)
    assert isinstance(found[1], BudgetSpent)
    found = ask(lambda: chat(policy_app(policy, 1.0), money_budget=1e-6, price_out=1.0), times=2)
    assert isinstance(found[1], BudgetSpent)


def test_tokens_are_time_on_the_token_clock() -> None:
    def policy(known: Any) -> dict[str, Any]:
        return {"skill": None, "reason": "one two three"}

    reply, time = ask(lambda: chat(policy_app(policy, 0.0), seconds_per_token=0.5))
    assert time == 0.5 * reply.completion_tokens == 3.0


# What the agent does about it


@pytest.mark.parametrize("fault", ["500", "half", "timeout", "unknown skill", "wrong types"])
def test_the_agent_carries_on(fault: str) -> None:
    """The planner fails for its first calls; then it works, and the goal is reached."""
    calls = iter(range(1000))

    def policy(known: Any) -> dict[str, Any]:
        number = next(calls)
        if number < 4:
            if fault == "500":
                raise RuntimeError("on purpose")
            if fault == "half":
                return "{"  # type: ignore[return-value]
            if fault == "timeout":
                return {"reason": "x"}
            name = "fly" if fault == "unknown skill" else "chop"
            return {"skill": {"name": name, "arguments": {"times": "many"}}, "interrupt": False, "reason": ""}
        return {"skill": {"name": "chop", "arguments": {"times": 3}}, "interrupt": False, "reason": ""}

    world = Meadow(goal={"chop": 3})
    outcome, events = episode(world, RuntimeSettings(clock="virtual", limits=Limits(seconds=300.0)), policy, 1.0)
    assert outcome.reached == ("ann",)
    plans = [event.data for event in events if event.kind == "plan"]
    if fault in ("half", "unknown skill", "wrong types"):
        # Each failing plan was sent back once: two calls a plan.
        assert ["unusable" in plan for plan in plans[:3]] == [True, True, False]
        assert [event.data["attempt"] for event in events if event.kind == "call_start"][:5] == [0, 1, 0, 1, 0]


def test_a_repaired_reply_is_used() -> None:
    seen: list[int] = []

    class Repairing:
        name = "repairing"

        def count(self, messages: Any) -> int:
            return 1

        async def answer(self, messages: Any, asked: Any) -> Any:
            seen.append(len(messages))
            yield "not json" if len(messages) == 2 else reply(skill={"name": "chop", "arguments": {"times": 3}})

    from burnish.act.chat_api import chat_app
    from burnish.act.memory.sqlite import SQLiteMemory
    from burnish.act.runtime import Agent, Runtime

    async def main() -> Any:
        from pathlib import Path

        made = Chat(EndpointSettings(url="http://here/v1"), chat_app(Repairing()))
        memory = SQLiteMemory(Path(":memory:"))
        limits = RuntimeSettings(clock="virtual", limits=Limits(seconds=30.0))
        world = Meadow(goal={"chop": 3})
        return await Runtime(limits, world, memory, [Agent("ann", "wood", LIBRARY, made)]).run()

    assert clock.run(main, "virtual").reached == ("ann",)
    assert seen[:2] == [2, 4]  # the bad reply and what is wrong with it went back


# Settings


def test_skills_need_types_and_words() -> None:
    async def untyped(context: SkillContext, times) -> None:
        """Words."""

    async def wordless(context: SkillContext) -> None:
        pass

    for function, message in ((untyped, "`times` has no type hint"), (wordless, "has no docstring")):
        with pytest.raises(UserError, match=message):
            skill(function)
    with pytest.raises(UserError, match="skill chop: defined twice"):
        Library([*SKILLS, SKILLS[2]])


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("agents: [{name: ann, goal: a}, {name: ann, goal: b}]", "two are called ann"),
        ("agents: []", "agents"),
        ("agents: [{name: 'a b', goal: a}]", "name"),
        ("agents: [{name: ann, goal: a}]\nruntime: {reactive: llm}", "`reactor` names the second model"),
        ("agents: [{name: ann, goal: a}]\nruntime: {reflexes: [{skill: evade}]}", "give `event` or `where`"),
        (
            "agents: [{name: ann, goal: a}]\nruntime: {reflexes: [{skill: evade, event: x, below: 3}]}",
            "give `where` together",
        ),
        ("agents: [{name: ann, goal: a}]\nplanner: {url: x, timeout: 0}", "timeout"),
    ],
)  # fmt: skip
def test_bad_settings_are_one_line(yaml: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        TeamRecipe.load("method: planning_acting\n" + yaml)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UserError, match="NO_SUCH_KEY is empty"):
        Chat(EndpointSettings(key_variable="NO_SUCH_KEY"))
    assert AgentSettings(name="ann", goal="g").model is None


def test_a_reflex_looks_at_the_observation() -> None:
    from burnish.act.reflexes import Rules
    from burnish.act.world import Happening

    rules = Rules([ReflexSettings(where="threat.distance", below=5, skill="evade")], LIBRARY)

    async def main() -> list[Any]:
        seen: list[dict[str, Any]] = [{"threat": {"distance": near}} for near in (4, 5, True, "4", None)]
        seen += [{}, {"threat": 4}, {"threat": {"distance": 4.9}}]
        return [await rules.react(Happening("noise"), one, "", LIBRARY, nobody) is not None for one in seen]

    async def nobody(chat: Any, messages: Any) -> str | None:
        raise AssertionError("a rule asks nobody")

    assert anyio.run(main) == [True, False, False, False, False, False, False, True]
    with pytest.raises(BadCall, match="there is no skill `flee`"):
        Rules([ReflexSettings(event="x", skill="flee")], LIBRARY)
