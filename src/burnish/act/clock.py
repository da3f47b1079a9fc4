"""How time passes for agents: on the wall, or virtually, jumping to the next moment at which anything happens.

Everything else in this package uses `anyio.sleep` and `anyio.current_time` and cannot tell the difference. The virtual
clock is an asyncio event loop (whose order is first in, first out, so a run is exactly repeatable) that moves its time
forward instead of waiting. A token clock is the virtual one with a price on every generated token (see ``planner.py``).
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")
COLLECT = (10_000, 10, 10)  # objects, and rounds of the younger generation, between two rounds of the collector
ClockName = Literal["wall", "virtual", "tokens"]


class _JumpingSelector(selectors.BaseSelector):
    """Where a selector would sleep until a timer is due, move the time to it: unless somebody waits for real work."""

    def __init__(self) -> None:
        self.now = 0.0
        self.holds = 0
        self.threads: anyio.CapacityLimiter | None = None
        self._inner = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = self._inner.select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if timeout is None or self.holds or (self.threads is not None and self.threads.borrowed_tokens):
            return self._inner.select(None)
        self.now += timeout
        return events

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time starts at 0 and stands still while anything can run, threads included."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds of virtual time."""
        return self._jumping.now

    def watch_threads(self) -> None:
        """Stand still while anyio's worker threads run, too; to be called from inside."""
        self._jumping.threads = anyio.to_thread.current_default_thread_limiter()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """As any loop's; the time stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.holds += 1
        future.add_done_callback(self._let_go)
        return future

    def _let_go(self, _future: asyncio.Future[Any]) -> None:
        self._jumping.holds -= 1

    @contextmanager
    def hold(self) -> Iterator[None]:
        """While inside, wait for real input and output instead of jumping."""
        self._jumping.holds += 1
        try:
            yield
        finally:
            self._jumping.holds -= 1


@contextmanager
def hold() -> Iterator[None]:
    """Around a wait for something outside of the process (a model's server): virtual time stands still."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualLoop):
        with loop.hold():
            yield
    else:
        yield


@asynccontextmanager
async def fail_after_on_the_wall(seconds: float) -> AsyncIterator[None]:
    """Like ``anyio.fail_after``, by the wall's clock whatever the run's clock is: for waits on the outside world.

    Raises:
        TimeoutError: the time is over.
    """
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:
        timer = threading.Timer(seconds, lambda: loop.call_soon_threadsafe(scope.cancel))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
    if scope.cancelled_caught:
        raise TimeoutError


def now() -> float:
    """Seconds on the running clock, to the nanosecond."""
    return round(anyio.current_time(), 9)


def run(main: Callable[[], Awaitable[T]], clock: ClockName = "wall") -> T:
    """Run an async function to its end on a clock; ``virtual`` and ``tokens`` take no longer than the work itself."""

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            loop.watch_threads()
        return await main()

    options = {} if clock == "wall" else {"loop_factory": VirtualLoop}
    with _few_collections():
        return anyio.run(watched, backend="asyncio", backend_options=options)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector look seldom, and never at what was there before.

    A large team makes and drops many small objects with few cycles: at Python's own settings a fifth of its time goes
    to looking for them, and all agents stand still for it.
    """
    # Somebody has settled it already. The count goes through all that is frozen, ten milliseconds in a large program.
    if gc.get_threshold() == COLLECT or gc.get_freeze_count():
        yield
        return
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
