"""The HTTP endpoint from the auditor's side, against servers that fail, lag, lie and are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core.errors import BurnishError, UserError
from burnish.prove.images import digests
from burnish.prove.suspects import SuspectSettings, open_suspect
from burnish.prove.suspects.answers import BadAnswer, checked
from burnish.prove.suspects.cache import MemoryStore
from burnish.prove.suspects.endpoint import Endpoint, _retry_after
from burnish.prove.suspects.oracle import Oracle
from tests.prove.suspects.endpoint_server import Reply, Server, good, oracle
from tests.prove.suspects.makers import free_port, pictures


@pytest.mark.parametrize("answer", ["labels", "logits", "embeddings"])
def test_answers_come_back(serve: Callable[..., Server], answer: Any) -> None:
    server = serve(lambda number, images, asked: good(images, asked))
    images = pictures(7, channels=1)
    with open_suspect(SuspectSettings(model=server.url, batch=3), answer) as suspect:
        found = suspect.ask(images)
        means = images.mean((1, 2, 3))
        expected = means.astype(int) if answer == "labels" else np.stack([means, -means], 1)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert server.requests == 3
        assert suspect.sent_bytes > 7 * 80
        assert set(server.seen) == set(digests(images))


@pytest.mark.parametrize("status", [500, 503, 429])
def test_failures_are_retried_with_growing_waits(serve: Callable[..., Server], status: int) -> None:
    server = serve(lambda number, images, asked: good(images, asked) if number > 3 else (status, {}, b"busy"))
    waits: list[float] = []
    with oracle(server.url, waits=waits) as suspect:
        assert suspect.ask(pictures(4)).shape == (4,)
        assert (suspect.made, suspect.retried) == (4, 12)
    assert waits == [0.5, 1.0, 2.0]


def test_retry_after_is_honoured_and_a_long_one_ends_the_run(serve: Callable[..., Server]) -> None:
    server = serve(
        lambda number, images, asked: good(images, asked) if number > 1 else (429, {"Retry-After": "7"}, b"")
    )
    waits: list[float] = []
    with oracle(server.url, waits=waits) as suspect:
        suspect.ask(pictures(2))
    assert waits == [7.0]
    server = serve(lambda number, images, asked: (503, {"Retry-After": "86400"}, b""))
    with (
        oracle(server.url) as suspect,
        pytest.raises(BurnishError, match="asks to wait 86,400 s; answers so far are kept"),
    ):
        suspect.ask(pictures(2))
    assert server.requests == 1


def test_retry_after_as_a_date() -> None:
    import email.utils

    soon = _retry_after(email.utils.formatdate(time.time() + 30, usegmt=True))
    assert soon is not None
    assert 25 < soon <= 30
    assert _retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert _retry_after("soon") is None
    assert _retry_after(None) is None


def test_a_server_that_stays_down(serve: Callable[..., Server]) -> None:
    server = serve(lambda number, images, asked: (500, {}, b"\x1b[31mout of memory\n"))
    with oracle(server.url, retries=2) as suspect, pytest.raises(BurnishError) as caught:
        suspect.ask(pictures(2))
    assert "status 500 ([31mout of memory) at 3 attempts; answers so far are kept" in str(caught.value)
    assert caught.value.exit_code == 1
    with (
        oracle(f"http://127.0.0.1:{free_port()}/", retries=1) as suspect,
        pytest.raises(BurnishError, match="ConnectError"),
    ):
        suspect.ask(pictures(2))


def test_time_outs_and_a_reply_that_stops(serve: Callable[..., Server]) -> None:
    def late(number: int, images: np.ndarray, asked: str) -> Reply:
        if number == 1:
            time.sleep(0.6)
        return good(images, asked)

    server = serve(late)
    with oracle(server.url, timeout=0.2) as suspect:
        assert suspect.ask(pictures(2)).shape == (2,)
    assert server.requests == 2

    server = serve(lambda number, images, asked: (200, {"Content-Length": "1000"}, b'{"labels": [1'))
    with (
        oracle(server.url, timeout=0.2, retries=0) as suspect,
        pytest.raises(BurnishError, match="at the only attempt"),
    ):
        suspect.ask(pictures(2))


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_reply_that_drips_ends_at_the_deadline(serve: Callable[..., Server], status: int, part: str) -> None:
    """No pause is as long as the time-out, so that only the deadline of the whole reply can end it."""
    timeout, before = 0.3, threading.active_count()

    def drip() -> Iterator[bytes]:
        for _ in range(60):
            time.sleep(timeout / 3)
            yield b" "

    def script(number: int, images: np.ndarray, asked: str) -> Reply:
        return status, {"Content-Length": "60"} if part == "body" else {"X-Drip": ""}, drip()

    server = serve(script)
    start = time.monotonic()
    with (
        oracle(server.url, timeout=timeout, retries=1) as suspect,
        pytest.raises(BurnishError, match=r"took longer than 0\.3 s at 2 attempts"),
    ):
        suspect.ask(pictures(2))
    assert time.monotonic() - start < 60 * timeout / 3 / 2
    while threading.active_count() > before + 1:  # the server's; the late requests' threads end with their connections
        assert time.monotonic() - start < 60 * timeout / 3
        time.sleep(0.02)


def test_a_compressed_reply_is_not_unpacked(serve: Callable[..., Server]) -> None:
    import gzip

    packed, encoded = gzip.compress(b'{"labels": [1, 2]}'), {"Content-Encoding": "gzip"}
    server = serve(lambda number, images, asked: (200 if number > 1 else 503, encoded, packed))
    waits: list[float] = []
    with oracle(server.url, waits=waits) as suspect, pytest.raises(BurnishError, match="with a compressed reply"):
        suspect.ask(pictures(2))
    assert waits == [0.5]  # a failure is retried, however it is written


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (
            (302, {"Location": "http://evil.example/"}, b""),
            UserError,
            "redirects to http://evil.example/, which is not followed",
        ),
        ((401, {}, b"who are you"), UserError, r"status 401 \(who are you\); name the variable"),
        ((404, {}, b""), UserError, "is this the address of a suspect's endpoint"),
        ((413, {}, b""), UserError, "smaller `batch`"),
        ((200, {}, b"<html>"), BurnishError, "no JSON"),
        ((200, {}, b"[" * 100_000), BurnishError, "no JSON"),
        ((200, {}, b"[1, 2]"), BurnishError, "a JSON list instead of an object"),
        ((200, {}, b'{"error": 1}'), BurnishError, r"no list `labels` \(it has: error\)"),
        ((200, {}, b'{"\\u001b[31m\\n": 1}'), BurnishError, r"it has: \[31m \)"),
        ((200, {}, b'{"labels": [1]}'), BurnishError, r"labels of shape \(1\) for 2 images"),
        ((200, {}, b'{"labels": [1, NaN]}'), BurnishError, "not whole numbers"),
        ((200, {}, b'{"labels": [1, -1]}'), BurnishError, "a label below 0"),
        ((200, {}, b'{"labels": [1, true]}'), BurnishError, "a bool where a number was wanted"),
        ((200, {}, b'{"labels": [1, ' + b"9" * 400 + b"]}"), BurnishError, "labels of type object"),
        ((200, {}, b'{"labels": [' + b" " * (3 << 20) + b"1, 2]}"), BurnishError, "more than 2,097,152 bytes"),
    ],
)
def test_replies_that_are_refused(
    serve: Callable[..., Server], reply: Reply, kind: type[Exception], message: str
) -> None:
    server = serve(lambda number, images, asked: reply)
    with oracle(server.url) as suspect, pytest.raises(BurnishError, match=message) as caught:
        suspect.ask(pictures(2))
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert server.requests == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("[[1, 2], [1]]", "of unequal length"),
        ("[[1, 2], [1, NaN]]", "image 1 of the batch not finite"),
        ("[[1, 2], [1, 1e300]]", "image 1 of the batch not finite"),
        ("[[], []]", "wanted"),
        ("[1, 2]", "a flat list"),
        ('[[1, 2], [1, "2"]]', "a str where a number"),
        ("[[1, 2], [1, null]]", "a NoneType where a number"),
    ],
)
def test_vectors_that_are_refused(serve: Callable[..., Server], rows: str, message: str) -> None:
    server = serve(lambda number, images, asked: (200, {}, f'{{"embeddings": {rows}}}'.encode()))
    with oracle(server.url, "embeddings") as suspect, pytest.raises(BurnishError, match=message):
        suspect.ask(pictures(2))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["labels", "logits", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


ENDPOINTS = {name: Endpoint(SuspectSettings(model="http://127.0.0.1:1/"), name) for name in ("labels", "logits")}


@given(reply=JSON, answer=st.sampled_from(["labels", "logits"]))
@settings(max_examples=300)
def test_any_json_is_a_valid_answer_or_one_line(reply: Any, answer: Any) -> None:
    endpoint = ENDPOINTS[answer]
    try:
        field = endpoint._field(json.dumps(reply).encode())
        found = checked(field, answer, 2)
    except BadAnswer as error:
        line = str(endpoint.refusal(str(error)))
        assert line
        assert "\n" not in line
    else:
        assert np.isfinite(found).all()
        assert found.shape[0] == 2


@given(field=st.lists(JSON, max_size=3), answer=st.sampled_from(["labels", "logits", "embeddings"]))
@settings(max_examples=300)
def test_any_list_is_a_valid_answer_or_one_line(field: list[Any], answer: Any) -> None:
    try:
        found = checked(field, answer, len(field))
    except BadAnswer as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(found).all()
        assert found.dtype == (np.int64 if answer == "labels" else np.float32)


def test_another_size_midway(serve: Callable[..., Server]) -> None:
    server = serve(
        lambda number, images, asked: (
            200,
            {},
            json.dumps({"logits": [[1.0] * (2 + number // 2)] * len(images)}).encode(),
        )
    )
    with (
        oracle(server.url, "logits", batch=2) as suspect,
        pytest.raises(BurnishError, match="logits of size 3, but 2 before"),
    ):
        suspect.ask(pictures(4))


def test_the_rate_is_kept(serve: Callable[..., Server]) -> None:
    server = serve(lambda number, images, asked: good(images, asked))
    now = [0.0]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    asked = SuspectSettings(model=server.url, rate=4, batch=1)
    backend = Endpoint(asked, "labels", sleep=sleep, clock=lambda: now[0])
    with Oracle(backend, "labels", asked, MemoryStore()) as suspect:
        suspect.ask(pictures(5))
    assert waits == [0.25] * 4


AUDIT = """
import sys
from pathlib import Path
from burnish.prove.suspects import SuspectSettings, open_suspect
from tests.prove.suspects.endpoint_server import Reply, Server, good, oracle
from tests.prove.suspects.makers import pictures
with open_suspect(SuspectSettings(model=sys.argv[1], batch=1), "labels", Path(sys.argv[2])) as oracle:
    oracle.ask(pictures(80))
    print("made", oracle.made, "saved", oracle.saved)
"""


def test_killed_at_any_moment_it_never_repeats_a_stored_query(serve: Callable[..., Server], tmp_path: Path) -> None:
    """SIGKILL at random moments: the server never sees an image again whose answer was in the file at that moment."""
    images = pictures(80)
    keys = digests(images)

    def slow(number: int, images: np.ndarray, asked: str) -> Reply:
        time.sleep(0.004)
        return good(images, asked)

    server = serve(slow)
    rng = random.Random(5)
    command = [sys.executable, "-c", AUDIT, server.url, str(tmp_path)]
    kills = 0
    snapshots: list[tuple[set[bytes], dict[bytes, int]]] = []
    for _ in range(8):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "NO_PROXY": "*"})
        try:
            before, end = len(server.seen), time.monotonic() + 60
            while len(server.seen) == before and process.poll() is None:  # until it is asking
                assert time.monotonic() < end
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.08))
            finished = process.poll() is not None
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        if finished:
            break
        kills += 1
        lines = b"".join(path.read_bytes() for path in tmp_path.glob("*.answers")).split(b"\n")
        stored = {bytes.fromhex(line[:64].decode()) for line in lines[1:] if len(line) > 66}
        time.sleep(0.02)  # a request that was on its way arrives
        snapshots.append((stored, {key: server.seen[key] for key in stored}))
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "NO_PROXY": "*"})
    assert done.returncode == 0, done.stderr
    assert "saved" in done.stdout
    assert kills >= 3
    assert set(server.seen) == set(keys)
    for stored, counts in snapshots:
        assert {key: server.seen[key] for key in stored} == counts
    # An answer lost on its way costs one more query, and no more than one a kill.
    assert sum(server.seen.values()) <= len(keys) + kills
