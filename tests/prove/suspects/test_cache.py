"""The store of answers: whole or absent, whatever happens to its file."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import BurnishError, UserError
from burnish.prove.suspects.cache import FileStore

QUESTION = {"suspect": "s", "answer": "embeddings"}
ANSWERS = {bytes([n]) * 32: np.arange(n, n + 3, dtype=np.float32) for n in range(1, 6)}


def open_in(folder: Path, question: dict[str, str] = QUESTION) -> FileStore:
    return FileStore(folder, question, "<f4")


def test_answers_survive_a_close(tmp_path: Path) -> None:
    with open_in(tmp_path) as store:
        assert store.width is None
        store.add(ANSWERS)
        assert len(store) == 5
    with open_in(tmp_path) as store:
        assert store.width == 3
        for digest, numbers in ANSWERS.items():
            assert digest in store
            np.testing.assert_array_equal(store.get(digest), numbers)


def test_another_question_has_a_file_of_its_own(tmp_path: Path) -> None:
    with open_in(tmp_path) as store, open_in(tmp_path, {**QUESTION, "answer": "logits"}) as other:
        store.add(ANSWERS)
        assert store.path != other.path
        assert not len(other)


def test_a_line_of_another_suspect_does_not_count(tmp_path: Path) -> None:
    with open_in(tmp_path) as store, open_in(tmp_path, {**QUESTION, "suspect": "t"}) as other:
        store.add(ANSWERS)
        paths = store.path, other.path
    paths[1].write_bytes(paths[1].read_bytes() + paths[0].read_bytes())
    with open_in(tmp_path, {**QUESTION, "suspect": "t"}) as other:
        assert not len(other)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from burnish.prove.suspects.cache import FileStore\n"
        f"FileStore(Path({str(tmp_path)!r}), {QUESTION!r}, '<f4')"
    )
    with open_in(tmp_path) as store:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert "another process is asking this suspect" in done.stderr
        store.add(ANSWERS)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_in(tmp_path) as store:
        store.add({b"a" * 32: np.zeros(3, np.float32)})
        before = store.path.read_bytes()
        real = os.write

        def half(handle: int, data: memoryview) -> int:
            if len(data) > 40:
                return real(handle, data[:40])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("burnish.prove.suspects.cache.os.write", half)
        with pytest.raises(BurnishError, match="the disk is full"):
            store.add({b"b" * 32: np.zeros(3, np.float32), b"c" * 32: np.zeros(3, np.float32)})
        monkeypatch.undo()
        assert store.path.read_bytes() == before
        assert b"b" * 32 not in store
        store.add({b"b" * 32: np.ones(3, np.float32)})
    with open_in(tmp_path) as store:
        assert len(store) == 2


@given(cut=st.integers(0, 10_000))
def test_cut_at_any_byte(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a killed process leaves: a prefix. All its whole lines count, and it goes on from there."""
    folder = tmp_path_factory.mktemp("cut")
    with open_in(folder) as store:
        store.add(ANSWERS)
        path = store.path
    data = path.read_bytes()
    cut %= len(data) + 1
    path.write_bytes(data[:cut])
    whole = max(0, data[:cut].count(b"\n") - 1)  # the first line is the header
    with open_in(folder) as store:
        assert len(store) == whole
        store.add(ANSWERS)
    with open_in(folder) as store:
        assert len(store) == 5
        for digest, numbers in ANSWERS.items():
            np.testing.assert_array_equal(store.get(digest), numbers)


@given(place=st.integers(0, 10_000), garbage=st.binary(min_size=1, max_size=90))
def test_damaged_at_any_byte(place: int, garbage: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A damaged record is forgotten, never believed; the others and what is added later are kept."""
    folder = tmp_path_factory.mktemp("damage")
    with open_in(folder) as store:
        store.add(ANSWERS)
        path = store.path
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place : place + len(garbage)] = garbage
    path.write_bytes(data)
    with open_in(folder) as store:
        for digest in [digest for digest in ANSWERS if digest in store]:
            np.testing.assert_array_equal(store.get(digest), ANSWERS[digest])
        assert len(store) <= 5
        store.add({digest: numbers for digest, numbers in ANSWERS.items() if digest not in store})
    with open_in(folder) as store:
        assert len(store) == 5


def test_a_file_changed_while_in_use_is_said(tmp_path: Path) -> None:
    with open_in(tmp_path) as store:
        store.add(ANSWERS)
        store.path.write_bytes(b"x" * store.path.stat().st_size)
        with pytest.raises(UserError, match="changed while it was in use"):
            store.get(b"\x01" * 32)
