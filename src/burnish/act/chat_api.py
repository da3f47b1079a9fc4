"""The chat-completions API of OpenAI, as far as planners use it, in front of anything that answers.

Two things stand behind it: a Hugging Face model (``llm_server.py``) and a scripted policy (``policies.py``).
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import anyio
from pydantic import BaseModel, ConfigDict, Field

from burnish.core.errors import BurnishError


class BadRequest(BurnishError):
    """A request that the back end cannot answer as it is; becomes the status 400 with these words."""


@runtime_checkable
class Backend(Protocol):
    """What answers."""

    name: str

    def count(self, messages: Sequence[Mapping[str, str]]) -> int:
        """Tokens of a prompt."""

    def answer(self, messages: Sequence[Mapping[str, str]], asked: "ChatRequest") -> AsyncIterator[str]:
        """The answer, token by token."""


class ChatMessage(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)
    role: str
    """system, user or assistant."""
    content: str
    """Its text."""


class ChatRequest(BaseModel):
    """The part of OpenAI's request that is understood; the rest is ignored."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)
    model: str = ""
    """Ignored: a server has one model."""
    messages: list[ChatMessage] = Field(min_length=1)
    """The conversation so far."""
    temperature: float = Field(default=0.0, ge=0)
    """Of sampling; 0 takes the likeliest token."""
    max_tokens: int = Field(default=512, ge=1, le=32_768)
    """The longest answer."""
    stream: bool = False
    """Whether the answer comes as server-sent events, token by token."""
    response_format: dict[str, Any] | None = None
    """``{"type": "json_schema", "json_schema": {"schema": ...}}`` holds the answer to a schema."""

    @property
    def json_schema(self) -> dict[str, Any] | None:
        """The schema that the answer shall fit, if one was sent."""
        asked = (self.response_format or {}).get("json_schema")
        return asked.get("schema") if isinstance(asked, dict) else None


def chat_app(backend: Backend) -> Any:
    """An ASGI application with ``POST /v1/chat/completions`` (whole or streamed) and ``GET /v1/models``."""
    # FastAPI reads the annotations of its handlers; they are evaluated here, where these names exist.
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse, StreamingResponse

    app = FastAPI(title=f"Burnish: {backend.name} behind an OpenAI-compatible API")

    @app.exception_handler(BadRequest)
    async def refuse(_request: Request, error: BadRequest) -> JSONResponse:
        return JSONResponse({"error": _problem(error)}, 400)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": backend.name, "object": "model"}]}

    @app.post("/v1/chat/completions")
    async def complete(asked: ChatRequest, request: Request) -> Any:
        messages = [message.model_dump() for message in asked.messages]
        prompt_tokens = backend.count(messages)
        if asked.stream:
            lines = _events(backend, messages, asked, prompt_tokens)
            return StreamingResponse(lines, media_type="text/event-stream")
        pieces = await _unless_gone(request, backend.answer(messages, asked))
        message = {"role": "assistant", "content": "".join(pieces)}
        choice = {"index": 0, "message": message, "finish_reason": _finish(len(pieces), asked)}
        return {**_head(backend, "chat.completion"), "choices": [choice], "usage": _usage(prompt_tokens, len(pieces))}

    return app


async def _unless_gone(request: Any, answer: AsyncIterator[str]) -> list[str]:
    """All of an answer; given up when the client goes away. (A streamed response does the same by itself.)"""
    pieces: list[str] = []
    refused: list[BadRequest] = []

    async def watch(scope: anyio.CancelScope) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch, tasks.cancel_scope)
        try:
            pieces.extend([piece async for piece in answer])
        except BadRequest as error:
            refused.append(error)
        tasks.cancel_scope.cancel()
    if refused:
        raise refused[0]
    return pieces


async def _events(
    backend: Backend, messages: list[dict[str, str]], asked: ChatRequest, prompt_tokens: int
) -> AsyncIterator[str]:
    head, count = _head(backend, "chat.completion.chunk"), 0
    try:
        async for piece in backend.answer(messages, asked):
            count += 1
            yield _line({**head, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
    except BadRequest as error:
        yield _line({"error": _problem(error)})
        return
    yield _line({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": _finish(count, asked)}]})
    yield _line({**head, "choices": [], "usage": _usage(prompt_tokens, count)})
    yield "data: [DONE]\n\n"


def _problem(error: BadRequest) -> dict[str, str]:
    return {"message": str(error), "type": "invalid_request_error"}


def _line(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def _head(backend: Backend, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-burnish", "object": kind, "created": 0, "model": backend.name}


def _finish(count: int, asked: ChatRequest) -> str:
    return "length" if count >= asked.max_tokens else "stop"


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
