"""What many tests only read is made once a test run, whatever the number of workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import platformdirs
import pytest
from filelock import FileLock, Timeout

from tests.forked import in_child
from tests.short_models import train


def once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object], wait: float = -1) -> Path:
    """A folder that ``build`` fills the first time, in a place that all workers of this test run share.

    Raises:
        Timeout: another worker fills it, and is not ready after ``wait`` seconds (-1: however long it takes).
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / name
    with FileLock(root / f"{name}.lock", timeout=wait):
        if not folder.exists():
            work = root / f"{name}-unfinished"
            build(work)
            work.rename(folder)
    return folder


def shared_cache(factory: pytest.TempPathFactory, *names: str) -> Path:
    """A value for ``BURNISH_CACHE`` that all workers of this test run share.

    Models that Burnish trains itself are trained once a test run, by the code under test. What is fetched, and the
    kernels' machine code (which knows what source it was made from), come from the user's own cache.

    Args:
        factory: pytest's.
        names: models that the test will ask for. Two workers that found one missing would both train it.
    """
    folder = once(factory, "cache", _begin)

    def prepare(name: str, wait: float) -> None:
        with FileLock(folder / f"{name}.lock", timeout=wait):
            if not (folder / f"{name}.prepared").exists():
                in_child(train, name, str(folder))
                (folder / f"{name}.prepared").touch()

    free_first(names, prepare)
    return folder


def free_first(names: Iterable[str], make: Callable[[str, float], object]) -> None:
    """Make each; what another worker is making just now is waited for at the end, when nothing else is left to do.

    Args:
        names: of what is made.
        make: a function of a name and of the seconds to wait for a lock; -1 is for ever.
    """
    taken = []
    for name in names:
        try:
            make(name, 0)
        except Timeout:
            taken.append(name)
    for name in taken:
        make(name, -1)


def smoke_study(factory: pytest.TempPathFactory, name: str, copy: Path, wait: float = -1) -> Path:
    """A finished run of the study of the method ``name`` at size ``smoke``, with one seed; only the copy may change."""

    def build(folder: Path) -> None:
        from burnish.core.study import StudyRecipe
        from burnish.studies.catalogue import find_study, perform

        recipe = StudyRecipe.load({"method": f"study:{name}", "size": "smoke", "seeds": 1, "checkpoint_every": 0})
        perform(find_study(name), recipe, folder)

    return shutil.copytree(once(factory, f"study-{name}", build, wait), copy)


def _begin(work: Path) -> None:
    users = Path(os.environ.get("BURNISH_CACHE") or platformdirs.user_cache_dir("burnish"))
    (work / "models").mkdir(parents=True)
    for name in ("data", "kernels", "node"):
        (users / name).mkdir(parents=True, exist_ok=True)
        (work / name).symlink_to(users / name)
    for name in ("smollm2", "minilm"):
        if (users / "models" / name).exists():
            (work / "models" / name).symlink_to(users / "models" / name)
