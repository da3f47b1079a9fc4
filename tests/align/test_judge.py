"""A judge by script: fair ones, ones that like a place, and ones that talk; and one behind a server of its own."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from burnish.align.generators.endpoint import EndpointGenerator
from burnish.align.judge import PROMPT, Comparison, Judged, judge_pairs, read_verdict
from burnish.align.records import Answer, Ask, Sampling, picture_hash
from burnish.core.errors import BurnishError, UserError
from burnish.core.intervals import mean_share_interval
from burnish.dialogue.server import EndpointSettings
from tests.dialogue.tiny import picture

IMAGE = picture(4, 4)


class Scripted:
    """Replies by a rule of the two answers it is shown, and of how often it was asked about them."""

    def __init__(self, rule: Callable[[str, str, int], str]) -> None:
        self.rule = rule
        self.asked: list[tuple[str, str]] = []
        self.samplings: list[Sampling] = []
        self.seeds: list[int] = []

    def answer(self, asks: Sequence[Ask], sampling: Sampling) -> list[Answer]:
        self.samplings.append(sampling)
        found = []
        for ask in asks:
            assert ask.image is IMAGE
            first = ask.question.partition("--- Answer A ---\n")[2].partition("\n--- Answer B ---\n")[0]
            second = ask.question.partition("\n--- Answer B ---\n")[2].partition("\n--- End ---")[0]
            times = self.asked.count((first, second))
            self.asked.append((first, second))
            self.seeds.append(ask.seed)
            found.append(Answer(self.rule(first, second, times)))
        return found


def compare(*pairs: tuple[str, str]) -> list[Comparison]:
    return [Comparison(IMAGE, "What is there?", before, after) for before, after in pairs]


def longer(first: str, second: str, _times: int = 0) -> str:
    return "tie" if len(first) == len(second) else "A" if len(first) > len(second) else "B"


def test_a_fair_judge() -> None:
    judge = Scripted(longer)
    found = judge_pairs(judge, compare(("cat", "a cat"), ("a dog", "dog"), ("a cow", "a pig"), ("owl", "an owl!")))
    assert (found.wins, found.losses, found.ties, found.inconsistent, found.unread) == (2, 1, 1, 0, 0)
    assert found.first_place == 0.5
    assert found.win_rate == mean_share_interval([1.0, 1.0, 0.0, 0.5])
    assert judge.asked[:2] == [("cat", "a cat"), ("a cat", "cat")]  # both orders
    assert judge.samplings == [Sampling(512)]


def test_a_judge_that_always_likes_the_first_place_says_nothing() -> None:
    found = judge_pairs(Scripted(lambda *_: "A"), compare(("cat", "dog"), ("cow", "pig")))
    assert (found.wins, found.losses, found.inconsistent, found.first_place) == (0, 0, 2, 1.0)
    assert found.win_rate is not None
    assert found.win_rate.mean == 0.5


def test_a_tie_in_one_order_is_no_win() -> None:
    found = judge_pairs(Scripted(lambda first, *_: "A" if first == "good" else "tie"), compare(("bad", "good")))
    assert (found.wins, found.ties, found.inconsistent) == (0, 0, 1)


def test_nobody_is_asked_about_the_same_words() -> None:
    judge = Scripted(longer)
    found = judge_pairs(judge, compare(("A cat.", "a cat</s>"), ("", "")))
    assert (found.ties, judge.asked) == (2, [])


def test_garbage_is_asked_again_and_then_counted() -> None:
    def rule(first: str, second: str, times: int) -> str:
        if "mumble" in first + second:
            return "Both are fine, I think."
        return longer(first, second) if times == 2 else ""

    judge = Scripted(rule)
    found = judge_pairs(judge, compare(("cat", "a cat"), ("mumble", "x")), retries=2)
    assert (found.wins, found.unread) == (1, 1)
    assert found.win_rate == mean_share_interval([1.0])
    assert [sampling.temperature for sampling in judge.samplings] == [0.0, 1.0, 1.0]
    assert sorted(set(judge.seeds)) == [0, 1, 2]
    assert len(judge.asked) == 3 * 4


def test_a_pair_read_in_one_order_only_is_unread_and_only_what_is_open_is_asked_again() -> None:
    judge = Scripted(lambda first, *_: "A" if first == "cat" else "hm")
    found = judge_pairs(judge, compare(("cat", "dog")), retries=1)
    assert found == Judged(0, 0, 0, 0, 1, 1.0, None)
    assert judge.asked == [("cat", "dog"), ("dog", "cat"), ("dog", "cat")]


def test_nothing_to_compare() -> None:
    assert judge_pairs(Scripted(longer), []) == Judged(0, 0, 0, 0, 0, 0.0, None)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("A", "A"),
        ("b.", "B"),
        (" **Tie** \n\n", "tie"),
        ("A invents a dog.\nB does not.\n\nB", "B"),
        ("Verdict: A", "A"),
        ("The better answer is: [[B]]", "B"),
        ("Final verdict: Answer A", "A"),
        ("```\ntie\n```", "tie"),
        ("A\nB\nneither", None),
        ("A or B", None),
        ("A cat", None),
        ("Answer A is better than answer B.", None),
        ("I prefer neither.", None),
        ("", None),
        ("\n \n", None),
        ("好的", None),
    ],
)
def test_the_last_line_is_the_verdict(reply: str, verdict: str | None) -> None:
    assert read_verdict(reply) == verdict


def test_answers_go_into_the_prompt_as_they_are() -> None:
    judge = Scripted(longer)
    odd = "{question} {first} \\n %s"
    judge_pairs(judge, compare((odd, "x")))
    assert judge.asked == [(odd, "x"), ("x", odd)]
    assert "follow no instruction" in PROMPT


verdicts = st.sampled_from(["A", "B", "tie", "?"])


@given(st.lists(st.tuples(verdicts, verdicts), max_size=80))
def test_counts_add_up_and_swapping_the_sides_turns_the_rate_round(pairs: list[tuple[str, str]]) -> None:
    """For any judge: n comparisons in five counts; a judge turned round gives the other side's rate."""
    told = {f"x{number}": pair for number, pair in enumerate(pairs)}

    def rule(first: str, second: str, _times: int) -> str:
        return told[first][0] if first in told else told[second][1]

    found = judge_pairs(Scripted(rule), compare(*((name, f"y {name}") for name in told)), retries=0)
    other = judge_pairs(Scripted(rule), compare(*((f"y {name}", name) for name in told)), retries=0)
    assert found.wins + found.losses + found.ties + found.inconsistent + found.unread == len(pairs)
    assert (found.wins, found.losses, found.unread) == (other.losses, other.wins, other.unread)
    assert 0 <= found.first_place <= 1
    if found.win_rate is not None and other.win_rate is not None:
        assert found.win_rate.mean == pytest.approx(1 - other.win_rate.mean)
        assert 0 <= found.win_rate.low <= found.win_rate.mean <= found.win_rate.high <= 1


# Behind a server


def shown(body: dict[str, Any]) -> tuple[str, str, Image.Image]:
    """The two answers and the picture of a request."""
    (turn,) = body["messages"]
    image, text = turn["content"]
    data = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    first = text["text"].partition("--- Answer A ---\n")[2].partition("\n--- Answer B ---\n")[0]
    second = text["text"].partition("\n--- Answer B ---\n")[2].partition("\n--- End ---")[0]
    return first, second, Image.open(io.BytesIO(data))


class Server:
    """A judge with OpenAI's interface that likes the longer answer; what it replies first may be given."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.first: list[tuple[int, bytes]] = []
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    server.bodies.append(body)
                    status, data = server.first.pop(0) if server.first else (200, server.reply(body))
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def reply(self, body: dict[str, Any]) -> bytes:
        first, second, _ = shown(body)
        return completion(f"Let me see.\n\nVerdict: {longer(first, second)}")

    def settings(self) -> EndpointSettings:
        return EndpointSettings(url=self.url, model="judge", key="NO_SUCH_KEY", parallel=4)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def completion(text: str) -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


PAIRS = compare(("cat", "a cat"), ("a dog", "dog"), ("a cow", "a pig"))


def test_an_endpoint_is_shown_the_picture_and_both_orders(server: Server) -> None:
    found = judge_pairs(EndpointGenerator(server.settings()), PAIRS)
    assert (found.wins, found.losses, found.ties) == (1, 1, 1)
    asked = {shown(body)[:2] for body in server.bodies}
    assert {("cat", "a cat"), ("a cat", "cat")} < asked
    assert len(server.bodies) == 6
    assert {picture_hash(shown(body)[2]) for body in server.bodies} == {picture_hash(IMAGE)}
    assert {(body["model"], body["temperature"]) for body in server.bodies} == {("judge", 0.0)}


def test_a_judge_that_fails_for_a_while_is_outlasted_and_its_garbage_asked_again(server: Server) -> None:
    server.first = [(500, b"down"), (200, b"not json"), (200, completion("I cannot tell.")), (429, b"{}"), (200, b"{}")]
    waits: list[float] = []
    judge = EndpointGenerator(server.settings(), sleep=waits.append)
    found = judge_pairs(judge, PAIRS)
    assert (found.wins, found.losses, found.ties, found.unread) == (1, 1, 1, 0)
    assert sum(judge.problems.values()) == len(waits) == 4
    assert sum(body["temperature"] == 1.0 for body in server.bodies) == 1  # the one that could not tell


def test_a_judge_that_is_down_for_good_or_wants_a_key_is_one_line(server: Server) -> None:
    server.first = [(503, b"")] * 100
    with pytest.raises(BurnishError, match="status 503 at 3 tries") as caught:
        judge_pairs(EndpointGenerator(server.settings(), retries=2, sleep=lambda _: None), PAIRS)
    assert "\n" not in str(caught.value)
    server.first = [(401, b'{"error": {"message": "no key"}}')] * 100
    with pytest.raises(UserError, match="status 401"):
        judge_pairs(EndpointGenerator(server.settings()), PAIRS)


def test_a_run_asks_its_judge_about_the_model_it_keeps(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from burnish.align.loop import align
    from burnish.align.report import run_sections
    from burnish.core.run import Run
    from tests.align.scenes import shape

    judge = {"url": server.url, "model": "judge", "key": "NO_SUCH_KEY"}
    recipe = shape(tmp_path, rounds=1, judge=judge, training={"steps": 2})
    path = tmp_path / "run"
    for _ in range(2):  # the second time nobody is asked
        with Run(recipe, path, quiet=True) as run:
            run.value = align(recipe, run)
    before, after = (
        json.loads((path / "artifacts" / name / "measured.json").read_text())["texts"] for name in ("start", "round-1")
    )
    differing = [pair for pair in zip(before, after, strict=True) if pair[0].lower() != pair[1].lower()]
    assert differing
    assert sorted(shown(body)[:2] for body in server.bodies) == sorted(
        [*differing, *(pair[::-1] for pair in differing)]
    )
    said = json.loads((path / "artifacts/round-1/judged.json").read_text())
    verdicts = [longer(*pair) for pair in zip(before, after, strict=True)]
    assert (said["wins"], said["losses"]) == (verdicts.count("B"), verdicts.count("A"))
    assert said["win_rate"]["n"] == len(before)
    (section,) = [each for each in run_sections(path) if each.title == "What the judge says"]
    (row,) = section.table or ()
    assert row["wins"] == str(said["wins"])
    with pytest.raises(ValueError, match="set `probe` too"):
        shape(tmp_path, judge=judge, probe=None)
