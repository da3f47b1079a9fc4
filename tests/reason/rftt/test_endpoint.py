"""Phase 1 by prompts: an endpoint that fails in every way, and a model here; both write what the search asks for."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as Folder
from typing import Any

import httpx
import pytest
import torch
import transformers

from burnish.core.errors import BurnishError, UserError
from burnish.dialogue.models import ChatModel
from burnish.reason.rftt.generators.endpoint import EndpointWriter
from burnish.reason.rftt.generators.prompted import Ask, LocalWriter, Prompted
from burnish.reason.rftt.generators.protocol import Path, PathNode, Prompt, Sampling, TokenCounts
from burnish.reason.rftt.grammar import prompted_grammar, rftt_grammar
from burnish.reason.rftt.search import PROMPTED, Saving, search
from burnish.reason.rftt.tree_files import read_folder
from burnish.testbeds.models import character_tokenizer
from tests.reason.rftt.scripted import judged

ASK = Ask("How many?", 16, 7)
GRAMMAR = prompted_grammar(rftt_grammar(), max_depth=4)


def completion(text: Any = "Four.", finish: str = "stop", usage: Any = None) -> httpx.Response:
    body: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}
    return httpx.Response(200, json=body | ({"usage": usage} if usage else {}))


class Server:
    """Answers from a list, or by a function, and keeps what it was asked and how long it was waited for."""

    def __init__(self, *answers: Any, then: Callable[[dict[str, Any]], httpx.Response] | None = None) -> None:
        self.answers = list(answers)
        self.then = then
        self.asked: list[dict[str, Any]] = []
        self.waited: list[float] = []
        self.lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        with self.lock:
            self.asked.append(body)
            answer = self.answers.pop(0) if self.answers else (self.then or (lambda _: completion()))(body)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    def writer(self, **settings: Any) -> EndpointWriter:
        return EndpointWriter(
            "http://somewhere/v1", "small", transport=httpx.MockTransport(self), sleep=self.waited.append, **settings
        )


def test_a_request_and_its_tokens() -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 12}}
    server = Server(completion(usage=usage))
    writer = server.writer()
    (reply,) = writer.write([ASK], Sampling(0.8, 40, 0.95))
    assert (reply.text, reply.finished) == ("Four.", True)
    assert writer.counts == TokenCounts(generated=5, encoded=18, reused=12)
    assert server.asked == [
        {
            "model": "small", "messages": [{"role": "user", "content": "How many?"}], "max_tokens": 16, "seed": 7,
            "temperature": 0.8, "top_p": 0.95, "top_k": 40,
        }
    ]  # fmt: skip


FAILURES = {
    "status 500": httpx.Response(500, text="oops"),
    "status 429": httpx.Response(429, json={"error": {"message": "slow down"}}),
    "no connection": httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
    "timeout": httpx.ReadTimeout("late"),
    "garbage": httpx.Response(200, headers={"content-type": "application/json"}, content=b'{"choices": [{"mess'),
}
GARBAGE = [
    httpx.Response(200, text="<html>hello</html>"),
    httpx.Response(200, json=[1, 2]),
    httpx.Response(200, json={"choices": []}),
    httpx.Response(200, json={"choices": [{"message": {"content": None}}]}),
    httpx.Response(200, json={"choices": ["x"]}),
]


@pytest.mark.parametrize("cause", FAILURES)
def test_a_failure_that_may_pass_is_counted_and_tried_again(cause: str) -> None:
    server = Server(FAILURES[cause], FAILURES[cause])
    writer = server.writer()
    assert writer.write([ASK], Sampling())[0].text == "Four."
    assert writer.problems == Counter({cause: 2})
    assert server.waited == [0.5, 1.0]


def test_every_kind_of_garbage_is_garbage() -> None:
    writer = Server(*GARBAGE).writer()
    assert writer.write([ASK], Sampling())[0].text == "Four."
    assert writer.problems == Counter({"garbage": len(GARBAGE)})


def test_an_endpoint_down_for_a_minute_is_outlasted_and_one_down_for_good_is_not() -> None:
    server = Server()
    down_until = 60.0

    def answer(_body: dict[str, Any]) -> httpx.Response:
        if sum(server.waited) < down_until:
            raise httpx.ConnectError("Connection refused")
        return completion()

    server.then = answer
    assert server.writer().write([ASK], Sampling())[0].text == "Four."
    assert 60 <= sum(server.waited) < 150
    down_until, server.waited[:] = 1e9, []
    writer = server.writer(retries=3)
    with pytest.raises(BurnishError, match="no connection at 4 tries of one request; trees that were saved are kept"):
        writer.write([ASK], Sampling())
    assert writer.problems == Counter({"no connection": 4})


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (httpx.Response(401, json={"error": {"message": "no key"}}), "status 401 .*variable that holds its key"),
        (
            httpx.Response(404, json={"error": {"message": "no model"}}),
            "status 404 .*is `small` what it calls",
        ),
        (httpx.Response(400, json={"error": {"message": "bad temperature"}}), "status 400 .*bad temperature"),
    ],
)
def test_what_the_user_has_to_mend_is_said_at_once(response: httpx.Response, words: str) -> None:
    server = Server(response)
    with pytest.raises(UserError, match=words):
        server.writer().write([ASK], Sampling())
    assert len(server.asked) == 1


def test_settings_that_a_server_does_not_take_are_left_out_from_then_on() -> None:
    server = Server(httpx.Response(400, json={"error": {"message": "Unrecognized request argument: top_k"}}))
    writer = server.writer()
    assert [reply.text for reply in writer.write([ASK], Sampling(0.8, 40, 0.95))] == ["Four."]
    writer.write([ASK], Sampling(0.8, 40, 0.95))
    assert ["top_k" in body for body in server.asked] == [True, False, False]
    assert all("seed" in body for body in server.asked)


def test_a_turn_longer_than_the_context_gets_no_text() -> None:
    words = "This model's maximum context length is 4096 tokens."
    (reply,) = Server(httpx.Response(400, json={"error": {"message": words}})).writer().write([ASK], Sampling())
    assert (reply.text, reply.finished) == ("", False)


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(UserError, match="SOME_KEY"):
        EndpointWriter("http://somewhere/v1", "small", key_variable="SOME_KEY")


def test_replies_keep_their_order_however_many_are_asked_at_once() -> None:
    server = Server(then=lambda body: completion(body["messages"][0]["content"][::-1]))
    replies = server.writer(workers=5).write([Ask(f"turn {number}", 8, number) for number in range(40)], Sampling())
    assert [reply.text for reply in replies] == [f"turn {number}"[::-1] for number in range(40)]


def test_prompts_name_the_action_and_replies_are_tidied() -> None:
    server = Server(
        completion("Step 2: 3 + 4 = 7.\nStep 3: 7 * 2 =", finish="length"), completion("So 7", finish="length")
    )
    engine = Prompted(server.writer(workers=1), GRAMMAR)
    path = Path(Prompt("q", "What is 3 + 4, doubled?"), (PathNode("analysis", (), "Add, then double."),))
    cut, open_ = engine.complete([path, path], ["next_step", "next_step"], Sampling(), [1, 2])
    assert (cut.text, cut.closed, cut.ids) == ("Step 2: 3 + 4 = 7.", True, ())
    assert (open_.text, open_.closed) == ("So 7", False)
    turn = server.asked[0]["messages"][0]["content"]
    assert "What is 3 + 4, doubled?" in turn
    assert "Add, then double." in turn
    (proposal,) = engine.propose([path])
    assert proposal.actions == GRAMMAR.legal(("analysis",))
    assert sum(torch.tensor(proposal.log_probs).exp()) == pytest.approx(1)


def test_a_search_through_a_flaky_endpoint_ends_and_one_that_broke_off_goes_on(tmp_path: Folder) -> None:
    def text(body: dict[str, Any]) -> httpx.Response:
        return completion(f"Some text {body['seed']}.")

    prompts = [Prompt(f"q{number}", f"What is {number}?") for number in range(4)]
    rules = replace(PROMPTED, rollouts=4)

    def searched(server: Server, folder: Folder, **settings: Any) -> bytes:
        engine = Prompted(server.writer(**settings), GRAMMAR)
        search(prompts, engine, GRAMMAR, judged, rules, saving=Saving(folder, every=1))
        return (folder / "trees-00000.jsonl").read_bytes().partition(b"\n")[2]

    whole = searched(Server(then=text), tmp_path / "whole")
    flaky = Server(*FAILURES.values(), then=text)
    assert searched(flaky, tmp_path / "flaky", workers=1) == whole
    with pytest.raises(BurnishError, match="status 500"):
        searched(Server(then=_breaks(text, 9)), tmp_path / "broken", retries=1, workers=1)
    assert read_folder(tmp_path / "broken")[0][0].nodes
    assert searched(Server(then=text), tmp_path / "broken") == whole


def _breaks(text: Callable[[dict[str, Any]], httpx.Response], after: int) -> Callable[[dict[str, Any]], httpx.Response]:
    asked: list[int] = []

    def answer(body: dict[str, Any]) -> httpx.Response:
        asked.append(1)
        return text(body) if len(asked) <= after else httpx.Response(500)

    return answer


def chat_model(context: int = 128) -> ChatModel:
    torch.manual_seed(1)
    tokenizer = character_tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer) + 9, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=context, eos_token_id=[2], pad_token_id=None, bos_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    return ChatModel(transformers.LlamaForCausalLM(config), tokenizer)


def test_a_local_model_writes_the_same_alone_and_among_others_and_no_padding_row() -> None:
    chat = chat_model()
    asks = [Ask("why " * (1 + number % 4), 5 + number, number) for number in range(7)]
    together = LocalWriter(chat).write(asks, Sampling(1.0, 20, 0.9))
    writer = LocalWriter(chat, batch=1)
    assert [writer.write([ask], Sampling(1.0, 20, 0.9))[0] for ask in asks] == together
    assert len({reply.text for reply in together}) == 7
    assert sum(len(reply.text) for reply in together) <= writer.counts.generated <= sum(ask.tokens for ask in asks)


def test_a_local_model_never_writes_a_row_that_only_pads() -> None:
    chat = chat_model()
    known = len(chat.tokenizer)
    with torch.no_grad():
        chat.model.lm_head.weight[known::2] = 9.0
        chat.model.lm_head.weight[known + 1 :: 2] = -9.0
        prompt = torch.tensor([chat.tokenizer("user: why\n")["input_ids"]])
        assert chat.model(prompt).logits[0, -1].argmax() >= known
    (reply,) = LocalWriter(chat).write([Ask("why", 12, 0)], Sampling(0.0))
    assert reply.text


def test_a_local_model_gives_no_text_to_a_turn_beyond_its_context() -> None:
    long, short = LocalWriter(chat_model(context=64)).write([Ask("x" * 200, 5, 0), Ask("x", 5, 0)], Sampling(0.0))
    assert (long.text, long.finished) == ("", False)
    assert short.text


def test_a_tokenizer_without_a_chat_template_is_named() -> None:
    chat = chat_model()
    chat.processor.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        LocalWriter(chat).write([ASK], Sampling())
