"""The planner: a prompt from what the team knows, one call of a chat model, a decision that has been checked.

Speaks to any OpenAI-compatible endpoint. A reply that does not parse, or names no skill, goes back once with the error;
after that the agent keeps what it is doing. Nothing of a reply is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import anyio

from burnish.act import clock
from burnish.act.memory.log import Snapshot
from burnish.act.recipe import EndpointSettings
from burnish.act.skills.library import BadCall, Call, Library
from burnish.core.errors import BurnishError, UserError
from burnish.core.packages import Need, not_installed

Message = Mapping[str, str]
COMPLETIONS = "/chat/completions"
LONGEST = 65_536  # characters of a reply; a decision has a few hundred


class CallFailed(BurnishError):
    """The endpoint gave no usable answer; one line says why. The agent carries on."""


class GivenUp(CallFailed):
    """No answer within the time: what was asked has been sent, and is paid for."""


class BudgetSpent(BurnishError):
    """The tokens or the money that the recipe allows are used up."""


@dataclass(frozen=True)
class Reply:
    """A chat model's answer and what it cost, in tokens."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Decision:
    """What the planner wants.

    Attributes:
        calls: the skills to run next, in order; none keeps what is planned.
        interrupt: whether the running skill is to stop at once.
        reason: the model's words.
    """

    calls: tuple[Call, ...]
    interrupt: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in the log: like the reply."""
        steps = [call.to_json() for call in self.calls]
        then = {"then": steps[1:]} if len(steps) > 1 else {}
        return {"skill": steps[0] if steps else None, **then, "interrupt": self.interrupt, "reason": self.reason}


def parse_decision(text: str, library: Library, horizon: int = 1) -> Decision:
    """A decision from a reply.

    Args:
        text: the reply.
        library: the skills that it may name.
        horizon: steps that its plan may have.

    Raises:
        BadCall: it is not the JSON that was asked for, or a skill of it does not exist or fit.
    """
    if len(text) > LONGEST:
        raise BadCall(f"the reply is longer than {LONGEST} characters")
    start, end = text.find("{"), text.rfind("}")
    try:
        found = json.loads(text[start : end + 1])
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadCall(f"the reply is not one JSON object ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise BadCall("the reply is not one JSON object")
    interrupt, reason, wanted = found.get("interrupt", False), found.get("reason", ""), found.get("skill")
    then = found.get("then") or []
    if not isinstance(interrupt, bool) or not isinstance(reason, str):
        raise BadCall("`interrupt` is true or false, `reason` is text")
    if not isinstance(then, list) or len(then) >= horizon:
        raise BadCall(f"`then` is a list of at most {horizon - 1} calls")
    steps = [wanted, *then] if wanted is not None else []
    if not all(isinstance(step, dict) for step in steps):
        raise BadCall('`skill` is null or {"name": ..., "arguments": {...}}, and so is each call of `then`')
    return Decision(tuple(library.call(step.get("name"), step.get("arguments")) for step in steps), interrupt, reason)


def prompt(
    agent: str,
    goal: str,
    snapshot: Snapshot,
    library: Library,
    waiting: Sequence[Call] | None = None,
    horizon: int = 1,
) -> list[Message]:
    """The messages of one planning call: rules and skills, then all that the team knows (the paper's prompt).

    Args:
        agent: who plans.
        goal: in words.
        snapshot: what is known.
        library: the agent's skills.
        waiting: the steps that are planned and not begun; ``None`` leaves them out, as published.
        horizon: steps that a plan may have.
    """
    planned = "" if waiting is None else "\n`next` is what you have planned after what you do; a new plan replaces it."
    steps = (
        f"\nPlan up to {horizon} steps: `skill` is the first, `then` the others in order. Fewer say that no more are "
        "needed."
        if horizon > 1
        else ""
    )
    rules = (
        f"You are {agent}, one agent of a team. You plan while you act: the world does not wait for you.\n"
        "Reply with one JSON object: `reason` (short), `skill` (one of the skills below with its arguments, or null "
        "to go on with what you do) and `interrupt` (true stops the running skill at once, for danger or a better "
        "plan).\n"
        f"Reply schema: {library.reply_schema_text(horizon)}"
        f"{planned}{steps}"
    )
    known: dict[str, Any] = {
        "goal": goal,
        "you": {
            "name": agent,
            "doing": snapshot.actions.get(agent),
            "last": snapshot.results.get(agent),
            "see": snapshot.observations.get(agent),
        },
        "team": {
            name: {"doing": snapshot.actions.get(name), "see": seen}
            for name, seen in sorted(snapshot.observations.items())
            if name != agent
        },
        "chat": list(snapshot.chat),
    }
    if waiting is not None:
        known["you"]["next"] = [call.to_json() for call in waiting]
    if horizon > 1:
        known["horizon"] = horizon
    return [{"role": "system", "content": rules}, {"role": "user", "content": json.dumps(known)}]


class Chat:
    """One endpoint, with its budget shared by all agents that use it.

    Args:
        settings: address, model, limits.
        app: an ASGI application to ask in this process instead of the address: then its time is the run's clock.

    Attributes:
        outside: whether answers come from outside of this process, and so are not the same when asked for again.

    Raises:
        UserError: the package ``openai`` is missing, or the key's environment variable is empty.
    """

    def __init__(self, settings: EndpointSettings, app: Any = None) -> None:
        try:
            import httpx
            import openai
            from openai._base_client import get_platform

            from burnish.act.in_process import InProcess
        except ImportError:
            raise not_installed("planner", Need(("openai", "anyio"), "act")) from None
        self.settings = settings
        self.spent_tokens = 0
        self.spent_money = 0.0
        self.outside = app is None
        self._failures: tuple[type[Exception], ...] = (openai.OpenAIError, httpx.HTTPError, ValueError, OSError)
        client = None if app is None else httpx.AsyncClient(transport=InProcess(app))
        self._client = openai.AsyncOpenAI(
            base_url=settings.url,
            api_key=settings.key(),
            max_retries=settings.retries,
            timeout=settings.timeout,
            http_client=client,
        )
        # The client would ask a thread for it in its first request; a thread's answer comes at no certain turn of the
        # loop, and the agents of two teams would take turns differently each time.
        self._client._platform = get_platform()

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def reach(self) -> None:
        """Ask the endpoint for its models, once, before anything is begun: any answer will do.

        Raises:
            UserError: nobody answers at the address.
        """
        import openai

        try:
            async with self._within(self.settings.timeout):
                with clock.hold() if self.outside else nullcontext():
                    await self._client.models.list()
        except openai.APIStatusError:
            return  # a server without this list is a server
        except self._failures as error:  # a TimeoutError is an OSError
            raise UserError(
                f"planner.url: nobody answers at {self.settings.url} ({type(error).__name__}); start the server, or "
                "`burnish act llm` for one of your own"
            ) from None

    async def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], thought: Callable[[str], None]
    ) -> Reply:
        """One call. ``thought`` gets the unfinished text as it streams in.

        Raises:
            GivenUp: time-out. Like a call that is cancelled it is not charged here, for its caller knows what was sent.
            CallFailed: an error status after the retries, or a body that cannot be read.
            BudgetSpent: before the call, if nothing is left.
        """
        self.afford()
        limits = self.settings
        request = {
            "model": limits.model,
            "messages": list(messages),
            "temperature": limits.temperature,
            "max_tokens": limits.max_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "decision", "schema": schema, "strict": True},
            },
        }
        try:
            async with self._within(limits.timeout):
                with clock.hold() if self.outside else nullcontext():
                    reply = await (self._stream(request, thought) if limits.stream else self._whole(request, thought))
        except TimeoutError:
            raise GivenUp(f"no answer within {limits.timeout:g} s") from None
        except self._failures as error:
            raise CallFailed(f"{type(error).__name__}: {str(error)[:200]}".replace("\n", " ")) from None
        if limits.seconds_per_token:
            await anyio.sleep(limits.seconds_per_token * reply.completion_tokens)
        return self.count(reply)  # last: who is cancelled before is charged as one that is

    def afford(self) -> None:
        """Nothing, while there is budget left for one more call.

        Raises:
            BudgetSpent: there is none.
        """
        limits = self.settings
        if self.spent_tokens >= limits.token_budget or self.spent_money >= limits.money_budget:
            raise BudgetSpent(
                f"planner: {self.spent_tokens} tokens and {self.spent_money:.2f} spent; the budget is used up"
            )

    def count(self, reply: Reply) -> Reply:
        """Charge a reply to the budget; gives it back."""
        self.spent_tokens += reply.prompt_tokens + reply.completion_tokens
        limits = self.settings
        self.spent_money += (limits.price_in * reply.prompt_tokens + limits.price_out * reply.completion_tokens) / 1e6
        return reply

    @asynccontextmanager
    async def _within(self, seconds: float) -> AsyncIterator[None]:
        if self.outside:
            async with clock.fail_after_on_the_wall(seconds):
                yield
        else:
            with anyio.fail_after(seconds):
                yield

    async def _whole(self, request: dict[str, Any], thought: Callable[[str], None]) -> Reply:
        # The client's own `chat.completions.create` walks through schema and messages in search of names to translate,
        # and makes objects of the answer without validating it: that takes longer than all else that it does.
        answer = await self._client.post(COMPLETIONS, cast_to=object, body=request)
        if not isinstance(answer, dict) or not answer.get("choices"):
            raise ValueError("the answer is no chat completion")
        text = _text(answer, "message")
        thought(text[:LONGEST])
        return _counted(request, text, answer.get("usage"))

    async def _stream(self, request: dict[str, Any], thought: Callable[[str], None]) -> Reply:
        from openai import AsyncStream

        text, usage = "", None
        stream = await self._client.post(
            COMPLETIONS,
            cast_to=object,
            body={**request, "stream": True, "stream_options": {"include_usage": True}},
            stream=True,
            stream_cls=AsyncStream[object],
        )
        async with stream:
            async for chunk in stream:
                if not isinstance(chunk, dict):
                    raise ValueError("the answer is no chat completion")
                usage = chunk.get("usage") or usage
                text += _text(chunk, "delta")
                thought(text)
                if len(text) > LONGEST:
                    break
        return _counted(request, text, usage)


class RecordedChat(Chat):
    """An endpoint that is not asked, because its answers are recorded in the log; one that is not there never comes.

    Args:
        settings: the endpoint's.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        super().__init__(settings.model_copy(update={"key_variable": None}))

    async def reach(self) -> None:
        """See :class:`Chat`; nobody needs to answer."""

    async def complete(
        self, _messages: Sequence[Message], _schema: Mapping[str, Any], _thought: Callable[[str], None]
    ) -> Reply:
        """See :class:`Chat`."""
        self.afford()
        await anyio.sleep_forever()
        raise AssertionError("never comes here")


def _text(answer: Mapping[str, Any], part: str) -> str:
    """The text of a completion (its message) or of a piece of one (its delta); empty where there is none."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    found = first.get(part) if isinstance(first, dict) else None
    content = found.get("content") if isinstance(found, dict) else None
    return content if isinstance(content, str) else ""


def _counted(request: Mapping[str, Any], text: str, usage: Any) -> Reply:
    """Tokens as the server counts them; if it does not, estimated."""
    counts = usage if isinstance(usage, dict) else {}
    prompt_tokens, completion_tokens = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if isinstance(prompt_tokens, int) and isinstance(completion_tokens, int):
        return Reply(text, max(0, prompt_tokens), max(0, completion_tokens))
    return Reply(text, estimate(request["messages"]), len(text) // 4)


def estimate(messages: Sequence[Message]) -> int:
    """Tokens of a prompt that no server has counted: four characters are taken for one."""
    return sum(len(message["content"]) for message in messages) // 4
