"""The engines that run elsewhere: an endpoint that fails in every way, over a real socket, and what vLLM is asked."""

import base64
import io
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import ValidationError

from burnish.align.factory import make_triplets
from burnish.align.generators.counts import TokenCounts
from burnish.align.generators.endpoint import EndpointGenerator
from burnish.align.generators.vllm import VllmGenerator
from burnish.align.recipe import GeneratorSettings
from burnish.align.records import Answer, Ask, Sampling, picture_hash
from burnish.core.errors import BurnishError, UserError
from burnish.dialogue.endpoint import PATIENCE
from burnish.dialogue.server import EndpointSettings
from tests.align.fakes import plan, records
from tests.align.models import picture

ASKS = [Ask("What is it?", picture(1, 9, 7), 2**40 + 3), Ask("Sum up.", None, 4)]
SAMPLING = Sampling(16, 0.7, 0.9)


class Server(ThreadingHTTPServer):
    """Answers by a list of (status, headers, body), then by a function; keeps what it was asked."""

    def __init__(self, answers: list[Any] | None = None, then: Callable[[dict[str, Any]], Any] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.then = list(answers or []), then or (lambda _body: completion("A dog."))
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.lock = threading.Lock()

    @property
    def settings(self) -> EndpointSettings:
        return EndpointSettings(url=f"http://127.0.0.1:{self.server_port}/v1/", model="small", key="ALIGN_TEST_KEY")


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.keys.append(self.headers["Authorization"])
            answer = self.server.answers.pop(0) if self.server.answers else self.server.then(body)
        if answer == "drop":
            self.connection.close()
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def completion(text: Any, finish: str = "stop", **more: Any) -> tuple[int, dict[str, str], bytes]:
    choice = {"message": {"content": text}, "finish_reason": finish}
    return 200, {}, json.dumps({"choices": [choice], **more}).encode()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(*arguments: Any, **more: Any) -> Server:
        server = Server(*arguments, **more)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_picture_and_its_question_arrive_whole(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGN_TEST_KEY", "secret")
    usage = {"prompt_tokens": 30, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 12}}
    server = serve(then=lambda _body: completion(" A dog.\n", usage=usage))
    generator = EndpointGenerator(server.settings, system="Be brief.")
    assert generator.answer(ASKS, SAMPLING) == [Answer("A dog.", 5), Answer("A dog.", 5)]
    assert generator.counts == TokenCounts(generated=10, encoded=36, reused=24, pictures=1)
    seeing, blind = sorted(server.asked, key=lambda body: body["seed"])
    address = seeing["messages"][1]["content"][0]["image_url"]["url"]
    assert address.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as shown:
        assert picture_hash(shown) == picture_hash(picture(1, 9, 7))
    assert seeing["messages"][1]["content"][1] == {"type": "text", "text": "What is it?"}
    assert blind == {
        "model": "small", "max_tokens": 16, "temperature": 0.7, "top_p": 0.9, "seed": 4,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Sum up."}],
    }  # fmt: skip
    assert seeing["seed"] == 3
    assert set(server.keys) == {"Bearer secret"}
    generator.close()


def test_an_answer_cut_by_the_limit_says_so_and_one_too_long_to_ask_is_empty(serve: Callable[..., Server]) -> None:
    words = {"error": {"message": "This model's maximum context length is 4096 tokens."}}
    server = serve([completion("A dog and", "length"), (400, {}, json.dumps(words).encode())])
    generator = EndpointGenerator(server.settings.model_copy(update={"parallel": 1}))
    assert generator.answer(ASKS, SAMPLING) == [Answer("A dog and", cut=True), Answer("", cut=True)]
    assert generator.counts == TokenCounts(pictures=1)


def test_what_may_pass_is_counted_and_tried_again_and_waits_as_long_as_it_is_told(serve: Callable[..., Server]) -> None:
    failures = [
        "drop", (500, {}, b"oops"), (429, {"Retry-After": "7"}, b"{}"), (200, {}, b'{"choices": [{"mess'),
        completion(None), (429, {"Retry-After": "Wed, 21 Oct"}, b""), (503, {"Retry-After": "9999"}, b""),
    ]  # fmt: skip
    waited: list[float] = []
    generator = EndpointGenerator(serve(failures).settings, sleep=waited.append)
    assert generator.answer(ASKS[:1], SAMPLING)[0].text == "A dog."
    assert generator.problems == Counter(
        {"no connection": 1, "status 500": 1, "status 429": 2, "garbage": 2, "status 503": 1}
    )
    assert waited == [0.5, 1, 7, 4, 8, 16, 60]


def test_an_endpoint_that_is_down_ends_the_work_in_bounded_time_and_the_shards_stay(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    waited: list[float] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        settings = EndpointSettings(url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", model="small", parallel=1)
        down = EndpointGenerator(settings, retries=100, sleep=waited.append)
        with pytest.raises(
            BurnishError, match="no connection at 11 tries of one request; shards that are made are kept"
        ):
            down.answer(ASKS[:1], SAMPLING)
    assert 200 < sum(waited) <= PATIENCE

    def told(body: dict[str, Any]) -> Any:
        number = body["seed"] % 7
        return completion(f"There is a red circle and {'a dog' if number % 2 else 'an owl'} {number}.")

    whole = make_triplets(records(4), EndpointGenerator(serve(then=told).settings), plan(records=2), tmp_path / "whole")
    count = 0

    def breaks(body: dict[str, Any]) -> Any:
        nonlocal count
        count += 1
        return told(body) if count <= 10 else (500, {}, b"")

    broken = EndpointGenerator(serve(then=breaks).settings, retries=1, sleep=waited.append)
    with pytest.raises(BurnishError, match="status 500"):
        make_triplets(records(4), broken, plan(records=2), tmp_path / "broken")
    assert len(list((tmp_path / "broken" / "shards").iterdir())) == 1
    mended = EndpointGenerator(serve(then=told).settings)
    assert list(make_triplets(records(4), mended, plan(records=2), tmp_path / "broken").cases()) == list(whole.cases())


def test_what_the_user_has_to_mend_is_one_line(serve: Callable[..., Server]) -> None:
    server = serve([(404, {}, b'{"error": {"message": "no such\\nmodel"}}')])
    with pytest.raises(UserError, match="status 404 \\(no such model\\); is `small` what it calls") as caught:
        EndpointGenerator(server.settings).answer(ASKS[:1], SAMPLING)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="not an address"):
        EndpointGenerator(EndpointSettings(url="somewhere/v1", model="small")).answer(ASKS[:1], SAMPLING)
    with pytest.raises(ValidationError, match="give the server's"):
        GeneratorSettings(engine="endpoint")
    with pytest.raises(ValidationError, match="only then"):
        GeneratorSettings(endpoint=server.settings)


def test_a_server_that_calls_the_limit_otherwise_or_takes_no_seed_is_asked_its_way(
    serve: Callable[..., Server],
) -> None:
    refusals: list[Any] = [
        (400, {}, b'{"error": {"message": "Unsupported parameter: use max_completion_tokens"}}'),
        (400, {}, b'{"error": "unknown field: seed"}'),
    ]
    server = serve(refusals)
    generator = EndpointGenerator(server.settings, sleep=lambda _: None)
    assert [each.text for each in generator.answer(ASKS[:1], SAMPLING)] == ["A dog."]
    assert "max_tokens" not in server.asked[-1]
    assert server.asked[-1]["max_completion_tokens"] == 16
    assert "seed" not in server.asked[-1]


def test_half_a_character_can_be_written_down() -> None:
    body = b'{"choices": [{"message": {"content": "a \\ud83d dog"}, "finish_reason": "stop"}]}'
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=body))
    settings = EndpointSettings(url="http://somewhere/v1", model="small")
    (answer,) = EndpointGenerator(settings, transport=transport).answer(ASKS[:1], SAMPLING)
    assert answer.text.encode() == b"a ? dog"


class FakeLLM:
    """As much of vLLM as is asked of it."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        FakeLLM.last = self

    last: Any = None

    def chat(self, messages: list[Any], sampling_params: list[Any], use_tqdm: bool) -> list[Any]:
        self.asked = messages, sampling_params, use_tqdm
        return [
            SimpleNamespace(
                prompt_token_ids=[1] * 20,
                num_cached_tokens=None if number == 0 else 12,
                outputs=[
                    SimpleNamespace(text=" A dog. ", token_ids=[1, 2, 3], finish_reason=["length", "stop"][number])
                ],
            )
            for number in range(len(messages))
        ]


def test_vllm_is_asked_with_pictures_and_a_seed_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    with pytest.raises(UserError, match="vLLM is not installed"):
        VllmGenerator(tmp_path)
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=FakeLLM, SamplingParams=SimpleNamespace))
    generator = VllmGenerator(tmp_path, system="Be brief.", batch=7, gpu_memory_utilization=0.5)
    assert FakeLLM.last.options == {
        "model": str(tmp_path), "enable_prefix_caching": True, "limit_mm_per_prompt": {"image": 1}, "max_num_seqs": 7,
        "gpu_memory_utilization": 0.5,
    }  # fmt: skip
    assert generator.answer(ASKS, SAMPLING) == [Answer("A dog.", 3, cut=True), Answer("A dog.", 3)]
    messages, parameters, shown = FakeLLM.last.asked
    assert [turn["role"] for turn in messages[0]] == ["system", "user"]
    assert messages[0][1]["content"][0]["type"] == "image_url"
    assert messages[1][1]["content"] == "Sum up."
    assert [vars(each) for each in parameters] == [
        {"temperature": 0.7, "top_p": 0.9, "max_tokens": 16, "seed": seed} for seed in (3, 4)
    ]
    assert not shown
    assert generator.counts == TokenCounts(generated=6, encoded=28, reused=12, pictures=1)
    assert generator.answer([], SAMPLING) == []
