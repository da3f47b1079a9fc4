"""What every memory promises, of each back end: numbers without gaps, nothing lost, snapshots of a prefix."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.act import clock
from burnish.act.memory import sqlite as sqlite_memory
from burnish.act.memory.log import Event, Folding, Memory, MemoryFailed, Snapshot, fold
from burnish.act.memory.redis_streams import RedisMemory
from burnish.act.memory.replaying import ReplayingMemory
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.core.errors import UserError

Opened = Callable[[], Memory]


@pytest.fixture(params=["sqlite", "redis", "blocking redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Opens the same log again each time it is called."""
    if request.param == "sqlite":
        return lambda: SQLiteMemory(tmp_path / "memory.sqlite")
    url, name = request.getfixturevalue("redis_url"), uuid.uuid4().hex
    return lambda: RedisMemory(url, name, blocking=request.param == "blocking redis")


def test_events_are_numbered_kept_and_found(opened: Opened) -> None:
    async def main() -> None:
        memory = opened()
        first = await memory.append("observe", "ann", {"health": 20, "name": "Ännchen"}, time=0.5)
        second = await memory.append("command", "ann", {}, time=1.25, key="ann/1/1")
        assert (first.seq, second.seq) == (1, 2)
        await memory.close()
        again = opened()
        assert [event async for event in again.since(0)] == [first, second]
        assert [event async for event in again.since(1)] == [second]
        assert await again.find("ann/1/1") == second
        assert await again.find("ann/1/2") is None
        with pytest.raises(MemoryFailed, match="ann/1/1 is in the log already"):
            await again.append("command", "ann", {}, time=2.0, key="ann/1/1")
        third = await again.append("observe", "ann", {}, time=3.0)
        assert third.seq == 3
        await again.close()

    anyio.run(main)


def test_two_users_of_one_log_see_each_other(opened: Opened) -> None:
    async def main() -> None:
        one, other = opened(), opened()
        await one.append("observe", "ann", {"n": 1}, time=0.0)
        await other.append("observe", "bob", {"n": 2}, time=0.0)
        await one.append("chat", "ann", {"text": "hello"}, time=0.0)
        assert await one.snapshot() == await other.snapshot()
        assert (await one.snapshot()).version == 3
        assert (await other.snapshot()).chat == ({"from": "ann", "text": "hello"},)
        await one.close()
        await other.close()

    anyio.run(main)


def test_no_update_is_lost_between_writers(opened: Opened) -> None:
    async def main() -> None:
        memories = [opened() for _ in range(4)]

        async def write(number: int) -> None:
            for n in range(25):
                await memories[number % 4].append("observe", f"agent{number}", {"n": n}, time=0.0)
                await memories[number % 4].snapshot()

        async with anyio.create_task_group() as tasks:
            for number in range(16):
                tasks.start_soon(write, number)
        events = [event async for event in memories[0].since(0)]
        assert [event.seq for event in events] == list(range(1, 401))
        for number in range(16):
            mine = [event.data["n"] for event in events if event.agent == f"agent{number}"]
            assert mine == list(range(25))
        assert (await memories[3].snapshot()).observations["agent15"] == {"n": 24}
        for memory in memories:
            await memory.close()

    anyio.run(main)


WRITER = """
import sys, anyio
from pathlib import Path
from burnish.act.memory.sqlite import SQLiteMemory
async def main():
    memory = SQLiteMemory(Path(sys.argv[1]))
    for n in range(200):
        await memory.append("observe", sys.argv[2], {"n": n}, time=0.0)
anyio.run(main)
"""


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("ann", "bob", "eve")]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]

    async def main() -> list[Event]:
        memory = SQLiteMemory(path)
        events = [event async for event in memory.since(0)]
        await memory.close()
        return events

    events = anyio.run(main)
    assert [event.seq for event in events] == list(range(1, 601))
    for name in ("ann", "bob", "eve"):
        assert [event.data["n"] for event in events if event.agent == name] == list(range(200))


def test_a_locked_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "memory.sqlite"

    async def main() -> None:
        memory = SQLiteMemory(path)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        async def unlock() -> None:
            await anyio.sleep(0.2)
            other.execute("COMMIT")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(unlock)
            assert (await memory.append("observe", "ann", {}, time=0.0)).seq == 1
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(sqlite_memory, "ATTEMPTS", 3)
        with pytest.raises(MemoryFailed, match="locked by another process"):
            await memory.append("observe", "ann", {}, time=0.0)
        other.close()
        await memory.close()

    anyio.run(main)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_file_that_is_locked_while_it_is_opened_is_waited_for(
    journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher that leaves, or the mending after a killed writer, locks the whole file for a moment."""
    path = tmp_path / "memory.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute(f"PRAGMA journal_mode={journal}")
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("CREATE TABLE held (n)")
    unlock = threading.Timer(0.3, other.close)
    unlock.start()

    async def main() -> int:
        memory = SQLiteMemory(path)
        try:
            return (await memory.append("observe", "ann", {}, time=0.0)).seq
        finally:
            await memory.close()

    assert anyio.run(main) == 1
    unlock.join()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("INSERT INTO held VALUES (1)")
    monkeypatch.setattr(sqlite_memory, "ATTEMPTS", 3)
    with pytest.raises(MemoryFailed, match="locked by another process"):
        SQLiteMemory(path)
    other.close()


def test_what_is_no_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, and long enough to be read as one" * 50)
    with pytest.raises(MemoryFailed, match="not usable as a memory"):
        SQLiteMemory(tmp_path / "text")
    with pytest.raises(MemoryFailed, match="not usable as a memory"):
        SQLiteMemory(tmp_path / "absent" / "memory.sqlite")
    with pytest.raises(UserError, match="is no Redis URL"):
        RedisMemory("http://somewhere", "x")


def test_a_redis_server_that_is_not_there_is_named_without_its_password() -> None:
    async def main() -> None:
        memory = RedisMemory("redis://:secret@127.0.0.1:1/0", "x")
        with pytest.raises(MemoryFailed) as caught:
            await memory.append("observe", "ann", {}, time=0.0)
        assert "127.0.0.1:1/0: the memory's Redis server does not answer" in str(caught.value)
        assert "secret" not in str(caught.value)
        await memory.close()

    anyio.run(main)


names = st.sampled_from(["ann", "bob"])
entries = st.lists(
    st.one_of(
        st.tuples(st.just("observe"), names, st.fixed_dictionaries({"n": st.integers(0, 9)})),
        st.tuples(st.just("skill_start"), names, st.fixed_dictionaries({"name": st.just("mine")})),
        st.tuples(st.just("skill_end"), names, st.fixed_dictionaries({"status": st.just("done")})),
        st.tuples(st.just("chat"), names, st.fixed_dictionaries({"text": st.text(max_size=5)})),
        st.tuples(st.just("world"), names, st.just({"kind": "damage"})),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries, st.integers(0, 30))
def test_a_snapshot_is_what_a_slow_reader_would_say(entries: list[tuple[str, str, dict[str, object]]], at: int) -> None:
    events = [Event(n + 1, 0.0, agent, kind, data) for n, (kind, agent, data) in enumerate(entries)]
    state = Snapshot()
    for event in events[:at]:
        state = fold(state, event)
    past = events[:at]
    assert fold(Snapshot(), *past) == state
    growing = Folding()
    for event in past:
        growing.add(event)
        assert growing.version == event.seq
        if event.kind == "chat":  # somebody asks now and then
            assert growing.snapshot() == fold(Snapshot(), *past[: event.seq])
    assert growing.snapshot() == state
    assert state.version == len(past)
    for name in ("ann", "bob"):
        mine = [event for event in past if event.agent == name]
        seen = [event.data for event in mine if event.kind == "observe"]
        assert state.observations.get(name) == (seen[-1] if seen else None)
        skills = [event for event in mine if event.kind in ("skill_start", "skill_end")]
        doing = skills[-1].data if skills and skills[-1].kind == "skill_start" else None
        assert state.actions.get(name) == doing
        touched = [event.seq for event in mine if event.kind == "world"]
        assert state.touched.get(name) == (touched[-1] if touched else None)
    said = [{"from": event.agent, "text": event.data["text"]} for event in past if event.kind == "chat"]
    assert list(state.chat) == said[-10:]


def test_a_gap_is_seen() -> None:
    with pytest.raises(MemoryFailed, match="event 2 follows 0"):
        fold(Snapshot(), Event(2, 0.0, "ann", "observe", {}))
    growing = Folding()
    growing.add(Event(1, 0.0, "ann", "observe", {}))
    with pytest.raises(MemoryFailed, match="event 3 follows 1"):
        growing.add(Event(3, 0.0, "ann", "observe", {}))


def test_a_long_log_is_taken_over_by_its_file_while_it_is_written(tmp_path: Path) -> None:
    """By a thread: an event never waits for the disk, and the write-ahead log does not grow with the run."""
    path, number = tmp_path / "memory.sqlite", 4 * sqlite_memory.CHECKPOINT

    async def main() -> tuple[int, int, int]:
        memory = SQLiteMemory(path)
        for seen in range(number):
            await memory.append("observe", "ann", {"seen": seen, "text": "x" * 200}, time=0.0)
            for thread in threading.enumerate():
                if thread.name == "burnish-checkpoint":
                    thread.join()
        sizes = path.stat().st_size, path.with_name("memory.sqlite-wal").stat().st_size
        assert [event.data["seen"] async for event in memory.since(0)] == list(range(number))
        await memory.close()
        return *sizes, path.stat().st_size

    held, ahead, all_of_it = anyio.run(main)
    assert held > all_of_it / 2
    assert ahead < 5 * 4096 * sqlite_memory.CHECKPOINT


def test_a_replay_expects_its_past_and_then_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        memory = SQLiteMemory(tmp_path / "memory.sqlite")
        await memory.append("observe", "ann", {"n": 1}, time=0.0)
        await memory.append("call_end", "ann", {"text": "yes"}, time=2.0, key="ann/call/1/0")
        past = [event async for event in memory.since(0)]
        again = ReplayingMemory(memory, past)
        assert await again.snapshot() == Snapshot()
        assert [event async for event in again.since(0)] == []
        assert again.recorded("ann/call/1/0") == past[1]
        assert await again.find("ann/call/1/0") is None
        with pytest.raises(
            MemoryFailed, match="event 1 was `observe` of ann at 0 s and is now `observe` of bob at 0 s"
        ):
            await again.append("observe", "bob", {"n": 1}, time=0.0)
        await again.append("observe", "ann", {"n": 1}, time=0.0)
        assert (await again.snapshot()).version == 1
        await again.append("call_end", "ann", {"text": "yes"}, time=2.0, key="ann/call/1/0")
        assert again.recorded("ann/call/1/0") is None
        assert (await again.append("observe", "ann", {"n": 2}, time=3.0)).seq == 3
        assert [event.seq async for event in again.since(0)] == [1, 2, 3]
        assert (await again.snapshot()).observations == {"ann": {"n": 2}}
        await again.close()

    clock.run(main, "virtual")
