"""Two processes with the variables that torchrun gives its own; these have imported what is heavy before they start."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.forked import CONTEXT

SECONDS = 280.0
"""The longest that two may take."""


def on_two_ranks(work: Callable[..., Any], *arguments: Any, folder: Path, **environment: str) -> list[Any]:
    """What ``work`` returns on either rank, as it looks after a file.

    Args:
        work: a function of a module, which a child imports.
        arguments: its own.
        folder: for the files.
        environment: variables beside torchrun's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with started(_report, work, folder, arguments, **environment) as processes:
        assert ended(processes) == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@contextmanager
def started(target: Callable[..., Any], *arguments: Any, **environment: str) -> Iterator[list[BaseProcess]]:
    """Both processes, which do not outlive the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [{**environment, **shared, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    processes: list[BaseProcess] = [CONTEXT.Process(target=_with, args=(each, target, arguments)) for each in ranks]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()  # one that waits for another's end
            process.join()


def ended(processes: list[BaseProcess]) -> list[int | None]:
    """How they ended; ``None`` for one that did not."""
    for process in processes:
        process.join(SECONDS)
    return [process.exitcode for process in processes]


def _with(environment: dict[str, str], target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ.update(environment)
    target(*arguments)


def _report(work: Callable[..., Any], folder: Path, arguments: tuple[Any, ...]) -> None:
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(work(*arguments)))
