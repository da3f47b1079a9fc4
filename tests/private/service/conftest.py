"""A small classifier behind a real server on loopback, without encryption where that is not the point."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.serving import Guarded, address, listen
from burnish.private.bundle import ClientModel, save_bundle
from burnish.private.heads import heads_of
from burnish.private.service.running import Settings, prepare
from burnish.private.service.server import open_service
from burnish.private.service.workers import Workers

PROMPTS, WIDTH = 2, 8
LABELS = ("fine", "spam")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    heads = heads_of(rng.normal(size=(PROMPTS, 2, WIDTH)), np.zeros((PROMPTS, 2)), LABELS)
    model = ClientModel("none", "mean", 16, ("{text}", "Mail: {text}"), LABELS, 0.2)
    return save_bundle(tmp_path_factory.mktemp("bundle") / "service", heads, model)


def texts(count: int, seed: int = 0) -> Any:
    found = np.random.default_rng(seed).normal(size=(count, PROMPTS, WIDTH))
    return found / np.linalg.norm(found, axis=2, keepdims=True)


@contextlib.contextmanager
def running(bundle: Path, store: Path, settings: Settings, token: str | None = None) -> Iterator[str]:
    """A server in a thread; its address."""
    import uvicorn

    offer, job = prepare(bundle, settings)
    workers = Workers(job, settings.workers)
    bound = listen("127.0.0.1", 0, token)
    app = Guarded(open_service(offer, store, workers, settings.limits), "127.0.0.1", token)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: server.run(sockets=[bound]), daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < end
        time.sleep(0.01)
    try:
        yield address(bound)
    finally:
        server.should_exit = True
        thread.join(10)
        workers.close()
        bound.close()


CLEAR = Settings(backend="clear", questions=4)


@pytest.fixture(scope="session")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for the tests that do not change its limits."""
    generous = replace(CLEAR, limits=replace(CLEAR.limits, questions_per_minute=100_000))
    with running(bundle, tmp_path_factory.mktemp("store"), generous) as url:
        yield url
