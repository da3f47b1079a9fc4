"""Machine code from the cache: loaded without numba, never when it is not what was written, and not needed to be
kept."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.merge.kernels import machine

AVERAGE = """
import sys, numpy as np
from burnish.merge.kernels import kernel
models, out = [np.float32([1, 2, 3]), np.float32([3, 2, 1])], np.zeros(3, np.float32)
kernel("linear", "float32")(None, models, model_parameters={"weight": [1, 3]}, parameters={"normalize": False}, out=out)
assert out.tolist() == [10, 8, 6], out
print("numba" in sys.modules)
"""


def averaged(cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether a new process needs numba for an average, which is right."""
    monkeypatch.setenv("BURNISH_CACHE", str(cache))
    done = subprocess.run([sys.executable, "-c", AVERAGE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_numba_is_needed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert averaged(tmp_path, monkeypatch) == "True"
    (kept,) = (tmp_path / "kernels").iterdir()
    assert averaged(tmp_path, monkeypatch) == "False"
    code = bytearray(kept.read_bytes())
    for damaged in (code[:100], code[:-1], code[:200] + bytes([code[200] ^ 1]) + code[201:], b""):
        kept.write_bytes(damaged)
        assert averaged(tmp_path, monkeypatch) == "True"  # not run: made again
        assert kept.read_bytes() == code


def test_code_that_others_may_have_written_or_that_is_another_function_s_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    asked: list[Any] = [
        ("largest", ((np.dtype(kind), 1), (np.dtype(kind), 0), (np.dtype(kind), 1))) for kind in (np.uint16, np.uint32)
    ]
    short, long = (machine._object(*each) for each in asked)
    made: list[str] = []

    def make(name, kinds):
        made.append(name)
        return b"made again"

    monkeypatch.setattr(machine, "_make", make)
    assert [machine._object(*each) for each in asked] == [short, long]
    one, other = (tmp_path / "kernels").iterdir()
    for mode, user in ((0o620, os.geteuid()), (0o602, os.geteuid()), (0o600, os.geteuid() + 1)):
        one.chmod(mode)
        with monkeypatch.context() as patch:
            patch.setattr(os, "geteuid", lambda user=user: user)
            assert machine._kept(one) == b""
        one.chmod(0o600)
    assert not made
    one.write_bytes(other.read_bytes())  # whole, but not what is asked for
    assert b"made again" in [machine._object(*each) for each in asked]


def test_settings_of_numba_s_for_other_programs_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (key, value) in enumerate((("NUMBA_OPT", "0"), ("NUMBA_OPT", "3")), start=1):
        with monkeypatch.context() as patch:
            patch.setenv(key, value)
            assert averaged(tmp_path, patch) == "True"
        assert len(list((tmp_path / "kernels").iterdir())) == number
    monkeypatch.setenv("NUMBA_OPT", "3")
    for key in ("NUMBA_NUM_THREADS", "NUMBA_DISABLE_JIT"):
        monkeypatch.setenv(key, "1")
        assert averaged(tmp_path, monkeypatch) == "False"
    with pytest.raises(AssertionError, match="UserError: NUMBA_DISABLE_JIT is set"):
        averaged(tmp_path / "empty", monkeypatch)


def test_a_folder_that_cannot_be_flushed_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(folder: Path) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")  # as some network file systems say

    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    monkeypatch.setattr("burnish.core.files.fsync_folder", refused)
    word = np.dtype(np.uint16)
    assert machine._object("largest", ((word, 1), (word, 0), (word, 1)))


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    assert averaged(tmp_path / "file", monkeypatch) == "True"


def test_what_numba_and_the_loader_think_of_arguments_agrees() -> None:
    """Every kind of argument, each in its place."""
    total = np.full(1024, np.nan, np.float32)
    models = [np.arange(5, dtype=np.float32), np.full(5, 10, np.float32)]
    addresses, out = np.array([model.ctypes.data for model in models], np.uint64), np.zeros(5, np.float32)
    machine.call("average", addresses, np.array([1, 0.5], np.float32), np.float32(2), out, total)
    assert out.tolist() == [2.5, 3.0, 3.5, 4.0, 4.5]
    base, rows, modes = np.zeros(5, np.float32), np.zeros((2, 4), np.uint64), np.zeros(2, np.int64)
    scratch, words = np.empty((5, 1024), np.float32), np.empty(1024, np.uint64)
    halves, ones = np.array([0.5, 0.5], np.float32), np.array([1, 1], np.float32)
    # The mean, halved; then by election: a model's 0 takes no part, nor does its weight.
    for elect, divisor, expected in ((False, 2, [2.5, 2.75, 3.0, 3.25, 3.5]), (True, 1, [10.0, 5.5, 6.0, 6.5, 7.0])):
        parts = (base, addresses, 0, modes, rows, ones, halves, elect, True, np.float32(divisor), np.float32(1), out)
        machine.call("mix", *parts, scratch, words)
        assert out.tolist() == expected
