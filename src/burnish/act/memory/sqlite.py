"""The team's memory in one SQLite file (WAL): it survives a kill, and other processes may use it too."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from time import sleep
from typing import Any

import anyio
import anyio.to_thread

from burnish.act.memory.log import Event, Folding, Memory, MemoryFailed, Snapshot

# Another process's lock is waited for: so often, so many seconds each; shorter at first, for most locks are held for
# one event.
ATTEMPTS, PAUSE, FIRST_PAUSE = 600, 0.05, 0.0005
# Every so many events the file takes over what the write-ahead log holds. That waits for the disk, some ten
# milliseconds, in which no agent could be interrupted: another thread does it. Only a log that grows faster than it is
# taken over (pages of 4 KiB) is held up for it.
CHECKPOINT, MOST_PAGES = 400, 16_384
_TABLE = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, time REAL NOT NULL, agent TEXT NOT NULL, kind TEXT NOT NULL,
    data TEXT NOT NULL, key TEXT UNIQUE
)"""
_COLUMNS = "seq, time, agent, kind, data, key"
_ENCODER = json.JSONEncoder(ensure_ascii=False)


class SQLiteMemory(Memory):
    """The log in a file.

    Args:
        path: the file; made if absent.

    Raises:
        MemoryFailed: it is no SQLite file of this shape, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = Folding()
        self._written = 0
        self._checkpoint: threading.Thread | None = None
        attempt = 0
        while True:
            try:
                self._db = _opened(path)
                self._in_file = path.exists()  # `:memory:` is none
                break
            except sqlite3.Error as error:
                if not _locked(error):
                    raise MemoryFailed(f"{path}: not usable as a memory ({error})") from None
                # A watcher that closes the file, or the recovery after a killed writer, locks it for a moment.
                attempt += 1
                sleep(self._pause(attempt))

    async def append(
        self, kind: str, agent: str, data: Mapping[str, Any], *, time: float, key: str | None = None
    ) -> Event:
        """See :class:`Memory`. SQLite numbers the events: two writers never get the same one."""
        row = (time, agent, kind, _ENCODER.encode(data), key)
        attempt = 0
        while True:
            try:
                sql = "INSERT INTO events (time, agent, kind, data, key) VALUES (?, ?, ?, ?, ?)"
                seq = self._db.execute(sql, row).lastrowid or 0
                break
            except sqlite3.IntegrityError:
                raise MemoryFailed(f"{self._path}: the event {key} is in the log already") from None
            except sqlite3.Error as error:
                attempt += 1
                await self._wait(error, attempt)
        self._wrote()
        event = Event(seq, time, agent, kind, json.loads(row[3]), key)
        if seq == self._state.version + 1:
            self._state.add(event)
        return event

    async def since(self, seq: int) -> AsyncIterator[Event]:
        """See :class:`Memory`."""
        for row in await self._select("WHERE seq > ? ORDER BY seq", (seq,)):
            yield _event(row)

    async def find(self, key: str) -> Event | None:
        """See :class:`Memory`."""
        rows = await self._select("WHERE key = ?", (key,))
        return _event(rows[0]) if rows else None

    async def snapshot(self) -> Snapshot:
        """See :class:`Memory`. Only the events since the last call are read."""
        async for event in self.since(self._state.version):
            self._state.add(event)
        return self._state.snapshot()

    async def close(self) -> None:
        """See :class:`Memory`."""
        if self._checkpoint is not None:
            self._checkpoint.join()
        self._db.close()

    def _wrote(self) -> None:
        self._written += self._in_file
        if self._written >= CHECKPOINT and (self._checkpoint is None or not self._checkpoint.is_alive()):
            self._written = 0
            self._checkpoint = threading.Thread(
                target=_take_over, args=(self._path,), name="burnish-checkpoint", daemon=True
            )
            self._checkpoint.start()

    async def _select(self, where: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        attempt = 0
        while True:
            try:
                return self._db.execute(f"SELECT {_COLUMNS} FROM events {where}", values).fetchall()
            except sqlite3.Error as error:
                attempt += 1
                await self._wait(error, attempt)

    async def _wait(self, error: sqlite3.Error, attempt: int) -> None:
        """Give a locked file time, without holding up the other agents; anything else is final."""
        if not _locked(error):
            raise MemoryFailed(f"{self._path}: {error}") from None
        pause = self._pause(attempt)
        await anyio.to_thread.run_sync(sleep, pause)  # by the wall's clock, whatever the run's is

    def _pause(self, attempt: int) -> float:
        """Seconds to wait for the other process's lock before the next attempt."""
        if attempt == ATTEMPTS:
            raise MemoryFailed(
                f"{self._path}: locked by another process for {ATTEMPTS * PAUSE:.0f} s; close it, then resume"
            ) from None
        return min(PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 10))


def _opened(path: Path) -> sqlite3.Connection:
    # Autocommit: one event is one transaction. A busy file is waited for by the memory, not in the library.
    db = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        # In WAL mode a killed process loses nothing at NORMAL; only a power cut may take the last events.
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(f"PRAGMA wal_autocheckpoint={MOST_PAGES}")
        db.execute(_TABLE)
        db.execute(f"SELECT {_COLUMNS} FROM events LIMIT 1")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _take_over(path: Path) -> None:
    """Write the write-ahead log into the file; nobody waits, and what cannot be done now is done next time."""
    if not path.exists():  # removed meanwhile, as a test's folder may be: nothing is to be made anew
        return
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            db.close()
    except sqlite3.Error:
        pass


def _locked(error: sqlite3.Error) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _event(row: tuple[Any, ...]) -> Event:
    seq, time, agent, kind, data, key = row
    return Event(seq, time, agent, kind, json.loads(data), key)
