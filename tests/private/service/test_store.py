"""Registered keys on disk: killed at ten moments, a full disk, strangers' names."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from burnish.core.errors import BurnishError, UserError
from burnish.private.service.store import KeyStore, Registration

CIRCUIT = "0123456789abcdef"
SIZE = 1 << 20
CHILD = """
import sys
from pathlib import Path
from burnish.private.service.store import KeyStore
store = KeyStore(Path(sys.argv[1]), "0123456789abcdef", 10_000)
print("ready", flush=True)
while True:
    with store.receive() as incoming:
        for _ in range(16):
            incoming.add(b"k" * (1 << 16))
    print(incoming.registration.client, incoming.registration.token, flush=True)
"""


def registered(store: KeyStore, keys: bytes = b"keys") -> Registration:
    with store.receive() as incoming:
        incoming.add(keys)
    return incoming.registration


def test_a_registered_key_outlives_every_kill(tmp_path: Path) -> None:
    """Ten servers in a row, each killed somewhere in its work: what one said is registered is there, whole."""
    known: list[Registration] = []
    for moment in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.003 + 0.0041 * moment)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().splitlines()
        process.wait()
        known += [Registration(*line.split()) for line in lines if len(line) == 65]
    store = KeyStore(tmp_path, CIRCUIT, 10_000)
    assert known
    assert all(store.knows(each) for each in known)
    assert all(store.keys(name).read_bytes() == b"k" * SIZE for name in store.clients())  # no half one among them
    assert len(store.clients()) - len(known) <= 10  # the one that a kill came between, at most
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = KeyStore(tmp_path, CIRCUIT, 5)
    kept = registered(store)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BurnishError, match=r"the disk is full; free some space"), store.receive() as incoming:
        monkeypatch.setattr(incoming, "_file", type("Full", (), {"write": full})())
        incoming.add(b"x")
    assert store.clients() == [kept.client]
    assert [path.name for path in tmp_path.iterdir()] == [kept.client]


def test_who_is_known(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, CIRCUIT, 2)
    one, two = registered(store, b"one"), registered(store, b"two")
    assert store.keys(two.client).read_bytes() == b"two"
    assert store.knows(one)
    for stranger in (
        Registration(one.client, two.token),
        Registration(one.client, ""),
        Registration("../" + one.client, one.token),
        Registration(f"{one.client}/../{one.client}", one.token),
        Registration("", ""),
    ):
        assert not store.knows(stranger)
    with pytest.raises(UserError, match="keeps those of 2 clients"), store.receive():
        pass
    store.forget(one.client)
    assert not store.knows(one)
    with pytest.raises(UserError, match="not registered here"):
        store.keys(one.client)
    registered(store)
    # The token itself is nowhere on the disk.
    assert all(two.token.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_keys_are_kept_for_a_time(tmp_path: Path) -> None:
    now = [1000.0]
    store = KeyStore(tmp_path, CIRCUIT, 1, 60, lambda: now[0])
    first = registered(store)
    now[0] += 59
    assert store.expired() == []
    assert store.knows(first)
    now[0] += 1
    assert not store.knows(first)  # also before anybody looks
    assert store.clients() == []
    with pytest.raises(UserError, match="or not any more; send the keys again"):
        store.keys(first.client)
    registered(KeyStore(tmp_path, "f" * 16, 1, 10, lambda: now[0]))  # of a circuit that is no more
    now[0] += 10
    assert len(store.expired()) == 2
    assert list(tmp_path.iterdir()) == []
    # The time is on the disk: another process goes by the same.
    kept = registered(store)
    assert KeyStore(tmp_path, CIRCUIT, 1, 9999, lambda: now[0] + 59).knows(kept)
    assert not KeyStore(tmp_path, CIRCUIT, 1, 9999, lambda: now[0] + 60).knows(kept)


def test_keys_of_another_circuit_are_not_known(tmp_path: Path) -> None:
    known = registered(KeyStore(tmp_path, CIRCUIT, 5))
    assert not KeyStore(tmp_path, "f" * 16, 5).knows(known)
    (tmp_path / known.client / "client.json").write_text("{")
    assert not KeyStore(tmp_path, CIRCUIT, 5).knows(known)


def test_a_folder_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BurnishError, match="file"):
        KeyStore(tmp_path / "file" / "store", CIRCUIT, 5)
