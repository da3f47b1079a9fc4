"""A search that is killed with SIGKILL ends with the same bits as one that was left alone."""

import json
import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.merge.rmm.conftest import PPO, save_run

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch._dynamo", "safetensors.torch", "sb3_contrib", "burnish.merge.rmm.loop"])
ARM = {"search": "ppo", "actions": "blocks", "subset": "cycling", "subset_fraction": 0.5}


def search_in_child(folder: str, path: str, die_at: int = 0) -> None:
    """What a killed process runs; it SIGKILLs itself at its ``die_at``-th ``os.fsync``, that is inside a checkpoint."""
    import torch

    from burnish.core.run import Run
    from burnish.merge.rmm.loop import search
    from burnish.merge.rmm.recipe import SearchRecipe

    torch.set_num_threads(1)
    if die_at:
        real, calls = os.fsync, 0

        def dying(handle: int) -> None:
            nonlocal calls
            calls += 1
            if calls == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            real(handle)

        os.fsync = dying  # type: ignore[assignment]
    settings = SearchRecipe.load(Path(folder) / "recipe.yaml")
    with Run(settings, path, quiet=True) as run:
        search(settings, run)


def child(folder: Path, path: Path, die_at: int = 0) -> BaseProcess:
    process = CONTEXT.Process(target=search_in_child, args=(str(folder), str(path), die_at))
    process.start()
    return process


def result(path: Path) -> tuple[object, ...]:
    outcome = (path / "artifacts/outcome.json").read_bytes()
    metrics = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return outcome, metrics, (path / "artifacts/model/model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    settings = save_run(folder, budget=24, checkpoint_every=0, ppo=PPO, **ARM)
    (folder / "recipe.yaml").write_text(settings.to_yaml())
    process = child(folder, folder / "whole")
    process.join(300)
    assert process.exitcode == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("die_at", [3, 11, 40, 76])
def test_killed_inside_a_checkpoint(problem: Path, tmp_path: Path, die_at: int) -> None:
    process = child(problem, tmp_path / "run", die_at)
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    process = child(problem, tmp_path / "run")
    process.join(300)
    assert process.exitcode == 0
    assert result(tmp_path / "run") == result(problem / "whole")


@pytest.mark.slow
def test_killed_at_random_moments(problem: Path, tmp_path: Path) -> None:
    moments, metrics, kills = random.Random(3), tmp_path / "run/metrics.jsonl", 0

    def lines() -> int:
        return len(metrics.read_bytes().splitlines()) if metrics.exists() else 0

    for _ in range(4):
        process = child(problem, tmp_path / "run")
        target = lines() + moments.randint(1, 4)
        while process.is_alive() and lines() < target:
            time.sleep(0.001)
        time.sleep(moments.random() * 0.02)
        kills += process.is_alive()
        process.kill()
        process.join()
    assert kills >= 2, "the search outran the test: give it more steps"
    process = child(problem, tmp_path / "run")
    process.join(300)
    assert result(tmp_path / "run") == result(problem / "whole")
