"""``run.log``: what a run said, with the time, and what libraries logged meanwhile. Knows logging, no run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from burnish.core.hardware import versions

NAME = "run.log"
SHAPE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
SAID = logging.getLogger("burnish")
"""What the house itself says: on the terminal by its own means, here for the record."""
ALONE = ("transformers", "datasets")
"""Libraries whose records do not reach the root logger."""


class RunLog:
    """The log of one session of a run, appended to the file.

    Args:
        folder: the run's.
        hidden: takes out of a record what must not be kept.
    """

    def __init__(self, folder: Path, hidden: Callable[[str], str] = str) -> None:
        self._file = logging.FileHandler(folder / NAME, encoding="utf-8")
        self._file.setFormatter(_Hiding(hidden))
        self._file.setLevel(logging.INFO)
        self._loggers = [logging.getLogger(), *map(logging.getLogger, ALONE)]
        root = self._loggers[0]
        # Python's own last resort shows warnings only while nobody handles them: as before, they are shown.
        self._shown = None if root.handlers else terminal(logging.WARNING)
        if self._shown is not None:
            root.addHandler(self._shown)
        for logger in self._loggers:
            logger.addHandler(self._file)
        self._level = SAID.level
        SAID.setLevel(logging.INFO)
        SAID.disabled = False  # `logging.config` silences what it finds when the program around us calls it later
        SAID.info("%s (burnish %s)", " ".join(sys.argv), versions().get("burnish"))

    def close(self, error: BaseException | None = None) -> None:
        """Let go of the file, with the traceback of what ended the session."""
        if error is not None:
            SAID.error("%s: %s", type(error).__name__, error, exc_info=error)
        for logger in self._loggers:
            logger.removeHandler(self._file)
        if self._shown is not None:
            self._loggers[0].removeHandler(self._shown)
        SAID.setLevel(self._level)
        self._file.close()


class _Hiding(logging.Formatter):
    def __init__(self, hidden: Callable[[str], str]) -> None:
        super().__init__(SHAPE)
        self._hidden = hidden

    def format(self, record: logging.LogRecord) -> str:
        return self._hidden(super().format(record))


def terminal(level: int) -> logging.Handler:
    """A handler that shows what libraries log; what the house says is on the terminal already."""
    shown = logging.StreamHandler(sys.stderr)
    shown.setLevel(level)
    shown.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    shown.addFilter(lambda record: record.name != SAID.name)
    return shown


def show_libraries() -> None:
    """Show on the terminal what libraries log, from INFO on (``--verbose``)."""
    root = logging.getLogger()
    root.addHandler(terminal(logging.INFO))
    root.setLevel(logging.INFO)
