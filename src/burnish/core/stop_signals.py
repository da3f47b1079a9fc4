"""The signals that ask a run to save and stop: a person's, a scheduler's, a terminal's that goes away.

Knows nothing of what is saved: a run asks whether one came.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from burnish.core.launch import launched

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
"""Ctrl-C; ``kill``, and a scheduler at the end of the time; Slurm's ``--signal=USR1@90``; the end of a terminal."""
TOLD_TWICE = 2.0
"""Seconds in which ranks take a second signal for the first: a launcher passes on what its whole group has got."""


class StopSignals:
    """Catches them while a run lasts.

    The first asks for a stop at the next checkpoint, a second leaves at once: the last checkpoint is good.

    Args:
        note: says a line to the person at the terminal.

    Attributes:
        number: of the signal that came; none yet.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self.number: int | None = None
        self._note = note
        self._came_at = 0.0
        self._waits = True
        self._pid = 0
        self._handlers: dict[int, Any] = {}

    def catch(self) -> None:
        """From now on, in this process. Outside the main thread (a notebook's worker) signals stay whose they are."""
        self._pid = os.getpid()
        try:
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                # nohup has it ignored, so that a run outlives its terminal
                if number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN:
                    continue
                self._handlers[number] = signal.signal(number, self._on_signal)
        except ValueError:
            self._handlers = {}

    def release(self) -> None:
        """Give them back to who had them."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, a signal does not wait for a checkpoint.

        Raises:
            KeyboardInterrupt: one came, now or before.
        """
        self._waits = False
        try:
            if self.number is not None:
                raise KeyboardInterrupt
            yield
        finally:
            self._waits = True

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._pid:
            return  # a forked child (torch's loaders of data): whoever forked it decides
        if self.number is None:
            self.number, self._came_at = number, time.monotonic()
            if not self._waits:
                raise KeyboardInterrupt
            self._note("stopping at the next checkpoint; once more stops at once")
        elif launched().size == 1 or time.monotonic() - self._came_at > TOLD_TWICE:
            raise KeyboardInterrupt
