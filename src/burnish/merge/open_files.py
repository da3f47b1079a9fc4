"""Input files, opened when they are read and closed when many are open: a merge may have more shards than a process
files."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Far below the usual limit of 1,024, and below a cautious 256; every worker holds one while it reads.
MOST = 32


class OpenFiles:
    """Open files by path; those not in use are closed, the longest unused first, as soon as there are more than `most`.

    Args:
        most: files to keep open between reads.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._users: dict[Path, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, path: Path) -> Iterator[int]:
        """The file's descriptor, which stays open meanwhile."""
        with self._lock:
            if path not in self._open:
                self._close_unused(self._most - 1)
                self._open[path] = os.open(path, os.O_RDONLY)
                if hasattr(os, "posix_fadvise"):  # not on macOS
                    os.posix_fadvise(self._open[path], 0, 0, os.POSIX_FADV_SEQUENTIAL)
            self._open.move_to_end(path)
            self._users[path] = self._users.get(path, 0) + 1
            handle = self._open[path]
        try:
            yield handle
        finally:
            with self._lock:
                self._users[path] -= 1

    def close(self) -> None:
        """Close every file that nobody uses."""
        with self._lock:
            self._close_unused(0)

    def _close_unused(self, keep: int) -> None:
        for path in list(self._open):
            if len(self._open) <= keep:
                return
            if not self._users.get(path):
                os.close(self._open.pop(path))
                self._users.pop(path, None)
