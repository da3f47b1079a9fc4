"""A server with OpenAI's chat interface. It may fail, lag, or answer garbage; every failure is counted.

A request that fails for a reason that may pass is sent again, waiting twice as long each time, or as long as the server
asks for; so many tries outlast an endpoint that is down for a minute or two. How long one request waits in all is
bounded. Knows HTTP and what a completion looks like; knows no method.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from burnish.core.errors import BurnishError, UserError, one_line

FIRST_WAIT = 0.5  # seconds before the second try; doubled each time
LONGEST_WAIT = 60.0
PATIENCE = 300.0  # seconds that one request waits between its tries, all together
LONGEST = 200_000  # characters of a reply that are read
OPTIONAL = ("top_k", "seed")  # not every server takes them
HINTS = {
    401: "name the variable that holds its key",
    403: "name the variable that holds its key",
    404: "is `{model}` what it calls the model, and does the address end in /v1?",
}


@dataclass(frozen=True)
class Completion:
    """What came back.

    Attributes:
        text: as written; empty where the prompt does not fit into the model's context.
        finished: whether the model ended it; false where the limit cut it off.
        read: tokens of the prompt, as the server counts them; none where it does not say.
        written: tokens of the text, likewise.
        cached: of those read, how many it had kept.
    """

    text: str
    finished: bool
    read: int | None = None
    written: int | None = None
    cached: int = 0


class ChatEndpoint:
    """See the module.

    Args:
        url: up to and including ``/v1``.
        model: what the endpoint calls it.
        asked_by: what asks, for messages.
        key_variable: the environment variable that holds the key; none for an endpoint without one.
        parallel: requests at a time.
        retries: of one request, after the first try.
        timeout: seconds of one try.
        hint: said when a request fails for good: what is kept, and what to do.
        sleep: how to wait; tests have a clock of their own.
        transport: of httpx, to ask something else than the network.

    Attributes:
        problems: how often a try failed, by cause.

    Raises:
        UserError: the key's variable is empty.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        asked_by: str,
        key_variable: str | None = None,
        parallel: int = 8,
        retries: int = 8,
        timeout: float = 120.0,
        hint: str = "see to it and run the same command again",
        sleep: Callable[[float], object] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        key = os.environ.get(key_variable, "").strip() if key_variable else "none"
        if not key:
            raise UserError(
                f"{asked_by}: the environment variable {key_variable} is not set; put the endpoint's key there"
            )
        self.url, self.model = url.rstrip("/"), model
        self.problems: Counter[str] = Counter()
        self._parallel, self._retries, self._sleep, self._hint = parallel, retries, sleep, hint
        self._lock = threading.Lock()
        self._left_out: set[str] = set()
        self._limit_name = "max_tokens"
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout,
            transport=transport,
            limits=httpx.Limits(max_connections=parallel, max_keepalive_connections=parallel),
        )

    def complete(self, bodies: Sequence[Mapping[str, Any]]) -> list[Completion]:
        """Completions in order.

        Args:
            bodies: of each request, less the model; ``max_tokens`` limits the text.

        Raises:
            UserError: the endpoint refuses the key, the model or the request.
            BurnishError: a request fails for good.
        """
        stop = threading.Event()
        with ThreadPoolExecutor(self._parallel) as pool:
            tasks = [pool.submit(self._one, body, stop) for body in bodies]
            try:
                return [task.result() for task in tasks]
            finally:
                stop.set()  # those under way need not be waited for
                for task in tasks:
                    task.cancel()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _one(self, body: Mapping[str, Any], stop: threading.Event) -> Completion:
        problem, wait, waited, tries = "", 0.0, 0.0, 0
        for attempt in range(self._retries + 1):
            if attempt:
                wait = max(wait, min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT))
                waited += wait
                if waited > PATIENCE or stop.is_set():
                    break
                (self._sleep or stop.wait)(wait)
                wait = 0.0
            tries += 1
            try:
                response = self._client.post(f"{self.url}/chat/completions", json=self._body(body))
                if response.status_code == 200:
                    return _read(response.json())
                if (refused := self._refused(response)) is not None:
                    return refused
                problem, wait = f"status {response.status_code}", _retry_after(response)
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise UserError(f"{self.url}: not an address ({error}); write it as http://host:port/v1") from None
            except httpx.TimeoutException:
                problem = "timeout"
            except httpx.TransportError:
                problem = "no connection"
            except (ValueError, httpx.DecodingError):
                problem = "garbage"
            with self._lock:
                self.problems[problem] += 1
        raise BurnishError(f"{self.url}: {problem} at {tries} tries of one request; {self._hint}")

    def _body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in body.items() if name not in self._left_out}
        kept[self._limit_name] = kept.pop("max_tokens")
        return {"model": self.model, **kept}

    def _refused(self, response: httpx.Response) -> Completion | None:
        """What follows from a refusal: a reply to a turn that is too long; none where a further try may help.

        Raises:
            UserError: it is the user's to mend.
        """
        status, words = response.status_code, _words(response)
        if status in (408, 409, 429) or status >= 500:
            return None
        if status in (400, 422):
            if "context" in words.lower() and "length" in words.lower():
                return Completion("", finished=False)
            with self._lock:
                if "max_completion_tokens" in words and self._limit_name == "max_tokens":
                    self._limit_name = "max_completion_tokens"
                    return None
                named = {name for name in OPTIONAL if name in words} - self._left_out
                if named:
                    self._left_out |= named
                    return None
        hint = f"; {HINTS[status].format(model=self.model)}" if status in HINTS else ""
        raise UserError(f"{self.url}: status {status} ({words}){hint}")


def _read(answer: Any) -> Completion:
    """The completion in a reply.

    Raises:
        ValueError: there is none.
    """
    try:
        choice = answer["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (TypeError, KeyError, IndexError, AttributeError):
        raise ValueError("no chat completion") from None
    if not isinstance(text, str):
        raise ValueError("a completion without text")
    text = text[:LONGEST].encode("utf-8", "replace").decode()  # half a surrogate pair could not be written down
    usage = answer.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    read, written = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if not (isinstance(read, int) and isinstance(written, int)) or min(read, written) < 0:
        return Completion(text, finish == "stop")
    details = counts.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    kept = min(read, cached) if isinstance(cached, int) and cached > 0 else 0
    return Completion(text, finish == "stop", read, written, kept)


def _words(response: httpx.Response) -> str:
    try:
        said = response.json()["error"]
        said = said["message"] if isinstance(said, Mapping) else said
    except (ValueError, KeyError, TypeError):
        said = response.text
    return one_line(str(said))[:200]


def _retry_after(response: httpx.Response) -> float:
    """Seconds that a server asks to wait, within bounds; 0 where it says nothing, or a date."""
    try:
        return min(max(0.0, float(response.headers.get("Retry-After", 0))), LONGEST_WAIT)
    except ValueError:
        return 0.0
