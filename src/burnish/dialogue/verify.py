"""Are two answers the same? What needs no algebra is told from the text, all else by math-verify in timed processes.

Knows nothing of rewards or models. A pathological expression costs its limit and no more: its process is killed and
replaced, on any platform and from any thread.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from types import TracebackType

from burnish.core.errors import BurnishError
from burnish.core.packages import Need, require
from burnish.dialogue.answers import compare_plainly

START_SECONDS = 120.0  # a busy machine may take long to import sympy; no item's time runs meanwhile


class Verifier:
    """Compares answers in batches, with a limit on the wall-clock time of each.

    Args:
        limit: seconds that math-verify may take over one pair; then the pair counts as different.
        workers: processes to compare in. They start when first needed.

    Raises:
        UserError: math-verify is not installed.

    Attributes:
        timeouts: pairs that were given up.
    """

    def __init__(self, limit: float = 5.0, workers: int = 1) -> None:
        require("accuracy", Need(("math_verify",), "post"))
        self.limit = limit
        self.timeouts = 0
        self._count = workers
        self._workers: list[_Worker] = []
        self._lines: queue.Queue[tuple[_Worker, str]] = queue.Queue()
        self._lock = threading.Lock()  # reward functions may be called from a thread of an event loop

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def equal(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """Whether each ``(text, gold)`` holds the same answer; of several boxes the last counts, prose is searched.

        Raises:
            BurnishError: a worker process does not start.
        """
        verdicts = {pair: compare_plainly(*pair) for pair in dict.fromkeys(pairs)}
        hard = [pair for pair, verdict in verdicts.items() if verdict is None]
        with self._lock:
            try:
                verdicts.update(zip(hard, self._judge(hard), strict=True))
            except BaseException:
                self.close()  # one may still be at its pair, and that verdict would be taken for the next pair's
                raise
        return [bool(verdicts[pair]) for pair in pairs]

    def close(self) -> None:
        """End the worker processes; a later :meth:`equal` starts new ones."""
        for worker in self._workers:
            worker.stop()
        self._workers.clear()

    def _judge(self, pairs: list[tuple[str, str]]) -> list[bool]:
        batch = _Batch(pairs)
        while len(self._workers) < min(self._count, len(pairs)):
            self._workers.append(_Worker(self._lines, self.limit))
        while batch.waiting or batch.busy:
            for worker in self._workers:
                if worker not in batch.busy and batch.waiting:
                    batch.busy[worker] = batch.waiting.pop()
                    worker.ask(pairs[batch.busy[worker]])
            patience = min(worker.deadline for worker in batch.busy) - time.monotonic()
            try:
                worker, line = self._lines.get(timeout=max(0.0, patience))
            except queue.Empty:
                self._give_up(batch)
            else:
                self._heard(batch, worker, line)
        return batch.verdicts

    def _give_up(self, batch: _Batch) -> None:
        """Replace the workers whose time is over; their pairs count as different."""
        for worker in [each for each in batch.busy if each.deadline <= time.monotonic()]:
            if not worker.ready:
                raise BurnishError(f"math-verify: its process did not start within {START_SECONDS:g} s") from None
            self.timeouts += 1
            self._replace(worker)
            batch.busy.pop(worker)

    def _heard(self, batch: _Batch, worker: _Worker, line: str) -> None:
        """A worker is ready, has a verdict, or (an empty line) has ended."""
        if worker not in batch.busy:
            # The last word of a process that was given up; or a new one has started, and nothing is left for it yet.
            worker.ready = worker.ready or line == "ready\n"
        elif line == "ready\n":
            worker.begin()
        elif line:
            batch.verdicts[batch.busy.pop(worker)] = line == "right\n"
        else:
            # It died: out of memory over its pair, or killed by someone, maybe while it had none. A second one tells.
            if not worker.ready:
                raise BurnishError("math-verify: its process cannot start; try `python -c 'import math_verify'`")
            self._replace(worker)
            pair = batch.busy.pop(worker)
            if pair in batch.deadly:
                self.timeouts += 1
            else:
                batch.deadly.add(pair)
                batch.waiting.append(pair)

    def _replace(self, worker: _Worker) -> None:
        worker.stop()
        self._workers[self._workers.index(worker)] = _Worker(self._lines, self.limit)


class _Batch:
    """Pairs under comparison: their verdicts, which wait, which have ended a process, who is at which."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.verdicts = [False] * len(pairs)
        self.waiting = list(range(len(pairs)))[::-1]
        self.deadly: set[int] = set()
        self.busy: dict[_Worker, int] = {}


class _Worker:
    """One process and the thread that reads it: a pipe can be waited for with a limit on every platform only so."""

    def __init__(self, lines: queue.Queue[tuple[_Worker, str]], limit: float) -> None:
        self.limit = limit
        self.ready = False
        self.deadline = float("inf")
        # A fresh interpreter, not a fork: forking a process that runs torch's threads deadlocks.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "burnish.dialogue.verify_worker", str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the run, which decides at its next checkpoint
        )
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        self._finalizer = weakref.finalize(self, _end, self._process)

    def ask(self, pair: tuple[str, str]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, OSError):  # it died: the reader says so
            self._process.stdin.write(json.dumps(pair) + "\n")
            self._process.stdin.flush()
        self.deadline = time.monotonic() + (self.limit if self.ready else START_SECONDS)

    def begin(self) -> None:
        """It has imported what it needs: from now on the time is the pair's."""
        self.ready = True
        self.deadline = time.monotonic() + self.limit

    def stop(self) -> None:
        self._finalizer()

    def _read(self, lines: queue.Queue[tuple[_Worker, str]]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            lines.put((self, line))
        lines.put((self, ""))


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                pipe.close()
