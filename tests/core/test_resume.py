"""`kill -9` at any moment loses at most the work since the last checkpoint, and never a bit of the result."""

import json
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.core.loops import run_in_child
from tests.forked import CONTEXT


def child(*args, **kwargs) -> BaseProcess:
    process = CONTEXT.Process(target=run_in_child, args=args, kwargs=kwargs)
    process.start()
    return process


def outcome(path: Path) -> tuple[bytes, list[str]]:
    """Final weights, and the metrics without anything that may differ."""
    return (path / "artifacts" / "weights.json").read_bytes(), (path / "metrics.jsonl").read_text().splitlines()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str]]:
    path = tmp_path_factory.mktemp("whole") / "run"
    process = child(str(path))
    process.join(120)
    assert process.exitcode == 0
    return outcome(path)


@pytest.mark.parametrize(
    "die_at",
    # Every step of a checkpoint syncs each of three files, the folder and the parent, and renames twice.
    [("fsync", count) for count in (1, 4, 9, 10, 11, 12, 13, 14, 23, 57)]
    + [("replace", n) for n in (1, 3, 4, 5, 6, 13)],
)
def test_killed_inside_a_write(tmp_path: Path, uninterrupted, die_at) -> None:
    process = child(str(tmp_path / "run"), die_at)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    process = child(str(tmp_path / "run"))
    process.join(120)
    assert process.exitcode == 0
    assert outcome(tmp_path / "run") == uninterrupted


def test_killed_at_random_moments(tmp_path: Path, uninterrupted) -> None:
    """Six kills of one run, each at a random moment of its progress."""
    moments = random.Random(7)
    path, kills = tmp_path / "run", 0
    while kills < 6:
        process = child(str(path))
        lines = len(read_lines(path))
        target = lines + moments.randint(1, 2)
        deadline = time.monotonic() + 60
        while len(read_lines(path)) < target and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(moments.random() * 0.004)
        if not process.is_alive():
            break
        process.kill()
        process.join()
        kills += 1
    assert kills >= 4, "the loop outran the test: give it more steps"
    process = child(str(path))
    process.join(120)
    assert outcome(path) == uninterrupted
    assert json.loads((path / "run.json").read_text())["status"] == "finished"


def read_lines(path: Path) -> list[bytes]:
    metrics = path / "metrics.jsonl"
    return metrics.read_bytes().splitlines() if metrics.exists() else []


def test_terminated_run_saves_and_goes_on(tmp_path: Path, uninterrupted) -> None:
    process = child(str(tmp_path / "run"), steps=100_000)
    while len(read_lines(tmp_path / "run")) < 3:
        assert process.is_alive()
        time.sleep(0.005)
    process.terminate()
    process.join(60)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert process.exitcode == 1  # multiprocessing's code for an exception; the command line's is tested there


def test_second_process_is_refused_with_the_owner(tmp_path: Path) -> None:
    from burnish.core.errors import UserError

    process = child(str(tmp_path / "run"), steps=100_000)
    while len(read_lines(tmp_path / "run")) < 1:
        assert process.is_alive()
        time.sleep(0.005)
    with pytest.raises(UserError, match=rf"in use by process {process.pid}"):
        run_in_child(str(tmp_path / "run"), steps=100_000)
    process.kill()
    process.join()
