"""OpenFHE beyond what every back end must do: where it does not load, and what is taken from a stranger's bytes."""

import hashlib
import importlib
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import BurnishError, UserError
from burnish.private.encryption.choose import make_client, make_evaluator
from burnish.private.encryption.openfhe import PYTHON, library
from burnish.private.encryption.openfhe_streams import Frame
from burnish.private.encryption.sealed_streams import pack, unpack
from burnish.private.service.running import Settings, prepare
from tests.private.encryption.backends import SMALL, needs_openfhe, pair

PRIMES = (97, 65537, 2**40 + 15)


def written(rows):
    """As OpenFHE writes: lengths that look alike before, then each polynomial and its prime."""
    start = b"head" + struct.pack("<Q", 64) + b"ring of 64"
    bodies = [struct.pack("<Q", 64) + np.asarray(row, "<u8").tobytes() + struct.pack("<Q", p) for row, p in rows]
    return start + b"between".join(bodies) + b"end"


def test_only_coefficients_are_taken_from_a_stream():
    rng = np.random.default_rng(0)
    ours, theirs = ([(rng.integers(0, prime, 64), prime) for prime in PRIMES] for _ in range(2))
    frame, other = Frame(written(ours), 64, 3), Frame(written(theirs), 64, 3)
    assert frame.primes == PRIMES
    assert (frame.words() == [row for row, _ in ours]).all()
    sent = other.narrow()
    assert len(sent) == 64 * (1 + 3 + 6)
    assert frame.filled(sent, "ciphertext") == written(theirs)
    for bad, complaint in [
        (sent[:-1], "639 bytes"),
        (sent + b"\0", "641 bytes"),
        (b"\xff" + sent[1:], "below its prime"),
    ]:
        with pytest.raises(UserError, match=f"ciphertext: .*{complaint}"):
            frame.filled(bad, "ciphertext")
    with pytest.raises(BurnishError, match="3 polynomials found in what it writes, not 4"):
        Frame(written(ours), 64, 4)


def test_where_it_is_not_installed_or_does_not_load_one_line_says_what_to_do(monkeypatch, tmp_path):
    for name in ("openfhe", "openfhe.openfhe"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(p for p in sys.path if not (Path(p) / "openfhe").exists())])
    monkeypatch.setattr(sys, "version_info", (*PYTHON, 1))
    with pytest.raises(UserError, match="the extra `private-openfhe` brings it"):
        library()
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    with pytest.raises(UserError, match=r"openfhe: is not installed; .*take CPython 3\.12 .*the back end `seal`"):
        library()
    for text in ("from .openfhe import *", "raise ImportError('version `GLIBC_2.38` not found\\n(required)')"):
        (tmp_path / "openfhe").mkdir(exist_ok=True)
        (tmp_path / "openfhe" / "__init__.py").write_text(text)
        importlib.invalidate_caches()
        with pytest.raises(UserError, match=r"does not load: .*take CPython") as caught:
            library()
        assert "\n" not in str(caught.value)


def test_a_server_says_so_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "openfhe", None)
    with pytest.raises(UserError, match=r"^openfhe"):
        prepare(Path("absent"), Settings(backend="openfhe"))


@needs_openfhe
def test_strange_keys_and_ciphertexts_are_refused():
    client, evaluator = pair("openfhe")
    cipher = unpack(client.save(client.encrypt(np.ones(4), level=0)), KINDS, "")
    for change in ({"level": 4}, {"level": -1}, {"level": True}, {"parts": 3, "doubled": True}, {"doubled": 0}):
        with pytest.raises(UserError, match="ciphertext: not of a level or size"):
            evaluator.load(pack({**cipher, **change}))
    half = len(cipher["words"]) // 2
    open_ = cipher["words"][:half] + bytes(half)
    with pytest.raises(UserError, match="ciphertext: it hides nothing"):
        evaluator.load(pack({**cipher, "words": open_, "check": hashlib.sha256(open_).digest()[:8]}))
    keys = unpack(client.evaluation_keys([1]), {"parameters", "relinearise", "rotate"}, "")
    words = keys["rotate"][0][1]
    strange: list[Any] = [
        [[1, words]] * 2,
        [[0, words]],
        [[SMALL.slots, words]],
        [[1]],
        [[True, words]],
        [1],
        {},
        [[1, b""]],
    ]
    for rotate in strange:
        with pytest.raises(UserError, match="key"):
            make_evaluator(SMALL, pack({**keys, "rotate": rotate}), "openfhe")
    assert make_evaluator(SMALL, pack({**keys, "relinearise": b""}), "openfhe").lacking([1]) == ["relinearisation"]


@needs_openfhe
def test_clients_of_one_process_keep_their_own_keys():
    """OpenFHE has one map of relinearisation keys for all."""
    both = [
        (client, make_evaluator(SMALL, client.evaluation_keys([1]), "openfhe"))
        for client in (make_client(SMALL, "openfhe"), make_client(SMALL, "openfhe"))
    ]
    numbers = np.linspace(-1, 1, SMALL.slots)
    for client, evaluator in both * 2:
        x = client.encrypt(numbers)
        done = evaluator.rotate(evaluator.rescale(evaluator.multiply(x, x)), 1)
        assert np.abs(client.decrypt(done) - np.roll(numbers**2, -1)).max() < 2.0**-15
    secret = unpack(both[0][0].save_secret(), {"parameters", "secret"}, "")["secret"]
    assert secret[len(secret) // 2 :][:64] not in both[0][0].evaluation_keys([1])


KINDS = {"parameters", "level", "parts", "doubled", "words", "check"}
