"""A suspect behind an HTTP endpoint. It may fail, lag, lie or be hostile; nothing that it sends is more than
numbers."""

from __future__ import annotations

import datetime
import email.utils
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
from jaxtyping import UInt8

from burnish.core.errors import BurnishError, UserError, one_line
from burnish.prove.suspects.answers import BadAnswer
from burnish.prove.suspects.settings import Answer, SuspectSettings
from burnish.prove.suspects.wire import to_png

FIRST_WAIT = 0.5  # seconds before the first retry; doubled each time
LONGEST_WAIT = 120.0  # an endpoint that asks for more is asked again by the next run
REPLY_BYTES = 1 << 20  # an image: 50,000 numbers, as JSON writes them
AGAIN = "answers so far are kept; the same command goes on where it stopped"


class Endpoint:
    """Posts batches to an address, with retries, a rate limit and a limit to what it reads.

    Args:
        settings: the address, the rate, the retries, the time-out.
        answer: what is asked for.
        sleep, clock: time, for tests.

    Raises:
        UserError: httpx is not installed, or the token's variable is not set or holds no token.
    """

    def __init__(
        self,
        settings: SuspectSettings,
        answer: Answer,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import httpx

        try:
            address = httpx.URL(settings.model)
        except httpx.InvalidURL as error:
            raise UserError(f"model: {settings.model} is not an address ({error})") from None
        if not address.host:
            raise UserError(f"model: {settings.model} names no host")
        # A password in the address would end up in the evidence.
        if address.userinfo:
            raise UserError("model: leave the password out of the address; name a variable with `token_env` instead")
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        self._token = _token(settings.token_env) if settings.token_env else ""
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        self._httpx = httpx
        self._settings = settings
        self._answer = answer
        self._sleep, self._clock = sleep, clock
        self._next = 0.0
        self._headers = headers
        self._client = self._connected()
        self.sent_bytes = 0
        self.retried = 0
        self.identity = f"http {settings.model}"

    def answer(self, images: UInt8[np.ndarray, "n height width channels"]) -> Any:
        """The field asked for, as JSON had it.

        Raises:
            BadAnswer: the reply is no JSON, or lacks the field.
            UserError: the endpoint refuses the request, or redirects.
            BurnishError: it fails after all retries, or the request cannot be sent.
        """
        body = json.dumps({"answer": self._answer, "images": [to_png(image) for image in images]}).encode()
        limit = REPLY_BYTES * len(images)
        for attempt in range(self._settings.retries + 1):
            self._pace()
            self.sent_bytes += len(body)
            self.retried += len(images) if attempt else 0
            wait = None
            try:
                status, headers, text = self._post(body, limit)
                if status == 200:
                    return self._field(text)
                problem = f"status {status}{self._detail(text)}"
                if status != 429 and status < 500:
                    raise UserError(f"{self._settings.model}: {problem}{self._hint(status, headers)}")
                wait = _retry_after(headers.get("retry-after"))
            except self._httpx.LocalProtocolError:
                # Its text quotes the header that was refused, and so might show the token; no retry would help.
                raise BurnishError(
                    f"{self._settings.model}: the request breaks the rules of HTTP and was not sent"
                ) from None
            except self._httpx.TransportError as error:
                problem = f"{type(error).__name__}: {self._shown(str(error))}".removesuffix(": ")
            if attempt < self._settings.retries:
                self._wait(FIRST_WAIT * 2**attempt if wait is None else wait)
        tries = "at the only attempt" if not self._settings.retries else f"at {self._settings.retries + 1} attempts"
        raise BurnishError(f"{self._settings.model}: {problem} {tries}; {AGAIN}")

    def refusal(self, problem: str) -> BurnishError:
        """Garbage is the endpoint's; asking the same again would get the same."""
        return BurnishError(f"{self._settings.model}: answered with {problem}; {AGAIN} once the endpoint is corrected")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _connected(self) -> Any:
        return self._httpx.Client(timeout=self._settings.timeout, follow_redirects=False, headers=self._headers)

    def _post(self, body: bytes, limit: int) -> tuple[int, Any, bytes]:
        """Status, headers and body, read no further than the limits on bytes and time.

        httpx's time-outs are those of a single read: an endpoint that drips its reply, headers or body, passes them
        all. So the request has a thread of its own, and one that is late has its connections closed, at which the
        thread ends.
        """
        client, reply = self._client, Future[tuple[int, Any, bytes]]()

        def work() -> None:
            try:
                reply.set_result(self._exchange(client, body, limit))
            except Exception as error:  # noqa: BLE001 - of a library's thread; raised where the reply is waited for
                reply.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            return reply.result(self._settings.timeout)
        except TimeoutError:
            client.close()
            self._client = self._connected()
            raise self._httpx.ReadTimeout(f"the reply took longer than {self._settings.timeout:g} s") from None

    def _exchange(self, client: Any, body: bytes, limit: int) -> tuple[int, Any, bytes]:
        with client.stream("POST", self._settings.model, content=body) as response:
            parts: list[bytes] = []
            size = 0
            encoding = response.headers.get("content-encoding", "identity")
            if encoding.strip().lower() != "identity":  # a small reply could unpack to a large one
                if response.status_code == 200:
                    raise BadAnswer("a compressed reply, though none was asked for")
                return response.status_code, response.headers, b""
            for part in response.iter_raw():
                size += len(part)
                if size > limit:
                    raise BadAnswer(f"more than {limit:,} bytes")
                parts.append(part)
        return response.status_code, response.headers, b"".join(parts)

    def _field(self, text: bytes) -> Any:
        try:
            reply = json.loads(text)
        except (ValueError, RecursionError):
            raise BadAnswer("no JSON") from None
        if not isinstance(reply, dict):
            raise BadAnswer(f"a JSON {type(reply).__name__} instead of an object")
        field = reply.get(self._answer)
        if not isinstance(field, list):
            keys = self._shown(", ".join(sorted(map(str, reply))))[:80]
            raise BadAnswer(f"no list `{self._answer}` (it has: {keys or 'nothing'})")
        return field

    def _detail(self, text: bytes) -> str:
        """What the endpoint says is wrong, shortened."""
        shown = one_line(self._shown(text.decode("utf-8", "replace"))[:400])
        return f" ({shown[:160]})" if shown else ""

    def _hint(self, status: int, headers: Any) -> str:
        if 300 <= status < 400:
            target = self._shown(headers.get("location", "nowhere"))[:120]
            return f"; it redirects to {target}, which is not followed: give that address if you trust it"
        if status in (401, 403):
            return "; name the variable that holds its token with `token_env`"
        if status == 413:
            return "; use a smaller `batch`"
        return "; is this the address of a suspect's endpoint (see the docs on suspects)?"

    def _shown(self, text: str) -> str:
        """What the endpoint says, without the token: it may quote what it was sent."""
        return text.replace(self._token, "[token]") if self._token else text

    def _pace(self) -> None:
        if self._settings.rate is None:
            return
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + 1 / self._settings.rate

    def _wait(self, seconds: float) -> None:
        if seconds > LONGEST_WAIT:
            raise BurnishError(f"{self._settings.model}: asks to wait {seconds:,.0f} s; {AGAIN} after that")
        self._sleep(seconds)


def _token(variable: str) -> str:
    """The bearer token in a variable, without the line's end that a shell or a file leaves; messages never quote it."""
    token = os.environ.get(variable, "").strip()
    if not token:
        raise UserError(f"token_env: the environment variable {variable} is not set")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise UserError(f"token_env: what {variable} holds is no token; wanted printable ASCII without blanks")
    return token


def _retry_after(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` asks for: a number or a date (RFC 9110, section 10.2.3); none if it is neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value.strip()[:12])
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return max(0.0, (date - datetime.datetime.now(datetime.UTC)).total_seconds())
