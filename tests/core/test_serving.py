"""Who is let in by a server of this package, and where it may listen."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from burnish.core.errors import UserError
from burnish.core.serving import Guarded, is_loopback, listen


async def _inside(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


@pytest.mark.parametrize(
    ("token", "headers", "query", "status"),
    [
        (None, {}, "", 200),
        (None, {"host": "localhost:8322"}, "", 200),
        (None, {"host": "[::1]:8322"}, "", 200),
        (None, {"host": "evil.example"}, "", 421),
        (None, {"host": "127.0.0.1.evil.example:8322"}, "", 421),
        (None, {"host": "["}, "", 421),
        (None, {"origin": "http://evil.example"}, "", 403),
        (None, {"origin": "null"}, "", 403),
        (None, {"origin": "http://127.0.0.1:8322"}, "", 200),
        ("secret", {}, "", 401),
        ("secret", {"authorization": "Bearer wrong"}, "", 401),
        ("secret", {"authorization": "Bearer secret"}, "", 200),
        ("secret", {"host": "my.machine", "authorization": "bearer secret"}, "", 200),
        ("secret", {"cookie": "burnish_token=secret"}, "", 200),
        ("secret", {"cookie": "burnish_token=wrong; x=secret"}, "", 401),
        ("secret", {}, "?token=wrong", 401),
        ("secret", {}, "?token=secret", 303),
    ],
)
def test_who_is_let_in(token: str | None, headers: dict[str, str], query: str, status: int) -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Guarded(_inside, "127.0.0.1", token))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8322") as client:
            return await client.get(f"/{query}", headers=headers)

    found = anyio.run(ask)
    assert found.status_code == status
    if status == 303:
        assert found.headers["location"] == "/"
        assert found.headers["set-cookie"] == "burnish_token=secret; Path=/; HttpOnly; SameSite=Strict"


def test_an_address_for_others_needs_a_token() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "a.b", ""))
    with pytest.raises(UserError, match="give a token"):
        listen("0.0.0.0", 0, None)
    with listen("0.0.0.0", 0, "secret") as bound:
        assert bound.getsockname()[1] > 0


@pytest.mark.parametrize("token", ["a;b", "a\nb", "a b", 'a"b', "ä", ""])
def test_a_token_that_no_cookie_can_carry_is_refused(token: str) -> None:
    with pytest.raises(UserError, match=r"^token: "):
        listen("127.0.0.1", 0, token)
    listen("127.0.0.1", 0, "Good-token_1.~").close()
