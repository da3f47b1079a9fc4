"""Scripted policies behind the chat API: a planner that is not a model, with a latency of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import anyio

from burnish.act.chat_api import BadRequest, ChatRequest, chat_app
from burnish.core.errors import raised

Policy = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""From what the prompt says (goal, you, team, chat) to a reply (skill, interrupt, reason)."""


class Scripted:
    """A policy as a chat back end: it reads the prompt at once and answers after ``latency`` seconds.

    Args:
        policy: the policy.
        latency: seconds of one call.
    """

    name = "policy"

    def __init__(self, policy: Policy, latency: float) -> None:
        self._policy = policy
        self._latency = latency

    def count(self, messages: Sequence[Mapping[str, str]]) -> int:
        """Four characters are taken for one token."""
        return sum(len(message["content"]) for message in messages) // 4

    async def answer(self, messages: Sequence[Mapping[str, str]], _asked: ChatRequest) -> AsyncIterator[str]:
        """The reply, word by word, the last one when the latency is over.

        Raises:
            BadRequest: the policy raised something, or its reply is no JSON; says what and where.
        """
        known = json.loads(messages[1]["content"])
        try:
            text = json.dumps(self._policy(known))
        except Exception as error:  # the user's own code
            raise BadRequest(f"the policy raised {raised(error)}") from error
        words = text.split(" ")
        for number, word in enumerate(words):
            await anyio.sleep(self._latency / len(words))
            yield word if number == len(words) - 1 else word + " "


def policy_app(policy: Policy, latency: float) -> Any:
    """An ASGI application that answers by a policy."""
    return chat_app(Scripted(policy, latency))
