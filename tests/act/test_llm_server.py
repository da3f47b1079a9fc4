"""A language model behind the chat API: schemas are kept to, tokens stream, requests wait their turn."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import torch
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from typer.testing import CliRunner

from burnish.act import clock
from burnish.act.chat_api import BadRequest, ChatRequest, chat_app
from burnish.act.llm_server import LanguageModel, bounded, load_language_model
from burnish.act.memory.log import Snapshot
from burnish.act.planner import CallFailed, Chat, parse_decision, prompt
from burnish.act.recipe import EndpointSettings, Limits, RuntimeSettings
from burnish.act.skill_context import SkillContext
from burnish.act.skills.library import Library
from tests.act.worlds import SKILLS, Meadow

LIBRARY = Library(SKILLS)
ASK = [{"role": "system", "content": "Reply."}, {"role": "user", "content": "{}"}]


@pytest.fixture(scope="module")
def tiny() -> LanguageModel:
    """A Llama with random weights and one token a byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<end>", *alphabet])}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=4096, eos_token_id=0,
    )  # fmt: skip
    return LanguageModel(LlamaForCausalLM(config).eval(), tokenizer, "tiny")


def asked(**changes: Any) -> ChatRequest:
    return ChatRequest.model_validate({"messages": ASK, "max_tokens": 1500, **changes})


def held(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "decision", "schema": schema, "strict": True}}


def pieces(backend: LanguageModel, request: ChatRequest) -> list[str]:
    async def main() -> list[str]:
        return [piece async for piece in backend.answer(ASK, request)]

    return anyio.run(main)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 5.0])
def test_whatever_the_model_the_answer_is_a_valid_call(tiny: LanguageModel, temperature: float) -> None:
    for _ in range(3):
        request = asked(temperature=temperature, response_format=held(LIBRARY.reply_schema()))
        parse_decision("".join(pieces(tiny, request)), LIBRARY)


def test_without_a_schema_it_says_what_it_says(tiny: LanguageModel) -> None:
    found = pieces(tiny, asked(max_tokens=40))
    assert len(found) == 40
    with pytest.raises(ValueError):
        json.loads("".join(found))


def test_greedy_is_what_generate_gives(tiny: LanguageModel) -> None:
    """The stepwise loop, prompt chunks and cache included, against the library's own."""
    long = [{"role": "user", "content": "word " * 120}]  # 600 bytes: three chunks

    async def main() -> str:
        return "".join([piece async for piece in tiny.answer(long, asked(max_tokens=30))])

    ids = tiny._tokenizer.apply_chat_template(long, return_tensors="pt", return_dict=True)["input_ids"]
    expected = tiny._model.generate(ids, max_new_tokens=30, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    text = tiny._tokenizer.decode(expected, skip_special_tokens=True)
    assert anyio.run(main).rstrip("\ufffd") == text.rstrip("\ufffd")
    assert tiny.count(long) == ids.shape[1]


class Deep(BaseModel):
    name: str
    count: int = 1
    weights: list[list[float]]
    other: dict[str, int] | None = None


def test_a_bounded_schema_allows_only_what_the_given_one_allows(tiny: LanguageModel) -> None:
    schema = {**Deep.model_json_schema(), "required": ["name", "count", "weights"], "additionalProperties": False}
    found = bounded(schema)
    assert found["properties"]["name"]["maxLength"] == 120
    assert found["properties"]["weights"]["items"]["items"] == {"type": "integer", "minimum": -9999, "maximum": 9999}
    assert found["properties"]["count"]["default"] == 1
    for temperature in (1.0, 3.0):
        text = "".join(pieces(tiny, asked(temperature=temperature, max_tokens=3000, response_format=held(schema))))
        Deep.model_validate_json(text)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_given_bounds_are_kept(low: int, length: int) -> None:
    assert bounded({"type": "integer", "minimum": low, "maximum": low + 5}) == {
        "type": "integer", "minimum": low, "maximum": low + 5}  # fmt: skip
    found = bounded({"type": "number", "minimum": low})
    assert found["minimum"] == low < found["maximum"]
    assert bounded({"type": "string", "maxLength": length})["maxLength"] == length
    assert bounded({"type": "array", "minItems": length})["maxItems"] >= length
    assert bounded({"enum": [{"type": "string"}]}) == {"enum": [{"type": "string"}]}


# Over the network


@contextmanager
def served(backend: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(chat_app(backend), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize("stream", [False, True])
def test_the_planner_gets_a_decision_and_true_counts(tiny: LanguageModel, stream: bool) -> None:
    thoughts: list[str] = []

    async def main(url: str) -> Any:
        chat = Chat(EndpointSettings(url=url, stream=stream, max_tokens=1500))
        await chat.reach()
        messages = prompt("ann", "wood", Snapshot(), LIBRARY)
        reply = await chat.complete(messages, LIBRARY.reply_schema(), thoughts.append)
        await chat.close()
        return reply, messages

    with served(tiny) as url:
        reply, messages = anyio.run(main, url)
    parse_decision(reply.text, LIBRARY)
    assert reply.prompt_tokens == tiny.count(messages)
    # One token is one byte here.
    assert reply.completion_tokens == len(reply.text.encode())
    assert (len(thoughts) > 20) == stream


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("content", "schema", "message"),
    [("{}", {"type": "no such type"}, "cannot be kept to"), ("x" * 5000, {"type": "null"}, "can take 4096")],
)
def test_what_cannot_be_answered_is_said(
    tiny: LanguageModel, stream: bool, content: str, schema: dict[str, Any], message: str
) -> None:
    async def main(url: str) -> None:
        chat = Chat(EndpointSettings(url=url, stream=stream, retries=0))
        with pytest.raises(CallFailed, match=message):
            await chat.complete([{"role": "user", "content": content}], schema, lambda text: None)
        await chat.close()

    with served(tiny) as url:
        anyio.run(main, url)


class Counting:
    """Says `on` for ever, a word every 10 ms, and counts."""

    name = "counting"

    def __init__(self) -> None:
        self.said = 0
        self.ended = threading.Event()

    def count(self, messages: Any) -> int:
        return 1

    async def answer(self, messages: Any, asked: ChatRequest) -> Any:
        try:
            while True:
                await anyio.sleep(0.01)
                self.said += 1
                yield "on "
        finally:
            self.ended.set()


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_said_to_a_client_that_has_gone(stream: bool) -> None:
    backend = Counting()

    async def ask(url: str) -> None:
        body = {"messages": ASK, "stream": stream}
        async with httpx.AsyncClient() as client, client.stream("POST", f"{url}/chat/completions", json=body) as reply:
            async for _ in reply.aiter_lines():
                pass

    async def main(url: str) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, url)
            with anyio.fail_after(20):
                while not backend.said:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    with served(backend) as url:
        anyio.run(main, url)
        assert backend.ended.wait(20)
        assert backend.said > 0


def test_requests_wait_their_turn_and_one_that_is_given_up_leaves_the_queue(tiny: LanguageModel) -> None:
    order: list[str] = []

    async def one(name: str, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            order.extend([name async for _ in tiny.answer(ASK, asked(max_tokens=10))])

    async def main() -> None:
        backend = tiny
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, "a", 60.0)
            tasks.start_soon(one, "given up", 0.0)
            tasks.start_soon(one, "b", 60.0)
            tasks.start_soon(one, "c", 60.0)
        assert backend._turn.statistics().locked is False

    anyio.run(main)
    assert order == ["a"] * 10 + ["b"] * 10 + ["c"] * 10


# Faults of the user


def test_models_that_cannot_chat_are_refused(tiny: LanguageModel) -> None:
    class Slow:
        is_fast = False

    class Mute:
        is_fast, chat_template = True, None

    from burnish.core.errors import UserError

    for tokenizer, message in ((Slow(), "not a fast one"), (Mute(), "no chat template")):
        with pytest.raises(UserError, match=message):
            LanguageModel(tiny._model, tokenizer, "x")


def test_a_tokenizer_without_bytes_cannot_be_held_to_a_schema(tmp_path: Path) -> None:
    from burnish.testbeds.models import prepare_model

    backend = load_language_model(prepare_model("tiny-llama", tmp_path / "tiny"))
    with pytest.raises(BadRequest, match="cannot be held to a JSON schema"):
        pieces(backend, asked(response_format=held({"type": "null"})))
    assert len(pieces(backend, asked(max_tokens=5))) <= 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "give a token"),
        (["--host", "::"], "give a token"),
        (["--host", "no.such.host", "--token", "x"], "cannot listen there"),
        (["--token", ""], "token: is empty"),
        (["--port", "BUSY"], "cannot listen there"),
    ],
)
def test_where_it_listens(options: list[str], message: str) -> None:
    from burnish.cli import app
    from burnish.core.errors import UserError

    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        line = ["act", "llm", "tiny-llama", *(port if option == "BUSY" else option for option in options)]
        found = CliRunner().invoke(app, line)
    assert isinstance(found.exception, UserError)
    assert message in str(found.exception)


# With a real model


@pytest.mark.slow
def test_a_real_model_plans_offline(smollm2: Path) -> None:
    """A whole run with SmolLM2: every reply of it is a valid decision, and the goal is reached."""
    from burnish.act.memory.sqlite import SQLiteMemory
    from burnish.act.runtime import Agent, Runtime

    async def chop(context: SkillContext, times: int = 1) -> None:
        """Chop trees to get wood. This is the only way to get wood."""
        for _ in range(min(3, max(1, times))):
            await context.act("chop", seconds=2.0)

    library = Library([chop])

    async def main(url: str) -> tuple[Any, list[Any]]:
        # A token of it costs 50 ms of the clock; the world waits while the real one thinks.
        chat = Chat(EndpointSettings(url=url, seconds_per_token=0.05, max_tokens=200, timeout=120.0))
        memory = SQLiteMemory(Path(":memory:"))
        limits = RuntimeSettings(clock="tokens", limits=Limits(seconds=120.0))
        world = Meadow(goal={"chop": 1})
        outcome = await Runtime(limits, world, memory, [Agent("ann", "get wood: chop a tree", library, chat)]).run()
        await chat.close()
        return outcome, [event async for event in memory.since(0)]

    with served(load_language_model(smollm2)) as url:
        outcome, events = clock.run(lambda: main(url), "tokens")
    plans = [event.data for event in events if event.kind == "plan"]
    assert plans
    assert not [plan for plan in plans if plan.get("unusable")]
    assert outcome.reached == ("ann",)
