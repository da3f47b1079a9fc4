"""What many tests of agents need: an episode that has ended; a real Redis server of their own, without a file."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.once import once


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is missing (Debian: apt-get install redis-server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            pytest.fail("redis-server did not start")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shipped tiny episode, played to its end; only to be read."""

    def build(folder: Path) -> None:
        from burnish.act.loop import play
        from burnish.act.recipe import TeamRecipe
        from burnish.core.run import Run

        recipe = TeamRecipe.load(Path(__file__).parents[2] / "recipes" / "planning_acting" / "tiny.yaml")
        with Run(recipe, folder, quiet=True) as run:
            play(recipe, run)

    return once(tmp_path_factory, "tiny_run", build)
