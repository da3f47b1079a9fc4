"""Every test is seeded, offline, on one thread, and sees a cache of its own unless it asks for the real one."""

import os

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS="1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import gc
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.checker import modules_with_shapes
from tests.warm import warm_commands

# Documented shapes are checked in every test. Where a module documents none, mypy has checked its types, and to check
# them again at each call took two fifths of the CPU time of 563 small tests.
CHECKED = modules_with_shapes(Path(__file__).parents[1] / "src")
jaxtyping.install_import_hook(CHECKED, "tests.checker.checked")

# Thousands of fsyncs on a busy disk take minutes and test nothing more: SIGKILL does not empty the page cache.
if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")

# A shell that starts the tests in the background has them ignore the one, nohup the other, and all that they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("burnish", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("burnish")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.set_num_threads(1)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def warm() -> Iterator[Path]:
    """A folder for the front of ``PATH`` whose ``burnish`` and ``python`` start at once."""
    with tempfile.TemporaryDirectory() as folder, warm_commands(Path(folder), os.environ | {"COLUMNS": "160"}) as bins:
        yield bins


@pytest.fixture
def smollm2() -> Path:
    """SmolLM2, if the set-up could fetch it (tests use no network)."""
    from burnish.testbeds.models import cached_model

    found = cached_model("smollm2")
    if found is None:
        pytest.skip("SmolLM2 is not in the cache: run `burnish model smollm2` once (the set-up tries to)")
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, on both of two workers: with `--dist worksteal` each begins with half of the list.

    A file counts as long if a test in it is marked slow. Files stay whole, so that their fixtures are made once.
    """
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    long = [group for group in files.values() if any(test.get_closest_marker("slow") for test in group)]
    short = [group for group in files.values() if group not in long]
    halves: tuple[list[pytest.Item], list[pytest.Item]] = ([], [])
    for number, group in enumerate(long):
        halves[number % 2].extend(group)
    for group in short:
        min(halves, key=len).extend(group)
    items[:] = [*halves[0], *halves[1]]


def pytest_collection_finish() -> None:
    """What was imported until now stays: every trainer collects garbage, half a second among so many objects."""
    from burnish.act.clock import COLLECT

    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the contract suite took, a line a method; from all workers."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    said = sorted(
        {text for report in reports for name, text in getattr(report, "user_properties", ()) if name == "contract"}
    )
    if said:
        terminalreporter.section("contract")
        for line in said:
            terminalreporter.write_line(line)
