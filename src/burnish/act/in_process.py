"""An ASGI application as an HTTP client's other side, in this process, with the body as it is written.

httpx's own transport hands over a response when it is complete: then nobody could read an unfinished thought on a
virtual clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx


class _Exchange(httpx.AsyncByteStream):
    """One request under way: its answer's start, and its body piece by piece."""

    def __init__(self, app: Any, scope: dict[str, Any], body: bytes) -> None:
        self._app = app
        self._scope = scope
        self._asked = [body]
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.start: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        except Exception:  # noqa: BLE001 - the application's own mistake is a 500, as on a real server
            pass
        finally:
            if not self.start.done():
                self.start.set_result((500, []))
            self._pieces.put_nowait(None)

    async def _receive(self) -> dict[str, Any]:
        if self._asked:
            return {"type": "http.request", "body": self._asked.pop(), "more_body": False}
        await asyncio.get_running_loop().create_future()  # a client that goes away ends the whole exchange
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            if not self.start.done():
                self.start.set_result((message["status"], list(message.get("headers", []))))
        elif message.get("body"):
            self._pieces.put_nowait(message["body"])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def aclose(self) -> None:
        """The client has read enough."""
        self._task.cancel()


class InProcess(httpx.AsyncBaseTransport):
    """Sends requests to an ASGI application.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?")[0],
            "query_string": request.url.query,
            "server": (request.url.host, request.url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
        }
        exchange = _Exchange(self._app, scope, await request.aread())
        try:
            status, headers = await exchange.start
        except BaseException:
            await exchange.aclose()
            raise
        return httpx.Response(status, headers=headers, stream=exchange)
