"""Resume by replay: for a world that is simulated in this process, exactly.

The run starts again from its beginning with the chat models' recorded answers. Every event must come out as it stands
in the log; where the log ends, the run goes on live. Nothing is called, paid or written twice.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import anyio

from burnish.act.memory.log import Event, Folding, Memory, MemoryFailed, Snapshot

INSTANT = 1e-6  # seconds of a virtual clock, which moves only when nothing else can run


class ReplayingMemory(Memory):
    """A memory that expects to be written what it already holds.

    Args:
        inner: where the log goes on.
        past: its events so far.
    """

    def __init__(self, inner: Memory, past: Sequence[Event]) -> None:
        self._inner = inner
        self._past = past
        self._keys = {event.key: event for event in past if event.key is not None}
        self._state = Folding()
        self._done = 0
        self._progress = anyio.Event()

    async def append(
        self, kind: str, agent: str, data: Mapping[str, Any], *, time: float, key: str | None = None
    ) -> Event:
        """See :class:`Memory`.

        Raises:
            MemoryFailed: the event differs from the one in the log.
        """
        data = json.loads(json.dumps(data))
        while self._done < len(self._past):
            old = self._past[self._done]
            if Event(old.seq, time, agent, kind, data, key) == old:
                self._done += 1
                self._state.add(old)
                self._progress.set()
                self._progress = anyio.Event()
                return old
            # Another agent's event may be due first at this very moment; once the clock has to move, it is not.
            before = self._done
            with anyio.move_on_after(INSTANT):
                await self._progress.wait()
            if self._done == before:
                raise MemoryFailed(
                    f"resume: event {old.seq} was `{old.kind}` of {old.agent or 'the team'} at {old.time:g} s and is "
                    f"now `{kind}` of {agent or 'the team'} at {time:g} s: the world or its skills have changed; "
                    "start afresh"
                )
        return await self._inner.append(kind, agent, data, time=time, key=key)

    async def since(self, seq: int) -> AsyncIterator[Event]:
        """See :class:`Memory`; the past only as far as it has been replayed."""
        for event in self._past[seq : self._done]:
            yield event
        if self._done == len(self._past):
            async for event in self._inner.since(max(seq, self._done)):
                yield event

    async def find(self, key: str) -> Event | None:
        """See :class:`Memory`; likewise."""
        event = self._keys.get(key)
        if event is not None:
            return event if event.seq <= self._done else None
        return await self._inner.find(key) if self._done == len(self._past) else None

    def recorded(self, key: str) -> Event | None:
        """See :class:`Memory`."""
        event = self._keys.get(key)
        return event if event is not None and event.seq > self._done else None

    async def snapshot(self) -> Snapshot:
        """See :class:`Memory`."""
        return self._state.snapshot() if self._done < len(self._past) else await self._inner.snapshot()

    async def close(self) -> None:
        """See :class:`Memory`."""
        await self._inner.close()
