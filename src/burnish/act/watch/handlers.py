"""What the live page's server answers: fixed files, the run's state and events, and what a person says or stops."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import anyio
from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from burnish.act.memory.log import Event, Memory
from burnish.act.recipe import TeamRecipe
from burnish.act.replay import open_log
from burnish.core.files import read_json

POLL = 0.2  # seconds between looks into the log
BEAT = 15.0  # seconds after which a silent stream says that it is there
LONGEST = 300  # characters of any one text that the page is sent
LARGEST_BODY = 10_000  # bytes of what a person sends
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


class Handlers:
    """Answers the requests of one run's page.

    Args:
        recipe: the run's.
        run: its folder.
    """

    def __init__(self, recipe: TeamRecipe, run: Path) -> None:
        self._recipe = recipe
        self._run = run

    def routes(self) -> list[Route]:
        """All paths that are answered."""
        return [
            Route("/", _file("index.html")),
            Route("/watch.js", _file("watch.js")),
            Route("/watch.css", _file("watch.css")),
            Route("/state", self.state),
            Route("/map.svg", self.picture),
            Route("/events", self.events),
            Route("/chat", self.chat, methods=["POST"]),
            Route("/interrupt", self.interrupt, methods=["POST"]),
        ]

    async def state(self, _request: Request) -> Response:
        """What the page shows before any event."""
        recipe = self._recipe
        found = {
            "run": self._run.resolve().name,
            "status": _status(self._run),
            "mode": recipe.runtime.mode,
            "clock": recipe.runtime.clock,
            "world": recipe.world.kind,
            "deaf": self._deaf(),
            "agents": [{"name": agent.name, "goal": agent.goal} for agent in recipe.agents],
        }
        return JSONResponse(found, headers=SAFE)

    async def picture(self, _request: Request) -> Response:
        """The map of the world, if it has one."""
        try:
            svg = (self._run / "artifacts" / "map.svg").read_bytes()
        except OSError:
            raise HTTPException(404, "there is no map yet") from None
        return Response(svg, media_type="image/svg+xml", headers=PICTURE)

    async def events(self, request: Request) -> Response:
        """The log as server-sent events, from where the page left off."""
        last = request.headers.get("last-event-id") or request.query_params.get("since") or "0"
        if not last.isdecimal() or len(last) > 18:
            raise HTTPException(400, "since: the number of an event")
        return StreamingResponse(self._stream(int(last)), media_type="text/event-stream", headers=SAFE)

    async def chat(self, request: Request) -> Response:
        """A person says something to the team."""
        text = (await _posted(request)).get("text")
        if not isinstance(text, str) or not text.strip():
            raise HTTPException(422, "text: some words")
        return await self._write("chat", "human", {"text": text.strip()[:LONGEST]})

    async def interrupt(self, request: Request) -> Response:
        """A person stops an agent's skill."""
        name = (await _posted(request)).get("agent")
        names = [agent.name for agent in self._recipe.agents]
        if name not in names:
            raise HTTPException(404, f"agent: one of {', '.join(names)}")
        return await self._write("human", str(name), {"interrupt": True})

    async def _write(self, kind: str, agent: str, data: Mapping[str, Any]) -> Response:
        why = self._deaf()
        if why:
            raise HTTPException(409, why)
        memory = open_log(self._recipe, self._run)
        try:
            last = 0.0
            async for event in memory.since(max(0, (await memory.snapshot()).version - 1)):
                last = event.time
            written = await memory.append(kind, agent, data, time=last)
        finally:
            await memory.close()
        return JSONResponse({"seq": written.seq}, headers=SAFE)

    def _deaf(self) -> str:
        """Why a person cannot take part; empty if they can."""
        if _status(self._run) != "running":
            return "the run has ended"
        if self._recipe.runtime.clock != "wall":
            return "this run's clock is not the wall's: it is over before anybody has typed"
        return ""

    async def _stream(self, seq: int) -> AsyncIterator[str]:
        memory = open_log(self._recipe, self._run)
        try:
            async for line in _lines(memory, self._run, seq):
                yield line
        finally:
            with anyio.CancelScope(shield=True):
                await memory.close()


def _file(name: str) -> Any:
    content = files("burnish.act.watch").joinpath("page", name).read_bytes()

    async def get(_request: Request) -> Response:
        return Response(content, media_type=PAGE[name], headers=SAFE)

    return get


async def _posted(request: Request) -> Mapping[str, Any]:
    # A form of another site cannot send this type without being asked first whether it may.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, "too long")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(422, "not JSON") from None
    return found if isinstance(found, dict) else {}


def _status(run: Path) -> str:
    return str((read_json(run / "run.json") or {}).get("status", "unknown"))


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
