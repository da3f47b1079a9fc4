"""The team's memory in a Redis stream, for agents on several machines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from burnish.act.clock import hold
from burnish.act.memory.log import Event, Folding, Memory, MemoryFailed, Snapshot
from burnish.core.errors import UserError
from burnish.core.packages import Need, not_installed

PAGE = 1000
# One script is one transaction: number, uniqueness of the key and the entry come together or not at all.
_APPEND = """
if ARGV[5] ~= '' then
    if redis.call('HEXISTS', KEYS[2], ARGV[5]) == 1 then return -1 end
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local seq = 1
if #last > 0 then seq = tonumber(string.match(last[1][1], '^%d+')) + 1 end
redis.call('XADD', KEYS[1], seq .. '-0',
    'time', ARGV[1], 'agent', ARGV[2], 'kind', ARGV[3], 'data', ARGV[4], 'key', ARGV[5])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], ARGV[5], seq) end
return seq
"""


class RedisMemory(Memory):
    """The log in a stream of a Redis server.

    Args:
        url: ``redis://[:password@]host:port/db``.
        name: names the log; agents of one team give the same.
        blocking: hold everything up while the server answers. A simulated run is exactly repeatable only so: nothing
            else may happen meanwhile, for how much would depend on the server. A run on the wall's clock goes on.

    Raises:
        UserError: the package ``redis`` is missing, or the URL is none.
    """

    def __init__(self, url: str, name: str, *, blocking: bool = False) -> None:
        try:
            import redis
            import redis.asyncio
            import redis.exceptions
        except ImportError:
            raise not_installed("memory: Redis", Need(("redis",), "act")) from None
        try:
            client = redis.from_url if blocking else redis.asyncio.from_url
            self._db: Any = client(url, decode_responses=True)
        except ValueError as error:
            raise UserError(f"memory: `{url}` is no Redis URL ({error}); write redis://HOST:PORT/DB") from None
        self._url = url.rpartition("@")[2]  # without a password
        self._blocking = blocking
        self._failures = redis.exceptions.RedisError
        self._stream, self._names = f"burnish:{name}:log", f"burnish:{name}:keys"
        self._append = self._db.register_script(_APPEND)
        self._state = Folding()

    async def append(
        self, kind: str, agent: str, data: Mapping[str, Any], *, time: float, key: str | None = None
    ) -> Event:
        """See :class:`Memory`."""
        text = json.dumps(data, ensure_ascii=False)
        values = [repr(time), agent, kind, text, key or ""]
        seq = await self._answer(self._append, keys=[self._stream, self._names], args=values)
        if seq < 0:
            raise MemoryFailed(f"{self._url}: the event {key} is in the log already")
        event = Event(seq, time, agent, kind, json.loads(text), key)
        if seq == self._state.version + 1:
            self._state.add(event)
        return event

    async def since(self, seq: int) -> AsyncIterator[Event]:
        """See :class:`Memory`; read page by page."""
        while True:
            page = await self._range(f"{seq + 1}-0", "+", PAGE)
            for event in page:
                yield event
            if len(page) < PAGE:
                return
            seq = page[-1].seq

    async def find(self, key: str) -> Event | None:
        """See :class:`Memory`."""
        seq = await self._answer(self._db.hget, self._names, key)
        return None if seq is None else (await self._range(f"{seq}-0", f"{seq}-0", 1))[0]

    async def snapshot(self) -> Snapshot:
        """See :class:`Memory`. Only the events since the last call are read."""
        async for event in self.since(self._state.version):
            # Another task of this process may have folded it while the page was under way.
            if event.seq == self._state.version + 1:
                self._state.add(event)
        return self._state.snapshot()

    async def close(self) -> None:
        """See :class:`Memory`."""
        if self._blocking:
            self._db.close()
        else:
            await self._db.aclose()

    async def _range(self, first: str, last: str, count: int) -> list[Event]:
        rows = await self._answer(self._db.xrange, self._stream, first, last, count)
        return [
            Event(
                int(entry.partition("-")[0]),
                float(row["time"]),
                row["agent"],
                row["kind"],
                json.loads(row["data"]),
                row["key"] or None,
            )
            for entry, row in rows
        ]

    async def _answer(self, command: Callable[..., Any], *values: Any, **named: Any) -> Any:
        try:
            with hold():
                answer = command(*values, **named)
                return answer if self._blocking else await answer
        except (self._failures, OSError) as error:
            raise MemoryFailed(f"{self._url}: the memory's Redis server does not answer ({str(error)[:120]})") from None
