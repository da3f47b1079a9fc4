"""One interface, two executors: processes of this machine, or a Ray cluster. Knows nothing of what it runs.

Work is a module-level function of one argument and must be safe to run twice: a dead worker's items are done again.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from burnish.core.errors import BurnishError, UserError
from burnish.core.hardware import add_usage, cpu_seconds, peak_memory_bytes
from burnish.core.packages import Need, not_installed

T = TypeVar("T")
R = TypeVar("R")


@runtime_checkable
class Executor(Protocol):
    """Runs a function over items; results come in the order of the items."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield ``function(item)`` for every item, in order.

        Raises:
            BurnishError: a worker died twice on the same item (killed, or out of memory).
        """
        ...


@contextmanager
def executor(kind: str = "local", workers: int = 1, address: str | None = None) -> Iterator[Executor]:
    """An executor for the length of a ``with`` block.

    Args:
        kind: ``local`` or ``ray``.
        workers: processes, or Ray tasks at a time. One local worker runs in this process.
        address: of a Ray cluster; none takes that of Ray's own ``RAY_ADDRESS``, or starts one on this machine.

    Raises:
        UserError: Ray is asked for and not installed, no cluster answers at ``address``, or (from ``map``) its machines
            do not share this process's working directory: functions run in it, as relative paths are meant.
    """
    if kind == "ray":
        with _ray(workers, address) as ray:
            yield ray
    elif workers == 1:
        yield _Inline()
    else:
        pool = _Processes(workers)
        try:
            yield pool
        except BaseException:
            pool.kill()  # nobody will take what they are at: who stops does not wait for it
            raise
        finally:
            pool.close()


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside: faster for small models, and a sum is rounded alike whatever the machine's cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Done(NamedTuple, Generic[R]):
    """What a worker gives back for an item."""

    result: R
    cpu_seconds: float
    peak_memory_bytes: int


def _counted(function: Callable[[T], R], item: T) -> _Done[R]:
    before = cpu_seconds()
    result = function(item)
    return _Done(result, cpu_seconds() - before, peak_memory_bytes())


class _Inline:
    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        return map(function, items)


class _Processes:
    """Processes with one thread each, which start from one that has imported torch, transformers and their module.

    Forking this process would deadlock, as it may run torch's threads. Spawned ones would each import for seconds.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._forks = _forks()
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver" if self._forks else "spawn")
        with deaf_children():  # the tracker of its semaphores is one
            return ProcessPoolExecutor(
                self._workers, mp_context=context, initializer=_start_worker, initargs=(dict(os.environ),)
            )

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        queue = list(items)
        if self._forks:
            _import_once(function.__module__)
        futures = [self._pool.submit(_counted, function, item) for item in queue]
        for index, item in enumerate(queue):
            try:
                yield self._taken(futures[index])
            except BrokenProcessPool:
                self._pool.shutdown(cancel_futures=True)
                self._pool = self._start()
                try:
                    result = self._taken(self._pool.submit(_counted, function, item))
                except BrokenProcessPool:
                    self._pool = self._start()
                    raise BurnishError(
                        f"item {index} of {len(queue)}: its worker process died twice (killed, or out of memory?); "
                        "use fewer workers"
                    ) from None
                # One death breaks every future of the pool: whatever had not finished is submitted again.
                for later in range(index + 1, len(queue)):
                    if not futures[later].done() or futures[later].cancelled() or futures[later].exception():
                        futures[later] = self._pool.submit(_counted, function, queue[later])
                yield result

    def _taken(self, future: Future[_Done[R]]) -> R:
        done = future.result()
        if self._forks:  # the server's children; spawned ones are ours, and the system counts them
            add_usage(done.cpu_seconds, done.peak_memory_bytes)
        return done.result

    def kill(self) -> None:
        for process in list((self._pool._processes or {}).values()):  # public only from Python 3.14 on
            process.kill()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def any_rank(*flags: bool) -> tuple[bool, ...]:
    """Whether any rank of a distributed job raised each flag; the flags themselves where there is only one process.

    Clocks and signals differ between ranks, and a collective save that only some of them join hangs them all.
    """
    torch = sys.modules.get("torch")
    distributed = torch.distributed if torch is not None else None
    if torch is None or distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return flags
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    raised = torch.tensor(flags, dtype=torch.int32, device=device)
    distributed.all_reduce(raised, op=distributed.ReduceOp.MAX)
    return tuple(bool(flag) for flag in raised.tolist())


_TO_A_GROUP = [getattr(signal, name) for name in ("SIGINT", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that start inside never get what a terminal or a scheduler sends to all of a job: they would die of it,
    with a traceback of whatever they were importing.

    This thread gets such a signal at the end of the block; it is not lost.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_A_GROUP)
    try:
        resource_tracker.ensure_running()  # one of them; its start lets Ctrl-C through again
        signal.pthread_sigmask(signal.SIG_BLOCK, _TO_A_GROUP)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow_parent() -> None:
    """Make a worker process deaf to what a whole group gets (the parent decides when to stop), gone when the parent is.

    SIGTERM still ends it: the pool itself stops its workers by that.
    """
    for number in _TO_A_GROUP:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _forks() -> bool:
    """Whether workers can be forked from a server.

    Its socket lies in the temporary folder, with 107 bytes for its path; multiprocessing adds 32 of its own.
    """
    return hasattr(os, "fork") and len(os.fsencode(tempfile.gettempdir())) + 32 <= 107


_HEAVY = ("torch", "transformers.modeling_utils")
"""What most work needs, and each worker would import for two seconds when it loads its first model. Libraries read
their variables when they are imported: what is set between two pools of a process does not reach them."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
_ONE_THREAD["OMP_WAIT_POLICY"] = "PASSIVE"


def _import_once(module: str) -> None:
    """Start the process that workers are forked from, unless it is there. Libraries read their variables in it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_HEAVY, *([module] if module != "__main__" else [])])
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        with deaf_children():
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def _start_worker(environment: dict[str, str]) -> None:
    """The parent's variables of now, but one thread; see :func:`follow_parent`."""
    follow_parent()
    os.environ.clear()
    os.environ.update(environment | _ONE_THREAD)
    import torch

    torch.set_num_threads(1)


def _follow(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _ray(workers: int, address: str | None) -> Iterator[Executor]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise not_installed("executor: ray", Need(("ray",), "ray")) from None
    started = not ray.is_initialized()
    address = address or os.environ.get("RAY_ADDRESS") or None
    if started:
        new = address in (None, "local")  # Ray's own word for one that is started here
        if not new and address != "auto":
            _knock(str(address))
        try:
            here: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if new else {}
            ray.init(address, log_to_driver=False, configure_logging=False, **here)
        except (ConnectionError, ValueError) as error:
            raise UserError(
                f"ray_address: no Ray cluster at {address} ({' '.join(str(error).split())[:200]}); one that asks for a "
                "token takes it where RAY_AUTH_MODE=token is set"
            ) from None
    try:
        yield _Ray(ray, workers)
    finally:
        if started:
            ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself waits minutes for a cluster that is not there."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host or "127.0.0.1", int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"ray_address: no Ray cluster at {address} ({error}); start one with `ray start --head`"
        ) from None


class _Ray:
    def __init__(self, ray: Any, workers: int) -> None:
        self._ray = ray
        self._workers = workers

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        task = self._ray.remote(max_retries=1)(_on_one_thread)
        shared, folder = self._ray.put(function), os.getcwd()
        queue = list(items)
        futures = [task.remote(shared, item, folder) for item in queue[: self._workers]]
        for index in range(len(queue)):
            try:
                done = self._ray.get(futures[index])
                add_usage(done.cpu_seconds, done.peak_memory_bytes)
                yield done.result
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                reason = " ".join(str(error).split())[:200]
                raise BurnishError(f"item {index} of {len(queue)}: its Ray worker died twice ({reason})") from error
            # A window of tasks, not all at once: results of a long queue would fill the object store.
            if len(futures) < len(queue):
                futures.append(task.remote(shared, queue[len(futures)], folder))


def _on_one_thread(function: Callable[[T], R], item: T, folder: str) -> _Done[R]:
    import torch

    try:  # a cluster's workers stand in the folder that it was started from
        os.chdir(folder)
    except OSError as error:
        raise UserError(
            f"executor: ray: {folder} is not there on {socket.gethostname()} ({error.strerror}); "
            "start from a folder that all machines of the cluster share"
        ) from None
    torch.set_num_threads(1)
    return _counted(function, item)
