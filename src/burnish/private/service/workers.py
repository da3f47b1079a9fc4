"""Processes that compute on ciphertexts: the server answers others meanwhile, and outlives what a stranger sends.

The library computes for seconds without letting another thread run, and reads bytes that nobody vouches for. Each
process has the heads, and the keys of the clients that it served last; a client's questions go to one process, so that
its keys (up to gigabytes) are read once.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from burnish.core.errors import BurnishError, UserError
from burnish.core.parallel import follow_parent
from burnish.private.encryption.choose import Backend, make_evaluator
from burnish.private.encryption.interface import Evaluator
from burnish.private.ensemble.circuit import EnsembleCircuit
from burnish.private.service.bounds import bounded
from burnish.private.service.flooding import Flood, flooded

R = TypeVar("R")


@dataclass(frozen=True)
class Job:
    """What every worker of a server has.

    Attributes:
        circuit: with the secret heads.
        backend: the encryption's library.
        flood: noise on each answer.
        key_memory: bytes of keys that a worker may hold; one client's at least.
    """

    circuit: EnsembleCircuit
    backend: Backend
    flood: Flood
    key_memory: float


class Computer:
    """Answers questions, with the keys of the clients that it served last in memory.

    Args:
        job: what it computes.
        bounded: memory and time that a stranger's bytes may take; only in a process that does nothing else.
    """

    def __init__(self, job: Job, *, bounded: bool = False) -> None:
        self._job, self._bounded = job, bounded
        self._evaluators: OrderedDict[Path, Evaluator] = OrderedDict()
        plan = job.circuit.plan
        each = plan.parameters.key_bytes * (len(plan.rotations) + 1)
        self._most = max(1, int(job.key_memory / each))

    def answer(self, keys: Path, parts: tuple[bytes, ...]) -> bytes:
        """From the streams of a question to the stream of its answer.

        Raises:
            UserError: keys or streams that are refused.
        """
        circuit = self._job.circuit
        circuit.plan.check_count(len(parts))  # else many small streams could each claim what one may take
        evaluator = self._load(keys)
        parameters = circuit.plan.parameters
        # as they came, in a file in memory, unpacked, and unpacked once more while they are checked
        with self._bound(4 * len(parts) * parameters.ciphertext_bytes(parameters.levels, 3), "question"):
            ciphers = [evaluator.load(part) for part in parts]
        circuit.plan.check(ciphers)
        answer = circuit.run(evaluator, ciphers)
        return evaluator.save(flooded(evaluator, answer, self._job.flood))

    def check(self, keys: Path) -> None:
        """Read new keys, so that what is damaged or lacking is said when they come and not at a question.

        Raises:
            UserError: keys that are refused, or lack one that the circuit needs.
        """
        lacking = self._load(keys).lacking(self._job.circuit.plan.rotations)
        del self._evaluators[keys]  # they move before they are used: under this name nobody asks for them again
        if lacking:
            raise UserError(
                f"keys: there is none for {', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}; this circuit "
                "needs it; make keys for it again (keygen)"
            )

    def forget(self, keys: Path) -> None:
        """Keys that are not used any more leave the memory."""
        self._evaluators.pop(keys, None)

    def _load(self, keys: Path) -> Evaluator:
        found = self._evaluators.pop(keys, None)
        if found is None:
            while len(self._evaluators) >= self._most:  # before the next are read: together they may not fit
                self._evaluators.popitem(last=False)
            plan = self._job.circuit.plan
            try:
                size = keys.stat().st_size
                # the file, its parts, and each part unpacked and once more while it is checked
                with self._bound(2 * size + 2 * plan.parameters.key_bytes * (len(plan.rotations) + 1), "keys"):
                    found = make_evaluator(plan.parameters, keys.read_bytes(), self._job.backend)
            except FileNotFoundError:
                raise UserError("keys: removed meanwhile, or their time is over; send them again") from None
        self._evaluators[keys] = found
        return found

    def _bound(self, most: int, what: str) -> contextlib.AbstractContextManager[None]:
        return bounded(most, what) if self._bounded else contextlib.nullcontext()


class Workers:
    """Processes, one a worker, each with a queue of its own.

    Args:
        job: what they compute.
        count: of them.
        threads: of this process instead: nothing to start, and no wall against what a stranger sends; for trying out.
    """

    def __init__(self, job: Job, count: int, *, threads: bool = False) -> None:
        self._job, self._threads = job, threads
        self._pools: list[Executor] = [self._start() for _ in range(count)]

    async def answer(self, client: str, keys: Path, parts: tuple[bytes, ...]) -> bytes:
        """See :meth:`Computer.answer`. Cancelled, it leaves the queue if its turn has not come.

        Raises:
            WorkerDied: the process did not survive it; there is a new one by now.
        """
        return await self._run(client, _answer, keys, parts)

    async def check(self, client: str, keys: Path) -> None:
        """See :meth:`Computer.check`.

        Raises:
            WorkerDied: see :meth:`answer`.
        """
        await self._run(client, _check, keys)

    async def forget(self, client: str, keys: Path) -> None:
        """See :meth:`Computer.forget`. A client's questions go to one process: no other has its keys.

        Raises:
            WorkerDied: see :meth:`answer`; what it held is gone.
        """
        await self._run(client, _forget, keys)

    def close(self) -> None:
        """Stop them; what they are at is lost."""
        for pool in self._pools:
            _kill(pool)

    async def _run(self, client: str, function: Callable[..., R], *arguments: object) -> R:
        place = int(client[:8], 16) % len(self._pools)
        pool = self._pools[place]
        try:
            return await asyncio.wrap_future(pool.submit(function, *arguments))
        except BrokenProcessPool:
            if self._pools[place] is pool:  # several may wait for the one that died
                self._pools[place] = self._start()
            raise WorkerDied("a process of the server died at this; ask again") from None

    def _start(self) -> Executor:
        if self._threads:
            return ThreadPoolExecutor(1, initializer=_begin, initargs=(self._job,))
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, mp_context=context, initializer=_begin_process, initargs=(self._job,))


class WorkerDied(BurnishError):
    """A process died: killed, out of memory, or by what it was sent."""


_HERE = threading.local()  # has the computer of a worker's thread


def _begin_process(job: Job) -> None:
    follow_parent()
    _HERE.computer = Computer(job, bounded=True)


def _begin(job: Job) -> None:
    _HERE.computer = Computer(job)


def _answer(keys: Path, parts: tuple[bytes, ...]) -> bytes:
    return bytes(_HERE.computer.answer(keys, parts))


def _check(keys: Path) -> None:
    _HERE.computer.check(keys)


def _forget(keys: Path) -> None:
    _HERE.computer.forget(keys)


def _kill(pool: Executor) -> None:
    if isinstance(pool, ProcessPoolExecutor):
        for process in list((pool._processes or {}).values()):  # public only from Python 3.14 on
            process.kill()
    pool.shutdown(cancel_futures=True)
