"""An OpenAI-compatible endpoint that takes images, as a generator (:mod:`burnish.dialogue.endpoint` does the asking).

Seeds go with each request; whether an answer is the same again is up to the server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from burnish.align.generators.conversations import conversation
from burnish.align.generators.counts import TokenCounts
from burnish.align.records import Answer, Ask, Sampling
from burnish.dialogue.endpoint import ChatEndpoint, Completion
from burnish.dialogue.server import EndpointSettings

AGAIN = "shards that are made are kept; the same command goes on from there"


class EndpointGenerator:
    """See the module.

    Args:
        settings: where it is. A variable for the key that is not set is taken for a server without keys.
        system: system turn of every conversation; none leaves it out.
        retries: of one request, after the first try.
        timeout: seconds of one try.
        sleep: how to wait; tests have a clock of their own.
        transport: of httpx, to ask something else than the network.

    Attributes:
        counts: tokens as the endpoint counts them; 0 of those that it does not.
        problems: how often a try failed, by cause.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        system: str | None = None,
        retries: int = 8,
        timeout: float = 120.0,
        sleep: Callable[[float], object] | None = None,
        transport: Any = None,
    ) -> None:
        self.counts = TokenCounts()
        self._system = system
        self._endpoint = ChatEndpoint(
            settings.url,
            settings.model,
            asked_by="generator",
            key_variable=settings.key if os.environ.get(settings.key) else None,
            parallel=settings.parallel,
            retries=retries,
            timeout=timeout,
            hint=AGAIN,
            sleep=sleep,
            transport=transport,
        )
        self.problems = self._endpoint.problems

    def answer(self, asks: Sequence[Ask], sampling: Sampling) -> list[Answer]:
        """See the protocol.

        Raises:
            UserError: the endpoint refuses the key, the model or the request.
            BurnishError: a request fails for good.
        """
        bodies = [
            {
                "messages": conversation(ask, self._system),
                "max_tokens": sampling.tokens,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "seed": ask.seed % (1 << 31),
            }
            for ask in asks
        ]
        found = self._endpoint.complete(bodies)
        for ask, completion in zip(asks, found, strict=True):
            self.counts += _counted(ask, completion)
        return [Answer(each.text.strip(), each.written or 0, cut=not each.finished) for each in found]

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()


def _counted(ask: Ask, completion: Completion) -> TokenCounts:
    pictures = int(ask.image is not None)
    if completion.read is None or completion.written is None:
        return TokenCounts(pictures=pictures)
    return TokenCounts(completion.written, completion.read - completion.cached, completion.cached, pictures)
