"""The encrypted service over HTTP. It computes on what it cannot read, and says of it no more than yes, no, or wait.

    GET    /v1/service    what everybody may know: encoder, templates, labels, parameters (JSON)
    POST   /v1/keys       evaluation keys, once a client; gives its name and token (JSON)
    DELETE /v1/keys       forget them: on the disk, in memory, and the session; they are forgotten as well in time
    POST   /v1/sessions   with name and token; gives a session (JSON)
    POST   /v1/questions  a question in a session; the answer, of one size whatever it says

What is wrong comes as ``{"detail": "one line"}`` with a status: 400 malformed, 401 no session, 404 not registered, 408
too slow, 409 replayed, 413 too large, 422 of other parameters or damaged, 426 another version, 429 too often, 503 busy
(both with ``Retry-After``), 507 full.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.core.errors import BurnishError, UserError
from burnish.core.packages import Need, not_installed
from burnish.private.service import wire
from burnish.private.service.offer import HEADER_ROOM, Offer
from burnish.private.service.sessions import Limits, Refused, Sessions
from burnish.private.service.store import KeyStore, Registration
from burnish.private.service.workers import WorkerDied, Workers

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

BODY_SECONDS = 60
"""That a body may lag behind `BODY_SPEED`: who sends a byte now and then holds nobody's place."""
BODY_SPEED = 50_000
"""Bytes a second that a body must come with."""
SWEEP_SECONDS = 60
"""Between two looks for keys whose time is over. They are not used in between: each use looks for itself."""
UPLOADS = 2
"""Clients whose keys may come at once."""


class Service:
    """The handlers, and what they share. One event loop.

    Args:
        offer: told to everybody.
        store: of keys.
        workers: that compute.
        limits: see there.
    """

    def __init__(self, offer: Offer, store: KeyStore, workers: Workers, limits: Limits) -> None:
        self._offer, self._store, self._workers, self._limits = offer, store, workers, limits
        self._told = json.dumps(offer.to_json()).encode()
        self._sessions = Sessions(limits)
        self._waiting = 0
        self._uploads = 0
        self._seconds = 1.0  # what the last answer took: what a busy server tells who must wait

    async def describe(self, request: Request) -> Response:
        """GET /v1/service."""
        from starlette.responses import Response

        del request
        return Response(self._told, media_type="application/json")

    async def register(self, request: Request) -> Response:
        """POST /v1/keys: to the disk as they come, never whole in this process."""
        from starlette.responses import JSONResponse

        if self._uploads >= UPLOADS:
            raise Refused("keys: others are being received; wait", 503, 10)
        self._uploads += 1
        try:
            await self.sweep()
            if len(await asyncio.to_thread(self._store.clients)) >= self._limits.clients:
                raise Refused(f"keys: this server keeps those of {self._limits.clients} clients, and has as many", 507)
            registration = await self._received(request)
        finally:
            self._uploads -= 1
        return JSONResponse({"client": registration.client, "token": registration.token}, 201)

    async def _received(self, request: Request) -> Registration:
        _check_length(request, self._offer.keys_bytes)
        pieces = _pieces(request, self._offer.keys_bytes)
        start = await _beginning(pieces)
        header, end = wire.read_header(start, self._offer.keys_bytes)
        wire.expect(header, "keys", self._offer.plan.parameters.digest, self._offer.plan.digest)
        if len(header.streams) != 1:
            raise Refused(f"keys: {len(header.streams)} streams; one is expected", 400)
        with self._store.receive() as incoming:
            await asyncio.to_thread(incoming.add, start[end:])
            async for piece in pieces:
                await asyncio.to_thread(incoming.add, piece)
            if incoming.size != header.streams[0]:
                raise Refused(f"keys: {incoming.size:,} bytes; the header says {header.streams[0]:,}", 400)
            await self._workers.check(incoming.registration.client, incoming.end())
        return incoming.registration

    async def forget(self, request: Request) -> Response:
        """DELETE /v1/keys."""
        from starlette.responses import Response

        client = await self._known(request)
        await asyncio.to_thread(self._store.forget, client)
        await self._drop(client)
        return Response(status_code=204)

    async def sweep(self) -> None:
        """Remove the keys whose time is over."""
        for client in await asyncio.to_thread(self._store.expired):
            await self._drop(client)

    async def sweep_on(self) -> None:
        """Now and then, for ever."""
        while True:
            await asyncio.sleep(min(SWEEP_SECONDS, self._limits.key_seconds))
            with contextlib.suppress(BurnishError, OSError):  # a disk that cannot be written now may be, the next time
                await self.sweep()

    async def _drop(self, client: str) -> None:
        """End a client's session, and free the memory of its keys."""
        self._sessions.close(client)
        with contextlib.suppress(WorkerDied):
            await self._workers.forget(client, self._store.path(client))

    async def open(self, request: Request) -> Response:
        """POST /v1/sessions."""
        from starlette.responses import JSONResponse

        session = self._sessions.open(await self._known(request))
        return JSONResponse({"session": session, "seconds": self._limits.session_seconds}, 201)

    async def _known(self, request: Request) -> str:
        """The client of a request that shows its name and token."""
        try:
            told = json.loads(await _whole(request, HEADER_ROOM))
            registration = Registration(str(told["client"]), str(told["token"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Refused('client: send {"client": ..., "token": ...}', 400) from None
        if not await asyncio.to_thread(self._store.knows, registration):
            raise Refused("client: not registered here for this circuit, or another token; send the keys again", 404)
        return registration.client

    async def answer(self, request: Request) -> Response:
        """POST /v1/questions."""
        from starlette.responses import Response

        _check_length(request, self._offer.question_bytes)
        pieces = _pieces(request, self._offer.question_bytes)
        parameters, circuit = self._offer.plan.parameters.digest, self._offer.plan.digest
        try:
            start = await _beginning(pieces)
            header = wire.read_header(start, self._offer.question_bytes)[0]
            wire.expect(header, "question", parameters, circuit)
            self._sessions.check(header.session)
        except UserError:
            # Not kept: strangers must not fill the memory. But read: who is cut off while sending sees no status.
            async for _ in pieces:
                pass
            raise
        message = wire.read(start + b"".join([piece async for piece in pieces]), self._offer.question_bytes)
        if self._waiting >= self._limits.waiting:
            raise Refused("busy: too many questions are waiting", 503, int(self._seconds * self._waiting) + 1)
        client = self._sessions.question(message.header.session, message.header.nonce)
        keys = self._store.keys(client)
        self._waiting += 1
        began = time.monotonic()
        try:
            stream = await _while_there(request, self._workers.answer(client, keys, message.streams))
        finally:
            self._waiting -= 1
        self._seconds = time.monotonic() - began
        told = wire.write(
            "answer",
            parameters,
            circuit,
            [wire.padded(stream, self._offer.answer_bytes)],
            session=message.header.session,
            nonce=message.header.nonce,
        )
        return Response(told, media_type=wire.MEDIA_TYPE)


def service_app(service: Service, workers: Workers) -> Any:
    """The service as an ASGI application; stops its workers when it stops.

    Raises:
        UserError: the packages are missing.
    """
    try:
        from fastapi import FastAPI
        from starlette.responses import JSONResponse
        from starlette.routing import Route
    except ImportError:
        raise not_installed("private: a server", Need(("fastapi",), "private")) from None

    def guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except (BurnishError, OSError) as error:
                status, after = _status(error)
                # Closed: else what a refused client goes on sending would be read, for ever, to find its end.
                headers = {"connection": "close"} | ({"retry-after": str(after)} if after else {})
                return JSONResponse({"detail": str(error)}, status, headers)

        return handle

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        del app
        sweeping = asyncio.create_task(service.sweep_on())
        yield
        sweeping.cancel()
        workers.close()

    return FastAPI(
        title="Burnish: a private classifier",
        routes=[
            Route("/v1/service", guarded(service.describe), methods=["GET"]),
            Route("/v1/keys", guarded(service.register), methods=["POST"]),
            Route("/v1/keys", guarded(service.forget), methods=["DELETE"]),
            Route("/v1/sessions", guarded(service.open), methods=["POST"]),
            Route("/v1/questions", guarded(service.answer), methods=["POST"]),
        ],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )


def open_service(offer: Offer, store: Path, workers: Workers, limits: Limits) -> Any:
    """The application with its store opened.

    Raises:
        UserError: the store's folder cannot be written.
    """
    keys = KeyStore(store, offer.plan.digest, limits.clients, limits.key_seconds)
    return service_app(Service(offer, keys, workers, limits), workers)


def _status(error: Exception) -> tuple[int, int]:
    """HTTP status of an error, and the seconds to wait."""
    if isinstance(error, Refused):
        return error.status, error.after
    if isinstance(error, wire.WireError):
        return error.status, 0
    if isinstance(error, WorkerDied):
        return 503, 1
    if isinstance(error, UserError):
        return 422, 0
    if "disk is full" in str(error):
        return 507, 0
    return 500, 0


def _check_length(request: Request, most: int) -> None:
    """Refuse a body by what it says of its length, before any of it is read."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise Refused(f"body: {length[:20]} bytes; at most {most:,}", 413)


async def _pieces(request: Request, most: int) -> AsyncIterator[bytes]:
    """A body as it comes, up to a size."""
    from starlette.requests import ClientDisconnect

    size, stream = 0, aiter(request.stream())
    began = asyncio.get_running_loop().time()
    while True:
        try:
            async with asyncio.timeout_at(began + BODY_SECONDS + size / BODY_SPEED):
                piece = await anext(stream, None)
        except TimeoutError:
            raise Refused(f"body: {size:,} bytes so far; it comes too slowly", 408) from None
        except ClientDisconnect:
            raise Refused("body: the client is gone", 400) from None
        if piece is None:
            return
        size += len(piece)
        if size > most:
            raise Refused(f"body: more than {most:,} bytes", 413)
        yield piece


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """The first pieces of a message, with all of its header if there is one."""
    start = b""
    async for piece in pieces:
        start += piece
        if len(start) >= wire.BEGINNING and len(start) >= wire.BEGINNING + wire.header_length(start):
            break
    return start


async def _whole(request: Request, most: int) -> bytes:
    return b"".join([piece async for piece in _pieces(request, most)])


async def _while_there(request: Request, answer: Awaitable[bytes]) -> bytes:
    """An answer for a client that is still there; for one that has gone it is given up, if its turn has not come."""
    task = asyncio.ensure_future(answer)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=0.25)
            if not task.done() and await request.is_disconnected():
                raise Refused("question: the client is gone", 400)
        return await task
    finally:
        task.cancel()
