"""The two errors a user ever sees. Knows nothing else of the house.

A message is one line: what is wrong, where, and what to do about it. The command line prints it and exits with the
class's code; ``--debug`` shows the traceback as well.
"""

from __future__ import annotations

import difflib
import os
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

_NOT_THEIRS = (
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(__file__).parents[1]) + os.sep,
    "<",
)
"""Where a library's files begin, Python's and Burnish's own among them; ``<frozen importlib>``."""


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that a wrong one is most like, if any is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), None)


def nearest(name: str, known: Iterable[str]) -> str:
    """What a wrong name should have been: "did you mean `x`?", or all that is known where nothing is near."""
    names = list(known)
    found = near(name, names)
    return f"did you mean `{found}`?" if found else f"known: {', '.join(names) or 'none'}"


def one_line(text: str) -> str:
    """Text for a terminal, whatever a key, a file, a server or a library put into it: no line break, no escape."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


class BurnishError(Exception):
    """Our fault, or the machine's (a full disk, a dead worker): exit code 1.

    Args:
        message: one line.
        arguments: of the function that was called, those that mend it (``out``, ``fresh``); the command line shows its
            flags for them.
    """

    exit_code = 1

    def __init__(self, message: str, *, arguments: Sequence[str] = ()) -> None:
        super().__init__(one_line(message))
        self.arguments = tuple(arguments)


class UserError(BurnishError):
    """The user's to mend (a wrong key, a missing file, two models that do not fit): exit code 2."""

    exit_code = 2


class Interrupted(BurnishError):
    """A stop signal was honoured at a checkpoint; the same command goes on from there.

    Args:
        message: what was saved and how to go on.
        signal_number: the signal; the exit code is 128 + that, as a shell would report it.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type[Interrupted], tuple[str, int]]:
        return type(self), (str(self), self.exit_code - 128)


def raised(error: BaseException) -> str:
    """What a user's own code raised, and where: ``KeyError: 'dough' (bakery.py:12)``.

    The line is the last one that is in no library and not ours; the last of all where every one is.
    """
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if not frame.filename.startswith(_NOT_THEIRS)][-1:] or frames[-1:]
    return f"{type(error).__name__}: {error} ({Path(last[0].filename).name}:{last[0].lineno})"
