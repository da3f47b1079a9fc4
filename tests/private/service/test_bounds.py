"""Key streams that are small and claim gigabytes: read in bounded memory and time."""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.private.encryption.seal import SealClient, chain_of
from burnish.private.encryption.sealed_streams import pack, to_bytes, unpack
from burnish.private.ensemble.circuit import EnsembleCircuit
from burnish.private.heads import heads_of
from burnish.private.service import bounds
from burnish.private.service.flooding import Flood
from burnish.private.service.workers import Computer, Job
from tests.forked import CONTEXT

MEGABYTE = 1 << 20
CIRCUIT = EnsembleCircuit.make(heads_of(np.eye(2)[None], np.zeros((1, 2)), ("a", "b")), 0.25)


def stream(head: bytes, *members: tuple[bytes, int]) -> bytes:
    """As SEAL writes keys: its header, then, compressed, the members, each so many times over."""
    packer = zlib.compressobj(1)
    body = b""
    for member, times in members:
        # cut free of what came before, so that what it is compressed to may stand there again
        body += packer.flush(zlib.Z_FULL_FLUSH)
        body += (packer.compress(member) + packer.flush(zlib.Z_FULL_FLUSH)) * times
    start = bytearray(head[:16])
    start[5] = 1  # compressed by zlib
    start[8:16] = struct.pack("<Q", 16 + len(body))
    return bytes(start) + body


def bombs() -> dict[str, bytes]:
    """What stands in the place of the rotation keys."""
    parameters = CIRCUIT.plan.parameters
    chain = chain_of(parameters)
    head = to_bytes(chain.api.RelinKeys())
    name = struct.pack("<4Q", *chain.context.key_parms_id())
    primes = parameters.levels + 2
    numbers = struct.pack("<Q", 2 * parameters.ring * primes) + bytes(2 * parameters.ring * primes * 8)

    def whole(members: bytes) -> bytes:
        return head[:5] + b"\0\0\0" + struct.pack("<Q", 16 + len(members)) + members

    one = whole(name + b"\1" + struct.pack("<QQQdQ", 2, parameters.ring, primes, 1.0, 1) + whole(numbers))
    key = struct.pack("<Q", primes - 1) + one * (primes - 1)  # a rotation key whose every coefficient is 0
    assert len(key) > 0.9 * parameters.key_bytes
    return {
        "claims a list of 2^40": stream(head, (name + struct.pack("<Q", 1 << 40), 1)),
        "claims one of 2^40 in each": stream(
            head, (name + struct.pack("<Q", parameters.ring), 1), (b"\0" * 7 + b"\1", 9)
        ),
        "unpacks to 9 GB of keys": stream(head, (name + struct.pack("<Q", parameters.ring), 1), (key, 600)),
    }


def checked(path: str, answers: str) -> None:
    """What becomes of a worker that reads each bomb, and the most memory that it had beyond what it began with."""
    bounds.SECONDS, bounds.SPEED = 2.0, 1e10
    chain_of(CIRCUIT.plan.parameters)  # once, and not in each child's time
    found = []
    for file in sorted(Path(path).iterdir()):
        # by how much it grows is told of a child only
        if (child := os.fork()) == 0:
            computer = Computer(Job(CIRCUIT, "seal", Flood(0.0, 0.0, 1), 1e9), bounded=True)
            try:
                computer.check(file)
            except UserError as error:
                Path(answers).with_name("said").write_text(str(error))
                os._exit(3)
            os._exit(0)
        _, status, used = os.wait4(child, 0)
        here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found.append([file.name, os.waitstatus_to_exitcode(status), (used.ru_maxrss - here) // 1024])
    Path(answers).write_text(json.dumps(found))


def test_a_small_stream_that_claims_gigabytes(tmp_path: Path) -> None:
    client = SealClient.make(CIRCUIT.plan.parameters)
    sound = client.evaluation_keys(CIRCUIT.plan.rotations)
    parts = unpack(sound, {"parameters", "relinearise", "rotate"}, "keys")
    (tmp_path / "keys").mkdir()
    for name, data in {**bombs(), "sound": parts["rotate"]}.items():
        (tmp_path / "keys" / name).write_bytes(pack({**parts, "rotate": data}))
    assert (tmp_path / "keys" / "unpacks to 9 GB of keys").stat().st_size < len(sound)  # which is what is let in
    child = CONTEXT.Process(target=checked, args=(str(tmp_path / "keys"), str(tmp_path / "answers")))
    child.start()
    child.join()
    found = {name: (code, grown) for name, code, grown in json.loads((tmp_path / "answers").read_text())}
    assert {name: code for name, (code, _) in found.items()} == {
        "claims a list of 2^40": 3,
        "claims one of 2^40 in each": 3,
        "sound": 0,
        "unpacks to 9 GB of keys": -signal.SIGPROF,
    }
    assert (tmp_path / "said").read_text().startswith("rotation keys: SEAL refuses it")
    assert max(grown for _, grown in found.values()) < 1500  # megabytes


def test_the_bound_ends_with_the_block() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(UserError, match="keys: take more memory than sound ones"), bounds.bounded(MEGABYTE, "keys"):
        np.empty(1 << 40, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    with bounds.bounded(512 * MEGABYTE, "keys"):
        assert len(bytes(400 * MEGABYTE)) == 400 * MEGABYTE
