"""Numbers over time: ``metrics.jsonl``, progress on the terminal, trackers. Knows no method."""

from __future__ import annotations

import io
import json
import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import explained
from burnish.core.launch import launched
from burnish.core.recipe import Tracking
from burnish.core.terminal import TERMINAL, Terminal

T = TypeVar("T")

QUIET = "BURNISH_QUIET"
"""The variable by which `--quiet` reaches worker processes too."""
QUIET_SECONDS = 1.0  # anything shorter says nothing
LINE_SECONDS = 10.0  # between lines where the output is no terminal: a log is read later
SOON_SECONDS = 0.4  # before a terminal shows that something goes on
END_SECONDS = 2.0  # that the end of a loop waits for its row to go
LOOK_SECONDS = 0.2  # between two looks at what a terminal shows


def _draws(stream: Any) -> bool:
    """Whether a stream is a terminal that this process may draw on: several would draw over each other."""
    return bool(stream.isatty()) and multiprocessing.parent_process() is None and launched().size == 1


class _Said:
    """What this process shows of its work: when anything was last said, and what goes on, the innermost last."""

    at = 0.0
    going_on: ClassVar[list[object]] = []


_said = _Said()


class Metrics:
    """An append-only JSON-lines file that can be cut back to where a checkpoint was taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Append one line; a number that JSON cannot hold becomes ``null``.

        Raises:
            BurnishError: a value named ``...loss`` is NaN or infinite: nothing after it would mean anything.
        """
        for name, value in values.items():
            if "loss" in name and not _all_finite(value):
                raise BurnishError(
                    f"step {step}: {name} is {value}; the last checkpoint is from before it: lower the learning rate "
                    "or look at the data of this step"
                )
        plain = {name: _plain(value) for name, value in values.items()}
        with explained(self.path):
            self._file.write(json.dumps({"step": step, **plain}).encode() + b"\n")
            self._file.flush()

    def size(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def cut(self, size: int) -> None:
        """Forget everything after the first ``size`` bytes: lines of work that a resumed run does again."""
        size = min(size, self.path.stat().st_size)  # a longer file than there is would be filled with zeros
        self._file.truncate(size)
        self._file.seek(size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a ``metrics.jsonl``; a torn last line (a killed process) is left out."""
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def _plain(value: Any) -> Any:
    """A number, text or list as JSON has them; what is not finite becomes ``None``."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _all_finite(value: Any) -> bool:
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        return all(_all_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


class Progress:
    """Progress of nested loops: rows with ETA on a terminal, a plain line now and then elsewhere.

    A loop that is over within a second shows nothing.
    """

    def __init__(self, stream: io.TextIOBase | None = None, quiet: bool = False) -> None:
        self._stream: Any = stream or sys.stderr
        self._terminal = TERMINAL if stream is None else Terminal(stream)
        self._quiet = quiet or is_quiet()
        self._shown: list[tuple[_Loop, threading.Thread]] = []
        self._status = ""

    def track(self, items: Iterable[T], label: str, total: int | None = None, done: int = 0) -> Iterator[T]:
        """Yield from ``items`` while showing how far the loop is; ``done`` items were finished before this process.

        A thread shows it, so that an item that takes minutes is not silent.
        """
        if self._quiet:
            yield from items
            return
        if total is None and isinstance(items, Sized):
            total = len(items) + done
        loop = _Loop(label, total, done)
        shown = threading.Thread(target=self._show, args=(loop,), daemon=True)
        self._shown.append((loop, shown))
        shown.start()
        try:
            for count, item in enumerate(items, start=done):
                loop.count = count
                yield item
        finally:
            self._end(loop, shown)

    def _end(self, loop: _Loop, shown: threading.Thread) -> None:
        loop.over.set()
        # Not for ever: one that nobody ended is ended by the garbage collector, in any thread: in this one, or where
        # the terminal's lock is held.
        if shown is not threading.current_thread():
            shown.join(END_SECONDS)
        self._shown = [pair for pair in self._shown if pair[0] is not loop]

    def _show(self, loop: _Loop) -> None:
        """Show a loop from the moment on when it is clear that it takes a while, until it is over."""
        if loop.over.wait(QUIET_SECONDS):
            return
        _said.going_on.append(loop)
        try:
            self._tell(loop)
        finally:
            _said.going_on.remove(loop)

    def _tell(self, loop: _Loop) -> None:
        if not _draws(self._stream):
            self._line(loop)
            while not loop.over.wait(LINE_SECONDS):
                self._line(loop)
            return
        row = self._terminal.add(loop.label, loop.total, loop.count)
        while True:
            count = f"{loop.count}/{loop.total}" if loop.total else str(loop.count)
            left = f"ETA {loop.left}" if loop.left else ""
            self._terminal.update(row, completed=loop.count, count=count, left=left, status=self._status)
            _said.at = time.monotonic()
            if loop.over.wait(LOOK_SECONDS):
                break
        self._terminal.remove(row)

    def status(self, values: dict[str, Any]) -> None:
        """The latest numbers, shown beside the bar."""
        shown = [f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, int | float)]
        self._status = "  ".join(shown[:3])

    def note(self, message: str) -> None:
        """One line above the bars."""
        if not self._quiet:
            _said.at = time.monotonic()
            self._terminal.print(message)

    def close(self) -> None:
        """Take the rows off the terminal, also of loops that nobody ended (a generator that is still held)."""
        for loop, shown in list(self._shown):
            self._end(loop, shown)

    def _line(self, loop: _Loop) -> None:
        of = f"/{loop.total} ({100 * loop.count / loop.total:.0f} %)" if loop.total else ""
        left = f", about {loop.left} left" if loop.left else ""
        said = f"{loop.label}: {loop.count}{of}, {duration(loop.seconds)}{left}  {self._status}"
        print(said.rstrip(), file=self._stream, flush=True)
        _said.at = time.monotonic()


@contextmanager
def activity(label: str, *, quiet: bool = False) -> Iterator[None]:
    """Say that work without a count goes on: on a terminal at once and all the time, with how long it takes; elsewhere
    after a second, then after every ten in which nothing else was said.

    For what has a loop, :meth:`Progress.track` says more; inside of this it is left to speak, and so is an activity.
    """
    if quiet or is_quiet() or launched().rank:
        yield
        return
    over, mine = threading.Event(), object()
    told = threading.Thread(target=_tell, args=(label, mine, over, time.monotonic()), daemon=True)
    _said.going_on.append(mine)
    told.start()
    try:
        yield
    finally:
        over.set()
        told.join()
        _said.going_on.remove(mine)


def _tell(label: str, mine: object, over: threading.Event, start: float) -> None:
    """The thread of an activity."""
    if _draws(sys.stderr):
        if over.wait(SOON_SECONDS):
            return
        row = TERMINAL.add(label)
        while not over.wait(LOOK_SECONDS):
            TERMINAL.update(row, visible=TERMINAL.is_last(row))
        TERMINAL.remove(row)
        return
    heard, wait = start, QUIET_SECONDS
    while not over.wait(max(0.05, heard + wait - time.monotonic())):
        if _said.at > heard:
            heard = _said.at
        elif _said.going_on[-1] is not mine:
            heard = time.monotonic()
        else:
            print(f"{label}: {duration(time.monotonic() - start)}", file=sys.stderr, flush=True)
            heard = _said.at = time.monotonic()
        wait = LINE_SECONDS


class Pulse:
    """A line now and then from inside a worker, which has no bar of its own."""

    def __init__(self, label: str, stream: io.TextIOBase | None = None) -> None:
        self._label, self._stream = label, stream
        self._last = time.monotonic()

    def beat(self, words: str) -> None:
        """How far it is; said if the last line is ten seconds old."""
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS and not is_quiet():
            self._last = now
            print(f"{self._label}: {words}", file=self._stream or sys.stderr, flush=True)


class _Loop:
    """One loop on its way."""

    def __init__(self, label: str, total: int | None, done: int) -> None:
        self.label, self.total, self.done, self.count = label, total, done, done
        self.start = time.monotonic()
        self.over = threading.Event()

    @property
    def seconds(self) -> float:
        """Since it began in this process."""
        return time.monotonic() - self.start

    @property
    def left(self) -> str:
        """How long it will take at this pace; nothing before its first item is done, or without a total."""
        if not self.total or self.count == self.done:
            return ""
        return duration((self.total - self.count) * self.seconds / (self.count - self.done))


def is_quiet() -> bool:
    """Whether the person at the terminal asked for results and errors only."""
    return bool(os.environ.get(QUIET))


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``8 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"


def bytes_shown(count: float) -> str:
    """Bytes as a person says them: ``7 MB``, ``1.5 GB``, ``1,200.0 GB``."""
    return f"{count / 1e6:,.0f} MB" if count < 1e8 else f"{count / 1e9:,.1f} GB"


class Trackers:
    """TensorBoard, Weights & Biases and the like, through accelerate. Only built when a recipe asks for one."""

    def __init__(self, tracking: Tracking, folder: Path, config: dict[str, Any]) -> None:
        from accelerate import Accelerator
        from accelerate.tracking import get_available_trackers

        present = {str(tracker) for tracker in get_available_trackers()}
        for name in tracking.to:
            if name not in present:
                raise UserError(f"tracking.to: the package {name.replace('_', '-')} is not installed")
        self._accelerator = Accelerator(log_with=list(tracking.to), project_dir=str(folder))
        flat = {key: value for key, value in config.items() if isinstance(value, int | float | str | bool)}
        self._accelerator.init_trackers(tracking.project, config=flat)

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Send the numbers among ``values``."""
        numbers = {name: float(value) for name, value in values.items() if isinstance(_plain(value), int | float)}
        self._accelerator.log(numbers, step=step)

    def close(self) -> None:
        """Flush and end every tracker."""
        self._accelerator.end_training()
