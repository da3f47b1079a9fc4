"""A run whose memory is a Redis server's: played, watched by another process's page, spoken to, told again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from burnish.act.loop import play
from burnish.act.recipe import TeamRecipe
from burnish.act.replay import read_log, to_line
from burnish.act.watch.server import watch_app
from burnish.core.errors import BurnishError, Interrupted
from burnish.core.run import Run
from tests.act.test_memory_faults import TINY
from tests.act.test_watch import RECIPE, ask, served


def test_a_run_over_redis_can_be_told_again(tmp_path: Path, redis_url: str) -> None:
    recipe = TeamRecipe.load(TINY, ["runtime.limits.seconds=20", f"memory={redis_url}"])
    path = tmp_path / "run"
    with Run(recipe, path, quiet=True) as run:
        play(recipe, run)
    log = read_log(path)
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert [to_line(event) for event in log] == (path / "artifacts" / "events.jsonl").read_text("utf-8").splitlines()
    assert sum(event.kind == "skill_start" for event in log) >= 2
    assert not (path / "artifacts" / "memory.sqlite").exists()


def test_a_simulated_run_over_redis_is_the_run_in_a_file_cut_off_or_not(tmp_path: Path, redis_url: str) -> None:
    logs = [
        simulated(tmp_path / f"{tmp_path.name}-file", "sqlite"),
        simulated(tmp_path / f"{tmp_path.name}-redis", redis_url),
    ]
    path = tmp_path / f"{tmp_path.name}-cut"
    with pytest.raises(Interrupted):
        simulated(path, redis_url, notes=4)
    assert 0 < len(read_log(path)) < logs[0].count(b"\n")
    logs.append(simulated(path, redis_url))
    assert logs[0] == logs[1] == logs[2]


def simulated(path: Path, memory: str, notes: int | None = None) -> bytes:
    """The log of 60 simulated seconds; a stop signal comes after so many lines in the terminal."""
    recipe = TeamRecipe.load(TINY, ["runtime.limits.seconds=60", f"memory={memory}"])
    with Run(recipe, path, quiet=True) as run:
        told: list[str] = []

        def note(message: str) -> None:
            told.append(message)
            if len(told) == notes:
                os.kill(os.getpid(), signal.SIGTERM)

        run.note = note  # type: ignore[method-assign]
        play(recipe, run)
    return (path / "artifacts" / "events.jsonl").read_bytes()


def test_a_person_watches_and_interrupts_over_redis(tmp_path: Path, redis_url: str) -> None:
    path = tmp_path / "live-over-redis"
    recipe = TeamRecipe.load(RECIPE, [f"memory={redis_url}"])
    runs: list[Run] = []

    def main() -> None:
        with suppress(BurnishError), Run(recipe, path, quiet=True) as run:  # the stop at the end is an Interrupted
            runs.append(run)
            play(recipe, run)

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    try:
        wait_for(lambda: path.joinpath("run.json").exists() and any(e.kind == "skill_start" for e in read_log(path)))
        app = watch_app(path)
        assert ask(app, "GET", "/state").json()["deaf"] == ""
        assert ask(app, "POST", "/chat", json={"text": "apples, please"}).status_code == 200
        # The digging goes on until it is stopped; then the newest plan is begun.
        wait_for(lambda: any(e.kind == "plan" and e.data.get("reason") == "time to pick" for e in read_log(path)))
        assert ask(app, "POST", "/interrupt", json={"agent": "ann"}).status_code == 200
        wait_for(lambda: any(e.kind == "command" and e.data["command"] == "pick" for e in read_log(path)))
        with served(app) as url, httpx.Client() as client, client.stream("GET", f"{url}/events") as answer:
            lines = answer.iter_lines()
            assert next(lines) == "id: 1"
    finally:
        runs[0]._signals.number = 15  # as the handler of a signal, which only a main thread has
        thread.join(30)
    assert not thread.is_alive()
    log = read_log(path)
    ended = next(event for event in log if event.kind == "skill_end" and event.agent == "ann")
    assert (ended.data["name"], ended.data["status"]) == ("dig", "interrupted")
    assert [event.seq for event in log] == list(range(1, len(log) + 1))


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)
