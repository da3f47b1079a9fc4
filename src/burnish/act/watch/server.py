"""A local web page that shows a run as it happens: server-sent events from its log, and two things that a person may do.

The page's server is a process of its own: it reads the team's memory and the run's map, and writes into the memory what a person
says or stops; the run hears that (``Runtime._hear``). It serves three files and a picture by fixed names, nothing by path.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import anyio

from burnish.act.memory.log import Event, Memory
from burnish.act.recipe import TeamRecipe
from burnish.act.replay import open_log, run_recipe
from burnish.core.errors import UserError
from burnish.core.files import read_json

POLL = 0.2  # seconds between looks into the log
BEAT = 15.0  # seconds after which a silent stream says that it is there
LONGEST = 300  # characters of any one text that the page is sent
PAGE = {
    "index.html": "text/html; charset=utf-8",
    "watch.js": "text/javascript; charset=utf-8",
    "watch.css": "text/css; charset=utf-8",
}
SAFE = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
# An SVG is shown as an image, where no script of it runs; opened by itself, it may not run any either.
PICTURE = {**SAFE, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}


def watch(run: Path, host: str = "127.0.0.1", port: int = 8322, token: str | None = None) -> None:
    """Serve the page of a run until stopped; ``burnish act watch``.

    Raises:
        UserError: it is no run of agents, or the address cannot be had (see :func:`burnish.act.serving.listen`).
    """
    from burnish.act.serving import address, listen, serve

    app = watch_app(run)
    with listen(host, port, token) as bound:
        print(f"{run} is shown at {address(bound)} (stop with Ctrl-C)", flush=True)
        serve(app, bound, token)


def watch_app(run: Path) -> Any:
    """The page as an ASGI application.

    Raises:
        UserError: it is no run of agents, the run has not begun, or the packages are missing.
    """
    try:
        from fastapi import FastAPI, HTTPException, Request
        from fastapi.responses import JSONResponse, Response, StreamingResponse
        from starlette.routing import BaseRoute, Route
    except ImportError:
        raise UserError("act: needs the packages of the extra `act`") from None
    recipe = run_recipe(run)
    page = {name: files("burnish.act.watch").joinpath("page", name).read_bytes() for name in PAGE}
    names = [agent.name for agent in recipe.agents]

    def file(name: str) -> Any:
        async def get(_request: Request) -> Response:
            return Response(page[name], media_type=PAGE[name], headers=SAFE)

        return get

    async def state(_request: Request) -> Response:
        return JSONResponse(_state(recipe, run), headers=SAFE)

    async def picture(_request: Request) -> Response:
        try:
            svg = (run / "artifacts" / "map.svg").read_bytes()
        except OSError:
            raise HTTPException(404, "there is no map yet") from None
        return Response(svg, media_type="image/svg+xml", headers=PICTURE)

    async def events(request: Request) -> Response:
        last = request.headers.get("last-event-id") or request.query_params.get("since") or "0"
        if not last.isdecimal() or len(last) > 18:
            raise HTTPException(400, "since: the number of an event")
        return StreamingResponse(_stream(recipe, run, int(last)), media_type="text/event-stream", headers=SAFE)

    async def chat(request: Request) -> Response:
        text = (await _posted(request)).get("text")
        if not isinstance(text, str) or not text.strip():
            raise HTTPException(422, "text: some words")
        return await write("chat", "human", {"text": text.strip()[:LONGEST]})

    async def interrupt(request: Request) -> Response:
        name = (await _posted(request)).get("agent")
        if name not in names:
            raise HTTPException(404, f"agent: one of {', '.join(names)}")
        return await write("human", str(name), {"interrupt": True})

    async def write(kind: str, agent: str, data: Mapping[str, Any]) -> Response:
        why = _deaf(recipe, run)
        if why:
            raise HTTPException(409, why)
        memory = open_log(recipe, run)
        try:
            last = 0.0
            async for event in memory.since(max(0, (await memory.snapshot()).version - 1)):
                last = event.time
            written = await memory.append(kind, agent, data, time=last)
        finally:
            await memory.close()
        return JSONResponse({"seq": written.seq}, headers=SAFE)

    async def _posted(request: Request) -> Mapping[str, Any]:
        # A form of another site cannot send this type without being asked first whether it may.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HTTPException(415, "application/json")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > 10_000:
                raise HTTPException(413, "too long")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise HTTPException(422, "not JSON") from None
        return found if isinstance(found, dict) else {}

    routes = [
        Route("/", file("index.html")),
        Route("/watch.js", file("watch.js")),
        Route("/watch.css", file("watch.css")),
    ]
    routes += [Route("/state", state), Route("/map.svg", picture), Route("/events", events)]
    routes += [Route("/chat", chat, methods=["POST"]), Route("/interrupt", interrupt, methods=["POST"])]
    return FastAPI(
        title="Burnish: a run", routes=list[BaseRoute](routes), docs_url=None, redoc_url=None, openapi_url=None
    )


def _status(run: Path) -> str:
    return str((read_json(run / "run.json") or {}).get("status", "unknown"))


def _state(recipe: TeamRecipe, run: Path) -> dict[str, Any]:
    """What the page shows before any event."""
    return {
        "run": run.resolve().name,
        "status": _status(run),
        "mode": recipe.runtime.mode,
        "clock": recipe.runtime.clock,
        "world": recipe.world.kind,
        "deaf": _deaf(recipe, run),
        "agents": [{"name": agent.name, "goal": agent.goal} for agent in recipe.agents],
    }


def _deaf(recipe: TeamRecipe, run: Path) -> str:
    """Why a person cannot take part; empty if they can."""
    if _status(run) != "running":
        return "the run has ended"
    if recipe.runtime.clock != "wall":
        return "this run's clock is not the wall's: it is over before anybody has typed"
    return ""


async def _stream(recipe: TeamRecipe, run: Path, seq: int) -> AsyncIterator[str]:
    memory = open_log(recipe, run)
    try:
        async for line in _lines(memory, run, seq):
            yield line
    finally:
        with anyio.CancelScope(shield=True):
            await memory.close()


async def _lines(memory: Memory, run: Path, seq: int) -> AsyncIterator[str]:
    """Server-sent events: each event of the log by its number, the run's status when it changes."""
    status, silent = "", 0.0
    while True:
        now = _status(run)  # read before the log: a run that has ended has written all of it
        async for event in memory.since(seq):
            seq, silent = event.seq, 0.0
            yield f"id: {event.seq}\ndata: {json.dumps(shown(event))}\n\n"
        if now != status:
            status, silent = now, 0.0
            yield f"event: status\ndata: {json.dumps(status)}\n\n"
        elif silent >= BEAT:
            silent = 0.0
            yield ": still here\n\n"
        await anyio.sleep(POLL)
        silent += POLL


def shown(event: Event) -> dict[str, Any]:
    """What the page is sent of an event: short, for an observation holds a whole world and a thought a whole page."""
    data: dict[str, Any] = dict(event.data)
    if event.kind == "observe":
        data = {key: value for key, value in data.items() if len(json.dumps(value)) <= LONGEST}
    return {"seq": event.seq, "time": event.time, "agent": event.agent, "kind": event.kind, "data": _short(data)}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[:LONGEST] + " ..."
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return [_short(each) for each in value[:50]] if isinstance(value, list | tuple) else value
