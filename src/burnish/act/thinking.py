"""One thought of an agent: what it knows, a call of its chat model, a decision. Every call is in the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from burnish.act.memory.log import Snapshot
from burnish.act.planner import (
    LONGEST,
    BudgetSpent,
    CallFailed,
    Chat,
    Decision,
    GivenUp,
    Reply,
    estimate,
    parse_decision,
    prompt,
)
from burnish.act.recipe import RuntimeSettings
from burnish.act.session import Session
from burnish.act.skills.library import BadCall
from burnish.act.team import Agent


@dataclass(frozen=True)
class Thought:
    """What came of a planning call.

    Attributes:
        decision: none where the model gave no usable answer.
        version: of the memory that it was made on.
    """

    decision: Decision | None
    version: int


class Thinker:
    """Thinks for the agents of a team.

    Args:
        session: where it is logged.
        settings: whether an agent knows what its team does and says, and how far it plans.
    """

    def __init__(self, session: Session, settings: RuntimeSettings) -> None:
        self._session = session
        self._settings = settings

    async def think(self, agent: Agent) -> Thought:
        """One planning call, with one round of repair."""
        snapshot = await self._known(agent)
        agent.attention.thinks(snapshot.version)
        with self._session.span("plan", agent.name, {"version": snapshot.version}) as span:
            decision, problem = await self._decide(agent, snapshot)
            data: dict[str, Any] = {"version": snapshot.version}
            if decision is None:
                data["unusable"] = problem or "no answer"
            else:
                data |= decision.to_json()
            span.set_attributes({key: str(value) for key, value in data.items() if key != "version"})
            await self._session.log("plan", agent.name, data)
        return Thought(decision, snapshot.version)

    async def _decide(self, agent: Agent, snapshot: Snapshot) -> tuple[Decision | None, str]:
        """A decision, or what was wrong with the replies."""
        horizon = self._settings.horizon
        planned = [step.call for step in agent.slot.waiting] if self._settings.planning == "events" else None
        messages = prompt(agent.name, agent.goal, snapshot, agent.library, planned, horizon)
        problem = ""
        for attempt in range(2):
            text = await self._call(agent, messages, attempt)
            if text is None:
                break
            try:
                return parse_decision(text, agent.library, horizon), ""
            except BadCall as error:
                problem = str(error)
                repair = f"That reply cannot be used: {problem}. Reply again with one JSON object of the schema."
                messages = [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": repair}]
        return None, problem

    async def _known(self, agent: Agent) -> Snapshot:
        snapshot = await self._session.memory.snapshot()
        if self._settings.shared_memory:
            return snapshot
        return Snapshot(
            version=snapshot.version,
            observations=_own(agent, snapshot.observations),
            actions=_own(agent, snapshot.actions),
            results=_own(agent, snapshot.results),
            touched=snapshot.touched,
        )

    async def react(self, agent: Agent, chat: Chat, messages: Sequence[Mapping[str, str]], seq: int) -> str | None:
        """A reactor's call about event ``seq``, beside the planner's; ``None`` if it failed or cannot be paid."""
        key = f"{agent.name}/reaction/{seq}"
        try:
            return await self._logged(agent, chat, messages, "reaction", key, {"on": seq}, 1, lambda _text: None)
        except BudgetSpent:
            return None

    async def _call(self, agent: Agent, messages: Sequence[Mapping[str, str]], attempt: int) -> str | None:
        """One call of the planner; ``None`` if it failed."""
        assert agent.chat is not None
        if not attempt:
            agent.calls += 1
        about = {"call": agent.calls, "attempt": attempt}
        key = f"{agent.name}/call/{agent.calls}/{attempt}"
        await self._session.log("call_start", agent.name, about)
        agent.thought = ""

        def thinking(text: str) -> None:
            agent.thought = text

        try:
            return await self._logged(
                agent, agent.chat, messages, "call_end", key, about, self._settings.horizon, thinking
            )
        except BudgetSpent:
            self._session.end("the planner's budget")
            return None
        finally:
            agent.thought = ""

    async def _logged(
        self,
        agent: Agent,
        chat: Chat,
        messages: Sequence[Mapping[str, str]],
        kind: str,
        key: str,
        about: Mapping[str, Any],
        horizon: int,
        thinking: Callable[[str], None],
    ) -> str | None:
        """One call of a chat model, which stands in the log whatever becomes of it; ``None`` if it failed.

        One that was given up is charged its prompt; how much of the reply was made is not known.

        Raises:
            BudgetSpent: nothing is left to pay it.
        """
        said = ""

        def saying(text: str) -> None:
            nonlocal said
            said = text
            thinking(text)

        status, reply, given_up = "cancelled", None, True
        with self._session.span("llm_call", agent.name, about) as span:
            try:
                reply = await self._answer(agent, chat, messages, key, horizon, saying)
                status, given_up = "done", False
            except GivenUp as error:
                status = str(error)
            except CallFailed as error:
                status, given_up = str(error), False
            except BudgetSpent as error:
                status, given_up = str(error), False
                raise
            finally:
                # What was half said is kept as such, also when the call is cancelled.
                with anyio.CancelScope(shield=True):
                    used = reply or Reply(said, estimate(messages) if given_up else 0, 0)
                    if given_up:
                        chat.count(used)
                    tokens = {"prompt": used.prompt_tokens, "completion": used.completion_tokens}
                    span.set_attributes(
                        {"status": status, **{f"tokens.{name}": count for name, count in tokens.items()}}
                    )
                    data = {**about, "status": status, "tokens": tokens, "text": used.text[:LONGEST]}
                    await self._session.log(kind, agent.name, data, key=key)
                self._session.use(sum(tokens.values()))
        return None if reply is None else reply.text

    async def _answer(
        self,
        agent: Agent,
        chat: Chat,
        messages: Sequence[Mapping[str, str]],
        key: str,
        horizon: int,
        thinking: Callable[[str], None],
    ) -> Reply:
        """The model's answer, or in a replay the one that it gave, at the time at which it gave it.

        What answers in this process is asked again: it says the same, and takes the same steps of the event loop.
        """
        past = self._session.memory.recorded(key) if chat.outside else None
        if past is None:
            return await chat.complete(messages, agent.library.reply_schema(horizon), thinking)
        chat.afford()
        if past.data["status"] != "done":
            thinking(past.data["text"])  # what it had said by then
        if past.data["status"] == "cancelled":
            await anyio.sleep_forever()  # whatever cancelled it then does so now
        await anyio.sleep(past.time - self._session.now())
        tokens = past.data["tokens"]
        if past.data["status"] != "done":
            raise (GivenUp if tokens["prompt"] else CallFailed)(past.data["status"])
        return chat.count(Reply(past.data["text"], tokens["prompt"], tokens["completion"]))


def _own(agent: Agent, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What is known of an agent alone."""
    return {agent.name: known[agent.name]} if agent.name in known else {}
