"""What a terminal shows of work that goes on: one row for each loop, and one for work without a count. Knows no run.

The rows of a process stand together at the bottom of its terminal; what is printed meanwhile scrolls by above them.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any


class Terminal:
    """The rows of one terminal. Rich draws them from the first row on until the last is taken away.

    Args:
        stream: to write to; none: standard error, as it is when the first row comes.
    """

    def __init__(self, stream: Any = None) -> None:
        self._stream = stream
        self._bars: Any = None
        self._rows: list[int] = []
        self._lock = threading.RLock()

    def add(self, label: str, total: int | None = None, done: int = 0) -> int:
        """A new row, below the others; without a ``total`` it only says for how long."""
        with self._lock:
            if self._bars is None:
                self._bars = self._drawn()
                self._bars.start()
            row: int = self._bars.add_task(label, total=total, completed=done, count="", left="", status="")
            self._rows.append(row)
            return row

    def update(self, row: int, **values: Any) -> None:
        """Show how far a row is: ``completed``, and the texts ``count``, ``left`` and ``status``."""
        self._bars.update(row, **values)

    def is_last(self, row: int) -> bool:
        """Whether no row came after this one that is still there: what says more stands alone."""
        return self._rows[-1] == row

    def remove(self, row: int) -> None:
        """Take a row away, and with the last one everything."""
        with self._lock:
            self._rows.remove(row)
            self._bars.remove_task(row)
            if not self._rows:
                self._bars.stop()
                self._bars = None

    def print(self, message: str) -> None:
        """One line above the rows; a long one is not cut into several."""
        with self._lock:
            if self._bars is not None:
                self._bars.console.print(message, markup=False, highlight=False, soft_wrap=True)
            else:
                print(message, file=self._stream or sys.stderr, flush=True)

    def forget(self) -> None:
        """In a process that was forked off while rows were shown (by a data loader's workers, say): they are the other
        process's, whose thread may have held Rich's locks just then; a word to standard error would wait for ever."""
        self._bars, self._rows, self._lock = None, [], threading.RLock()
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            setattr(sys, name, getattr(stream, "rich_proxied_file", stream))

    def _drawn(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        # What a person looks for first comes first: a narrow terminal cuts from the right.
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[count]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            BarColumn(bar_width=20),
            TextColumn(
                "{task.fields[status]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
        )
        return Progress(
            *columns,
            console=Console(file=self._stream or sys.stderr),
            transient=True,
            expand=True,
            redirect_stdout=sys.stdout.isatty(),  # into a file it goes as ever
        )


TERMINAL = Terminal()
"""Standard error's."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=TERMINAL.forget)
