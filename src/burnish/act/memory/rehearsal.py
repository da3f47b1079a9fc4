"""Resume by rehearsal: for a world that is simulated in this process, exactly.

The run starts again from its beginning with the chat models' recorded answers. Every event must come out as it stands in the log;
where the log ends, the run goes on live. Nothing is called, paid or written twice.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from burnish.act.memory.log import Event, Memory, MemoryFailed, Snapshot, fold


class Rehearsal(Memory):
    """A memory that expects to be written what it already holds.

    Args:
        inner: where the log goes on.
        past: its events so far.
    """

    def __init__(self, inner: Memory, past: Sequence[Event]) -> None:
        self._inner = inner
        self._past = past
        self._keys = {event.key: event for event in past if event.key is not None}
        self._state = Snapshot()
        self._done = 0

    async def append(
        self, kind: str, agent: str, data: Mapping[str, Any], *, time: float, key: str | None = None
    ) -> Event:
        """See :class:`Memory`.

        Raises:
            MemoryFailed: the event differs from the one in the log.
        """
        if self._done == len(self._past):
            return await self._inner.append(kind, agent, data, time=time, key=key)
        old = self._past[self._done]
        new = Event(old.seq, time, agent, kind, json.loads(json.dumps(data)), key)
        if new != old:
            raise MemoryFailed(
                f"resume: event {old.seq} was `{old.kind}` of {old.agent or 'the team'} at {old.time:g} s and is now `{kind}` of "
                f"{agent or 'the team'} at {time:g} s: the world or its skills have changed; start over with --fresh"
            )
        self._done += 1
        self._state = fold(self._state, old)
        return old

    async def since(self, seq: int) -> AsyncIterator[Event]:
        """See :class:`Memory`; the past only as far as it has been rehearsed."""
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

    def rehearsed(self, key: str) -> Event | None:
        """See :class:`Memory`."""
        event = self._keys.get(key)
        return event if event is not None and event.seq > self._done else None

    async def snapshot(self) -> Snapshot:
        """See :class:`Memory`."""
        return self._state if self._done < len(self._past) else await self._inner.snapshot()

    async def close(self) -> None:
        """See :class:`Memory`."""
        await self._inner.close()
