"""Work in a process of its own: a run that may be killed at a chosen moment or find a package missing, a ``check``.

Knows no method.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

LIMIT = 300.0
"""Seconds after which a run counts as hung."""


@dataclass(frozen=True)
class Ended:
    """How a run in a process of its own ended.

    Attributes:
        kind: ``finished``, ``killed``, or the class of the exception.
        message: of the exception.
        result: value and report, paths relative to the run's folder.
        writes: calls of ``os.fsync`` since the loop was called, that is, writes that were to last.
        seconds: that the loop took.
        held_bytes: of memory, when the loop was called.
    """

    kind: str
    message: str = ""
    result: Any = None
    writes: int = 0
    seconds: float = 0.0
    held_bytes: int = 0


def run_in_child(
    recipe: Path,
    out: Path,
    folder: Path,
    *,
    die_at_write: int | None = None,
    die_after: float | None = None,
    hidden: Sequence[str] = (),
) -> Ended:
    """Run a recipe as ``burnish.run`` does, in a process that starts in ``folder``.

    Args:
        recipe: a YAML file.
        out: the run's folder.
        folder: the working directory.
        die_at_write: SIGKILL inside the write of this number, counted from when the loop is called.
        die_after: SIGKILL this many seconds after the loop is called.
        hidden: modules that seem not to be installed.

    Returns:
        How it ended.
    """
    told = out.parent / f"{out.name}-ended.json"
    return Ended(**in_child(_ended, (recipe, out, die_at_write, die_after, tuple(hidden)), folder, told))


def in_child(
    work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...], folder: Path, told: Path
) -> dict[str, Any]:
    """What ``work(*arguments)`` returns in a process of its own that starts in ``folder``, or how that process ended.

    Args:
        work: a function of a module; what it returns must fit in JSON.
        arguments: for it.
        folder: the working directory, where the child finds modules too.
        told: a file for the answer.
    """
    context = multiprocessing.get_context("forkserver")
    # Imports of torch and the like take seconds; the server does them once, if it has not started yet. Nothing of the
    # method is among them: what its modules do when they are imported is to be seen.
    context.set_forkserver_preload(["burnish.api", "torch._dynamo", "transformers.modeling_utils"])
    told.unlink(missing_ok=True)
    process = context.Process(target=_tell, args=(work, arguments, str(folder), str(told)))
    process.start()
    process.join(LIMIT)
    if process.is_alive():
        process.kill()
        process.join()
        return {"kind": "hung", "message": f"no end after {LIMIT:.0f} s"}
    if process.exitcode == -signal.SIGKILL:
        return {"kind": "killed"}
    if not told.exists():
        return {"kind": "died", "message": f"exit code {process.exitcode}"}
    found: dict[str, Any] = json.loads(told.read_text())
    return found


def _tell(work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...], folder: str, told: str) -> None:
    os.chdir(folder)
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    with open(os.devnull, "w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        answer = work(*arguments)
    Path(told).write_text(json.dumps(answer))


def _ended(
    recipe: Path, out: Path, die_at_write: int | None, die_after: float | None, hidden: tuple[str, ...]
) -> dict[str, Any]:
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # to importlib: not there
    import torch

    import burnish

    torch.set_num_threads(1)
    loop = _Loop(die_at_write, die_after)
    try:
        found = burnish.run(recipe, out)
    except BaseException as error:  # noqa: BLE001 - whatever a method raises is what the contract wants to know
        return {"kind": type(error).__name__, "message": str(error)}
    result = {"value": _relative(found.value, out), "report": _relative(found.report, out)}
    return {"kind": "finished", "result": result, "writes": loop.writes, "seconds": loop.seconds} | {
        "held_bytes": loop.held_bytes
    }


class _Loop:
    """Counts writes from when a run is open, and kills this process at the moment that was asked for."""

    def __init__(self, die_at_write: int | None, die_after: float | None) -> None:
        from burnish.core.run import Run

        self.writes, self.seconds, self._opened, self._start = 0, 0.0, False, 0.0
        self.held_bytes = 0
        self._die_at_write, self._die_after = die_at_write, die_after
        self._fsync, self._enter, self._exit = os.fsync, Run.__enter__, Run.__exit__
        os.fsync = self._counted  # type: ignore[assignment]
        Run.__enter__ = lambda run: self._entered(run)  # type: ignore[method-assign]
        Run.__exit__ = lambda run, *error: self._left(run, *error)  # type: ignore[method-assign]

    def _entered(self, run: Any) -> Any:
        opened = self._enter(run)
        self._opened, self._start, self.held_bytes = True, time.monotonic(), psutil.Process().memory_info().rss
        if self._die_after is not None:
            timer = threading.Timer(self._die_after, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
        return opened

    def _left(self, run: Any, *error: Any) -> None:
        self.seconds = time.monotonic() - self._start
        self._exit(run, *error)

    def _counted(self, handle: int) -> None:
        """Before a write is carried out."""
        self.writes += self._opened
        if self._opened and self.writes == self._die_at_write:
            os.kill(os.getpid(), signal.SIGKILL)
        self._fsync(handle)


def _relative(value: Any, folder: Path) -> Any:
    inside = isinstance(value, Path) and value.is_relative_to(folder)
    return str(value.relative_to(folder)) if inside else json.loads(json.dumps(value, default=str))
