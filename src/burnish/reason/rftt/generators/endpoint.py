"""An OpenAI-compatible endpoint as a writer of phase 1 (:mod:`burnish.dialogue.endpoint` says how it may fail).

Where a request fails for good the search ends, and goes on from its last save when started again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from burnish.dialogue.endpoint import ChatEndpoint, Completion
from burnish.reason.rftt.generators.prompted import Ask, Reply
from burnish.reason.rftt.generators.protocol import Sampling, TokenCounts

AGAIN = "trees that were saved are kept; the same command goes on from there"


class EndpointWriter:
    """See the module.

    Args:
        url: up to and including ``/v1``.
        model: what the endpoint calls it.
        key_variable: the environment variable that holds the key; none for an endpoint without one.
        workers: requests at a time.
        retries: of one request, after the first try.
        timeout: seconds of one try.
        sleep: how to wait; tests have a clock of their own.
        transport: of httpx, to ask something else than the network.

    Attributes:
        counts: tokens as the endpoint counts them; four characters are taken for one where it does not.
        problems: how often a try failed, by cause.

    Raises:
        UserError: the key's variable is empty.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_variable: str | None = None,
        workers: int = 8,
        retries: int = 8,
        timeout: float = 120.0,
        sleep: Callable[[float], object] | None = None,
        transport: Any = None,
    ) -> None:
        self.counts = TokenCounts()
        self._endpoint = ChatEndpoint(
            url,
            model,
            asked_by="search",
            key_variable=key_variable,
            parallel=workers,
            retries=retries,
            timeout=timeout,
            hint=AGAIN,
            sleep=sleep,
            transport=transport,
        )
        self.problems = self._endpoint.problems

    def write(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """See :class:`burnish.reason.rftt.generators.prompted.Writer`.

        Raises:
            UserError: the endpoint refuses the key, the model or the request.
            BurnishError: a request fails for good.
        """
        found = self._endpoint.complete([_body(ask, sampling) for ask in asks])
        for ask, completion in zip(asks, found, strict=True):
            self.counts += _counted(ask, completion)
        return [Reply(completion.text, completion.finished) for completion in found]

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()


def _body(ask: Ask, sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": ask.text}],
        "max_tokens": ask.tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": ask.seed % (1 << 31),
    }
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    return body


def _counted(ask: Ask, completion: Completion) -> TokenCounts:
    if completion.read is None or completion.written is None:
        return TokenCounts(generated=len(completion.text) // 4, encoded=len(ask.text) // 4)
    return TokenCounts(completion.written, completion.read - completion.cached, completion.cached)
