"""The order in which things happen: ticks that are only computed when something is due. Knows no event loop.

Everything that takes time (a command, a hunter, a night) is a generator that yields how many ticks to wait. Ticks are
worked off in order, and within one tick in a fixed order (sky, agents by index, creatures, life). A command that is
given at a tick begins at the next, so whoever looks first at one moment sees the same as whoever looks last.
"""

from __future__ import annotations

import heapq
import inspect
from collections.abc import Generator
from typing import Any

from burnish.act.world import ActionFailed

Process = Generator[int, None, Any]
Key = tuple[int, int]
"""Rank and index: the order within a tick."""
SKY, BODY, CREATURE, LIFE = range(4)
"""The ranks."""


class Processes:
    """What runs, each under its key, and the tick that it is.

    Attributes:
        tick: the present one.
    """

    def __init__(self) -> None:
        self.tick = 0
        self._heap: list[tuple[int, Key, int]] = []
        self._running: dict[Key, tuple[int, Process]] = {}
        self._serial = 0

    def over(self, key: Key, result: Any, failure: str) -> None:
        """Called when a process has ended by itself, with what it returned or why it failed."""

    def due(self) -> int | None:
        """The next tick at which anything happens."""
        while self._heap:
            tick, key, serial = self._heap[0]
            if key in self._running and self._running[key][0] == serial:
                return tick
            heapq.heappop(self._heap)
        return None

    def advance(self, to: int) -> None:
        """Work off all ticks up to and including ``to``."""
        while (tick := self.due()) is not None and tick <= to:
            _, key, serial = heapq.heappop(self._heap)
            self.tick = tick
            process = self._running[key][1]
            result, failure = None, ""
            try:
                pause = next(process)
            except StopIteration as stop:
                result = stop.value
            except ActionFailed as error:
                failure = str(error)
            else:
                if key in self._running and self._running[key][0] == serial:
                    heapq.heappush(self._heap, (tick + max(1, pause), key, serial))
                continue
            if key in self._running and self._running[key][0] == serial:
                del self._running[key]
                self.over(key, result, failure)
        self.tick = max(self.tick, to)

    def start(self, key: Key, process: Process) -> None:
        """Begin something at the next tick, in place of what ran under this key."""
        self.stop(key)
        self._serial += 1
        self._running[key] = (self._serial, process)
        heapq.heappush(self._heap, (self.tick + 1, key, self._serial))

    def stop(self, key: Key) -> None:
        """Give something up; what it has not finished has had no effect."""
        running = self._running.pop(key, None)
        if running is not None and inspect.getgeneratorstate(running[1]) != inspect.GEN_RUNNING:
            running[1].close()

    def runs(self, key: Key) -> bool:
        """Whether something runs under this key."""
        return key in self._running
