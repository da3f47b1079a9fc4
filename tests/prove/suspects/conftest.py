"""Servers of a test, closed after it."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.prove.suspects.endpoint_server import Reply, Server


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(script: Callable[[int, np.ndarray, str], Reply]) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
