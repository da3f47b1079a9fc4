"""What leaves the client, to the byte, under real encryption: nothing of the secret key, nothing of the text."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import msgpack
import numpy as np
import pytest

from burnish.core.errors import BurnishError
from burnish.private.bundle import load_heads
from burnish.private.encryption.choose import make_client
from burnish.private.heads import answers
from burnish.private.service import wire
from burnish.private.service.client import ServiceClient
from burnish.private.service.keys import Keys, load_keys
from burnish.private.service.running import Settings, new_keys
from tests.private.service.conftest import running, texts

WINDOW = 12  # bytes; a match by chance: one in 2^96 a pair of places
KEY_WINDOW = 32
"""Of keys and answers, which SEAL compresses: the head of a compressed block, up to 15 bytes, is no secret and comes
again in other keys (measured: some 25 times among 12 secret keys)."""


class Recorder(httpx.HTTPTransport):
    """The network, with a copy of every byte that was sent and received."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.received: list[bytes] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = b"".join(request.stream)  # type: ignore[arg-type]
        head = f"{request.method} {request.url} {request.headers.raw!r}".encode()
        self.sent.append(head + body)
        again = httpx.Request(request.method, request.url, headers=request.headers, content=body)
        response = super().handle_request(again)
        data = response.read()
        self.received.append(data)
        return httpx.Response(response.status_code, headers=response.headers, content=data)


def windows(data: bytes, step: int = 1, size: int = WINDOW) -> set[bytes]:
    """Pieces of the data; those of few different bytes (padding, exponents) say nothing."""
    pieces = (data[place : place + size] for place in range(0, len(data) - size + 1, step))
    return {piece for piece in pieces if len(set(piece)) > size // 2}


def leaks(wanted: set[bytes], sent: bytes) -> bool:
    """Whether one of the pieces stands anywhere in what was sent."""
    assert len(wanted) > 5
    (size,) = {len(piece) for piece in wanted}
    # Three bytes of each place first, by a table: fast enough for a hundred megabytes.
    likely = np.zeros(1 << 24, bool)
    likely[[int.from_bytes(piece[:3], "little") for piece in wanted]] = True
    stream = np.frombuffer(sent, np.uint8)
    for start in range(0, len(sent), 1 << 24):
        part = stream[start : start + (1 << 24) + 2].astype(np.uint32)
        places = start + np.flatnonzero(likely[part[:-2] | part[1:-1] << 8 | part[2:] << 16])
        if any(sent[place : place + size] in wanted for place in places.tolist()):
            return True
    return False


@pytest.fixture(scope="module")
def encrypted(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(bundle, tmp_path_factory.mktemp("store"), Settings(questions=2)) as url:
        yield url


@pytest.fixture(scope="module")
def keys(encrypted: str, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return new_keys(encrypted, tmp_path_factory.mktemp("keys") / "keys")


def test_nothing_secret_leaves_the_client(bundle: Path, encrypted: str, keys: Keys) -> None:
    given, url = texts(2), encrypted
    network = Recorder()
    with ServiceClient(url, keys, transport=network) as client:
        labels = client.ask(given)
        again = client.ask(given)
        # Damaged under way: SEAL refuses it in a process of its own, and the server goes on.
        plan, own = client.offer.plan, keys.client
        part = bytearray(own.save(own.encrypt(plan.encode(given)[0])))
        part[40:80] = bytes(40)
        message = wire.write(
            "question", plan.parameters.digest, plan.digest, [bytes(part)], session=client._session, nonce="a" * 32
        )
        reply = httpx.post(url + "/v1/questions", content=message, timeout=60)
        assert reply.status_code in (200, 422)  # or what it decrypts to is no label
        client.forget()
    wanted = answers(load_heads(bundle)[0], given)
    for label, other, right in zip(labels, again, wanted, strict=True):
        assert label.index in (right, None)
        assert other.index in (right, None)
    secret = msgpack.unpackb((keys.folder / "secret.key").read_bytes())["secret"]
    slots = keys.offer.plan.encode(given)

    # The scanner finds what was sent: a piece of the evaluation keys, a piece of an answer.
    keys_sent = max(network.sent, key=len)
    assert leaks(
        windows((keys.folder / "evaluation.keys").read_bytes()[5_000:9_000], 7, KEY_WINDOW), keys_sent[: 1 << 24]
    )
    first, second = (data for data in network.sent if b"/v1/questions" in data)
    one, two = (data for data in network.received if data[:4] == wire.MAGIC)
    assert leaks(windows(one[2_000:3_000], 1, KEY_WINDOW), one)
    # And nothing of these, in all that left the client.
    tail = (keys.folder / "secret.key").read_bytes()[-4_000:]
    plain = [given.tobytes(), given.astype(np.float32).tobytes(), slots.tobytes()]
    sent = b"".join(network.sent)
    assert not leaks(windows(secret, 101, KEY_WINDOW) | windows(tail, 1, KEY_WINDOW), sent)
    assert not leaks(set().union(*map(windows, plain)), sent)
    # Two questions of the same text have nothing in common but what every message has; nor two answers, but their size.
    assert not leaks(windows(first[4_000:60_000], 31, KEY_WINDOW), second)
    assert len(one) == len(two)
    assert not leaks(windows(one[1_000:20_000], 31, KEY_WINDOW), two)


def test_a_secret_key_that_is_not_this_one_decrypts_nothing(encrypted: str, keys: Keys, tmp_path: Path) -> None:
    """Changed on the disk for another one of the same parameters: no label, and never a wrong one."""
    other = make_client(keys.offer.plan.parameters)
    with ServiceClient(encrypted, replace(keys, client=other)) as client:
        labels = client.ask(texts(1))
    assert all(label.ambiguous and label.damaged for label in labels)


@pytest.mark.parametrize("place", [0, 3, 30, 200, 100_000, -1])
def test_a_damaged_secret_key_is_one_line(keys: Keys, tmp_path: Path, place: int) -> None:
    shutil.copytree(keys.folder, tmp_path / "keys", ignore=shutil.ignore_patterns("evaluation.keys"))
    data = bytearray((keys.folder / "secret.key").read_bytes())
    data[place] ^= 0xFF
    (tmp_path / "keys" / "secret.key").write_bytes(data)
    with pytest.raises(BurnishError) as caught:
        load_keys(tmp_path / "keys")
    assert "\n" not in str(caught.value)
