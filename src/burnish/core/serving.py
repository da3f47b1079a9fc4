"""How a server of this package stands on the network: on this machine only, unless it has a token.

A page of another site must not reach it either: with a name that is made to mean 127.0.0.1 (DNS rebinding) its `Host`
is not ours, and with a request sent across sites its `Origin` is not.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import re
import socket
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from burnish.core.errors import BurnishError, UserError

HERE = ("127.0.0.1", "localhost", "::1")
COOKIE = "burnish_token"
TOKEN = re.compile(r"[A-Za-z0-9._~-]+")


def is_loopback(host: str) -> bool:
    """Whether an address to listen at can be reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int, token: str | None) -> socket.socket:
    """A socket bound to an address; port 0 takes any free one.

    Raises:
        UserError: an address beyond this machine without a token, a token that cannot be sent, or an address that
            cannot be had.
    """
    if token is not None and not token:
        raise UserError("token: is empty; give a long random one, or none for 127.0.0.1")
    if token is not None and not TOKEN.fullmatch(token):
        raise UserError(
            "token: only letters, digits and -._~ can be sent in a cookie and an address; choose another one"
        )
    if token is None and not is_loopback(host):
        raise UserError(f"host: {host}: others could reach this address; give a token, or stay at 127.0.0.1")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{host}:{port}: cannot listen there ({why}); choose another port or host") from None


def serve(app: Any, bound: socket.socket, token: str | None) -> None:
    """Serve an ASGI application at a bound socket until it is stopped."""
    import uvicorn

    host, port = bound.getsockname()[:2]
    config = uvicorn.Config(
        Guarded(app, host, token), log_level="warning", timeout_graceful_shutdown=1, server_header=False
    )
    logging.getLogger("uvicorn.error").addFilter(_Stopping())
    server = uvicorn.Server(config)
    with bound:
        server.run(sockets=[bound])
    if not server.started:
        raise BurnishError(f"{host}:{port}: the server did not start")


class _Stopping(logging.Filter):
    """Says nothing of pages that were still open when a person stopped the server."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        return not cancelled and not record.getMessage().startswith("Cancel ")


def address(bound: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Guarded:
    """An ASGI application that lets in who may come.

    With a token: in the header `Authorization: Bearer`, in the query as `?token=` (answered by a cookie and the address
    without it, so that it does not stay in the browser's history) or in that cookie. Without one: requests whose `Host`
    means this machine.

    Args:
        app: what is guarded.
        host: the address it listens at.
        token: the secret, or none.
    """

    def __init__(self, app: Any, host: str, token: str | None) -> None:
        self._app = app
        self._names = {*HERE, host}
        self._token = token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
            await _say(send, 403, "a page of another site may not use this server")
        elif self._token is None and _name(headers.get("host", "")) not in self._names:
            await _say(send, 421, "this server answers for 127.0.0.1 and localhost only")
        elif self._token is not None and asked and self._fits(asked):
            cookie = f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict"
            await _say(send, 303, "", {"location": scope["path"], "set-cookie": cookie})
        elif self._token is not None and not self._fits(_given(headers)):
            await _say(send, 401, "this server wants its token: ?token=TOKEN, or Authorization: Bearer TOKEN")
        else:
            await self._app(scope, receive, send)

    def _fits(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode(), self._token.encode())  # in a time that tells nothing


def _given(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _name(host: str) -> str:
    """The name in a `Host` header, without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _say(send: Any, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
    body = (text + "\n").encode()
    fields = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body)), **(headers or {})}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
