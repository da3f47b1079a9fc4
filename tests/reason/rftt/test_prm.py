"""A process reward model of any kind: what it is asked, what is kept, and what a bad one gets."""

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from burnish.core.errors import BurnishError, UserError
from burnish.reason.rftt.prm import Endpoint, ProcessScores, load_scorer

TREE = [["a", "b", "c"], ["a", "b", "d"], ["a", "e"], ["a", "b"]]


class Scorer:
    """Scores a step by how far it stands, and remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []

    def __call__(self, questions: list[str], steps: list[list[str]]) -> list[list[float]]:
        self.seen += [(question, *rows) for question, rows in zip(questions, steps, strict=True)]
        return [[(place + 1) / 10 for place in range(len(rows))] for rows in steps]


def scored(scorer: Any, solutions: Sequence[Sequence[str]] = TREE, **options: Any) -> list[tuple[float, ...]]:
    return ProcessScores(scorer, "mine", **options).score(["q"] * len(solutions), solutions)


def test_a_solution_is_shown_once_and_none_that_another_begins_with() -> None:
    scorer = Scorer()
    scores = ProcessScores(scorer, "mine")
    assert scores.score(["q"] * 4, TREE) == [(0.1, 0.2, 0.3), (0.1, 0.2, 0.3), (0.1, 0.2), (0.1, 0.2)]
    assert scorer.seen == [("q", "a", "b", "c"), ("q", "a", "b", "d"), ("q", "a", "e")]
    # of 10 steps wanted 5 differ
    assert scores.take_counts() == {"asked": 3, "scored": 5, "reused": 5, "too_long": 0}
    assert scores.score(["q", "q"], [["a", "b"], ["a", "b", "c"]]) == [(0.1, 0.2), (0.1, 0.2, 0.3)]
    assert len(scorer.seen) == 3
    scores.score(["other"], [["a", "b"]])  # the same steps of another question are other steps
    assert scorer.seen[3:] == [("other", "a", "b")]
    scores.forget()
    scores.score(["q"], [["a"]])
    assert scorer.seen[4:] == [("q", "a")]


def test_steps_do_not_run_together() -> None:
    scorer = Scorer()
    assert scored(scorer, [["ab", "c"], ["a", "bc"], ["abc"]]) == [(0.1, 0.2), (0.1, 0.2), (0.1,)]
    assert len(scorer.seen) == 3
    assert scored(Scorer(), [[], ["a"]]) == [(), (0.1,)]


def test_what_is_too_long_gets_a_fixed_score_but_for_steps_that_are_known() -> None:
    scorer = Scorer()
    scores = ProcessScores(scorer, "mine", length=len, most_tokens=5)  # "q\na\nb" has 5
    assert scores.score(["q"] * 3, [["a", "b"], ["a", "b", "c"], ["longer", "still"]]) == [
        (0.1, 0.2),
        (0.1, 0.2, 0.2),
        (0.2, 0.2),
    ]
    assert scorer.seen == [("q", "a", "b")]
    assert scores.take_counts()["too_long"] == 2


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([[0.1, float("nan")]], "mine gave nan for step 2 of 2 of solution 1; a score is a number from 0 to 1"),
        ([[0.1, 1.5]], "mine gave 1.5 for step 2"),
        ([[0.1, "good"]], "mine gave 'good' for step 2"),
        ([[0.1]], "mine gave 1 scores for the 2 steps of solution 1; it must give one a step"),
        ([0.1, 0.2], "mine gave 2 lists of scores for 1 solutions"),
        ([0.3], "mine gave no list of scores for the 2 steps of solution 1"),
        (None, "mine gave no list of scores for 1 solutions"),
    ],
)
def test_scores_that_are_none_are_named(found: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        scored(lambda questions, steps: found, [["a", "b"]])


def test_a_function_that_fails_is_named_with_its_place() -> None:
    def broken(questions: list[str], steps: list[list[str]]) -> list[list[float]]:
        raise KeyError("dough")

    with pytest.raises(UserError, match=r"prm: mine raised KeyError: 'dough' \(test_prm.py:\d+\)"):
        scored(broken, [["a"]])


def test_a_function_is_named_as_module_and_name() -> None:
    assert scored(load_scorer("tests.reason.rftt.test_prm:halves"), [["a", "b"]]) == [(0.5, 0.5)]
    with pytest.raises(UserError, match="test_prm:TREE` cannot be called"):
        load_scorer("tests.reason.rftt.test_prm:TREE")


def halves(questions: list[str], steps: list[list[str]]) -> list[list[float]]:
    return [[0.5] * len(rows) for rows in steps]


class Server:
    """A server that answers with what it is told, one reply a request; ``None`` drops the connection."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, str] | None] = []
        self.bodies: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                reply = outer.replies.pop(0)
                if reply is None:
                    self.close_connection = True
                    return
                self.send_response(reply[0])
                self.end_headers()
                self.wfile.write(reply[1].encode())

            def log_message(self, *args: Any) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/score"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


GOOD = (200, json.dumps({"scores": [[0.5, 0.25]]}))


def test_a_server_that_fails_for_a_while_is_asked_again(server: Server) -> None:
    server.replies = [(500, "oops"), (200, "<html>"), None, (429, ""), GOOD]
    waited: list[float] = []
    endpoint = Endpoint(server.url, sleep=waited.append)
    assert scored(endpoint, [["a", "b"]]) == [(0.5, 0.25)]
    assert waited == [1, 2, 4, 8]
    assert endpoint.retries == 4
    assert server.bodies == [{"questions": ["q"], "steps": [["a", "b"]]}] * 5


def test_a_server_that_is_down_ends_the_run_after_two_minutes_of_tries(server: Server) -> None:
    server.close()
    waited: list[float] = []
    with pytest.raises(BurnishError, match=r"did not answer in 8 tries over 127 s \(ConnectError.*start it") as caught:
        scored(Endpoint(server.url, sleep=waited.append), [["a"]])
    assert not isinstance(caught.value, UserError)  # it is not a wrong setting
    assert sum(waited) == 127


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((404, ""), "refused the request with status 404; check the address"),
        ((200, "[1]"), "answered without `scores`"),
    ],
)
def test_a_server_of_another_kind_is_not_asked_twice(server: Server, reply: tuple[int, str], words: str) -> None:
    server.replies = [reply]
    with pytest.raises(UserError, match=words):
        scored(load_scorer(server.url), [["a"]])
    assert server.replies == []


def test_an_address_that_is_none(server: Server) -> None:
    with pytest.raises(UserError, match="is not an address that can be asked"):
        scored(load_scorer("http://"), [["a"]])
