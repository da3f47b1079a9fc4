"""An OpenAI-compatible endpoint as a writer of phase 1. It may fail, lag, or answer garbage; every failure is counted.

A request that fails for a reason that may pass is sent again, waiting twice as long each time; so many tries outlast an
endpoint that is down for a minute or two. Then the search ends, and goes on from its last save when started again.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from burnish.core.errors import BurnishError, UserError, one_line
from burnish.reason.rftt.generators.prompted import Ask, Reply
from burnish.reason.rftt.generators.protocol import Sampling, TokenCounts

FIRST_WAIT = 0.5  # seconds before the second try; doubled each time
LONGEST_WAIT = 60.0
LONGEST = 200_000  # characters of a reply that are read
OPTIONAL = ("top_k", "seed")  # not every server takes them
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
        UserError: the package ``openai`` is missing, or the key's variable is empty.
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
        sleep: Callable[[float], object] = time.sleep,
        transport: Any = None,
    ) -> None:
        try:
            import httpx
            import openai
        except ModuleNotFoundError:
            raise UserError(
                "search: an endpoint needs the package `openai`; the extra `act` brings it", extra="act"
            ) from None
        key = os.environ.get(key_variable, "").strip() if key_variable else "none"
        if not key:
            raise UserError(f"search: the environment variable {key_variable} is not set; put the endpoint's key there")
        self.counts = TokenCounts()
        self.problems: Counter[str] = Counter()
        self._url, self._model = url, model
        self._workers, self._retries, self._sleep = workers, retries, sleep
        self._openai = openai
        self._lock = threading.Lock()
        self._left_out: set[str] = set()
        client = None if transport is None else httpx.Client(transport=transport, timeout=timeout)
        self._client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=timeout, http_client=client)

    def write(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """See :class:`burnish.reason.rftt.generators.prompted.Writer`.

        Raises:
            UserError: the endpoint refuses the key, the model or the request.
            BurnishError: a request fails for good.
        """
        with ThreadPoolExecutor(self._workers) as pool:
            tasks = [pool.submit(self._one, ask, sampling) for ask in asks]
            try:
                return [task.result() for task in tasks]
            finally:
                for task in tasks:
                    task.cancel()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _one(self, ask: Ask, sampling: Sampling) -> Reply:
        problem = ""
        for attempt in range(self._retries + 1):
            if attempt:
                self._sleep(min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT))
            try:
                return self._read(ask, self._post(ask, sampling))
            except self._openai.APIStatusError as error:
                if (reply := self._refused(error)) is not None:
                    return reply
                problem = f"status {error.status_code}"
            except self._openai.APITimeoutError:
                problem = "timeout"
            except self._openai.APIConnectionError:
                problem = "no connection"
            except (self._openai.OpenAIError, ValueError):
                problem = "garbage"
            with self._lock:
                self.problems[problem] += 1
        raise BurnishError(f"{self._url}: {problem} at {self._retries + 1} tries of one request; {AGAIN}")

    def _post(self, ask: Ask, sampling: Sampling) -> Any:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": ask.text}],
            "max_tokens": ask.tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": ask.seed % (1 << 31),
        }
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        return self._client.post(
            "/chat/completions",
            cast_to=object,
            body={name: value for name, value in body.items() if name not in self._left_out},
        )

    def _read(self, ask: Ask, answer: Any) -> Reply:
        """The reply in a completion.

        Raises:
            ValueError: it is none.
        """
        try:
            choice = answer["choices"][0]
            text, finish = choice["message"]["content"], choice.get("finish_reason")
        except (TypeError, KeyError, IndexError, AttributeError):
            raise ValueError("no chat completion") from None
        if not isinstance(text, str):
            raise ValueError("a completion without text")
        with self._lock:
            self.counts += _counted(ask.text, text, answer.get("usage"))
        return Reply(text[:LONGEST], finish == "stop")

    def _refused(self, error: Any) -> Reply | None:
        """What follows from a refusal: a reply to a turn that is too long; none where a further try may help.

        Raises:
            UserError: it is the user's to mend.
        """
        status, words = error.status_code, one_line(str(error))[:200]
        if status == 429 or status >= 500 or status == 408:
            return None
        if status in (400, 422):
            if "context" in words.lower() and "length" in words.lower():
                return Reply("", False)
            named = {name for name in OPTIONAL if name in words} - self._left_out
            if named:
                self._left_out |= named
                return None
        hint = {
            401: "; name the variable that holds its key",
            403: "; name the variable that holds its key",
            404: f"; is `{self._model}` what it calls the model, and does the address end in /v1?",
        }.get(status, "")
        raise UserError(f"{self._url}: status {status} ({words}){hint}") from None


def _counted(asked: str, text: str, usage: Any) -> TokenCounts:
    counts = usage if isinstance(usage, Mapping) else {}
    read, written = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if not (isinstance(read, int) and isinstance(written, int)) or min(read, written) < 0:
        return TokenCounts(generated=len(text) // 4, encoded=len(asked) // 4)
    details = counts.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    reused = min(read, cached) if isinstance(cached, int) and cached > 0 else 0
    return TokenCounts(generated=written, encoded=read - reused, reused=reused)
