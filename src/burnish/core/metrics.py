"""Numbers over time: ``metrics.jsonl``, progress on the terminal, trackers. Knows no method."""

from __future__ import annotations

import io
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import explained
from burnish.core.recipe import Tracking

T = TypeVar("T")

QUIET = "BURNISH_QUIET"
"""The variable by which `--quiet` reaches worker processes too."""
QUIET_SECONDS = 2.0  # anything shorter shows no progress
LINE_SECONDS = 10.0  # between progress lines where the output is no terminal
BAR_SECONDS = 0.2  # between two looks at a loop whose bar is on the terminal


class _Said:
    """When anything was last shown on the terminal, by whatever shows progress in this process."""

    at = 0.0


_said = _Said()
_activities: list[threading.Event] = []
"""Of all that go on, loops among them, the innermost last: the one that speaks."""


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
    """Progress of nested loops: rich bars with ETA on a terminal, a plain line now and then elsewhere.

    A loop that is over within two seconds shows nothing.
    """

    def __init__(self, stream: io.TextIOBase | None = None, quiet: bool = False) -> None:
        self._stream: Any = stream or sys.stderr
        self._quiet = quiet or is_quiet()
        self._bars: Any = None
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
        _activities.append(loop.over)  # a loop says more than what goes on around it
        shown.start()
        try:
            for count, item in enumerate(items, start=done):
                loop.count = count
                yield item
        finally:
            self._end(loop, shown)
            if not self._shown:
                self.close()

    def _end(self, loop: _Loop, shown: threading.Thread) -> None:
        if not loop.over.is_set():  # else it was closed inside of the loop
            _activities.remove(loop.over)
        loop.over.set()
        shown.join()
        self._shown = [pair for pair in self._shown if pair[0] is not loop]

    def _show(self, loop: _Loop) -> None:
        """Show a loop from the moment on when it is clear that it takes a while, until it is over."""
        if loop.over.wait(QUIET_SECONDS):
            return
        if not self._stream.isatty():
            self._line(loop)
            while not loop.over.wait(LINE_SECONDS):
                self._line(loop)
            return
        task = self._bar(loop)
        while not loop.over.wait(BAR_SECONDS):
            self._bars.update(task, completed=loop.count, status=self._status)
            _said.at = time.monotonic()
        self._bars.remove_task(task)

    def status(self, values: dict[str, Any]) -> None:
        """The latest numbers, shown beside the bar."""
        shown = [f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, int | float)]
        self._status = "  ".join(shown[:3])

    def note(self, message: str) -> None:
        """One line above the bars."""
        if self._quiet:
            return
        _said.at = time.monotonic()
        if self._bars is not None:
            self._bars.console.print(message, markup=False, highlight=False)
        else:
            print(message, file=self._stream, flush=True)

    def close(self) -> None:
        """Take the bars off the terminal, also of loops that nobody ended (a generator that is still held)."""
        for loop, shown in list(self._shown):
            self._end(loop, shown)
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _bar(self, loop: _Loop) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        if self._bars is None:
            # What a person looks for first comes first: a narrow terminal cuts from the right.
            columns = (
                TextColumn("{task.description}"),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[status]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            )
            self._bars = Bars(*columns, console=Console(file=self._stream), transient=True, expand=True)
            self._bars.start()
        return self._bars.add_task(loop.label, total=loop.total, completed=loop.count, status=self._status)

    def _line(self, loop: _Loop) -> None:
        of, eta, seconds = "", "", time.monotonic() - loop.start
        if loop.total:
            of = f"/{loop.total} ({100 * loop.count / loop.total:.0f} %)"
            if loop.count > loop.done:
                eta = f", about {duration((loop.total - loop.count) * seconds / (loop.count - loop.done))} left"
        said = f"{loop.label}: {loop.count}{of}, {duration(seconds)}{eta}  {self._status}"
        print(said.rstrip(), file=self._stream, flush=True)
        _said.at = time.monotonic()


@contextmanager
def activity(label: str, *, quiet: bool = False) -> Iterator[None]:
    """Say that work without a count goes on: after two seconds, then after every ten in which nothing else was said.

    For what has a loop, :meth:`Progress.track` says more; inside of this it is left to speak, as is another activity.
    """
    over, start = threading.Event(), time.monotonic()
    _activities.append(over)

    def tell() -> None:
        heard, wait = start, QUIET_SECONDS
        while not over.wait(max(0.05, heard + wait - time.monotonic())):
            if _activities[-1:] != [over]:
                heard = time.monotonic()
            elif _said.at > heard:
                heard = _said.at
            else:
                print(f"{label}: {duration(time.monotonic() - start)}", file=sys.stderr, flush=True)
                heard = _said.at = time.monotonic()
            wait = LINE_SECONDS

    told = threading.Thread(target=tell, daemon=True)
    if not (quiet or is_quiet()):
        told.start()
    try:
        yield
    finally:
        _activities.remove(over)
        over.set()
        if told.is_alive():
            told.join()


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
