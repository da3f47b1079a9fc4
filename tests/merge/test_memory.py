"""The budget of buffers: as many steps at a time as fit, and no more."""

import threading
import time
from pathlib import Path

import pytest
import torch

from burnish.merge import merge, plan, tensors
from burnish.merge.buffers import BufferPool
from burnish.merge.steps import Step, budget

from .checkpoints import plain


def models(folder: Path, sizes: list[int]) -> dict:
    """Karcher has no compiled kernel: its steps take the general path, whose memory is only reserved."""
    paths = [
        plain(folder / f"m{n}", {f"t{i:02d}": torch.full((size,), n + 1.0) for i, size in enumerate(sizes)})
        for n in range(2)
    ]
    return {"merge_method": "karcher", "models": [{"model": str(path)} for path in paths]}


@pytest.mark.parametrize("beside", [(30, 30), (0, 60), (60, 0)])
def test_a_loan_waits_until_it_fits_the_budget(beside: tuple[int, int]) -> None:
    """Also where the mapping has a gap that is large enough, and also for what is only reserved."""
    arena, entered = BufferPool(100), threading.Event()

    def second() -> None:
        with arena.borrow(*beside):
            entered.set()

    thread = threading.Thread(target=second)
    with arena.borrow(30, reserve=30):
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    thread.join()


def test_four_threads_run_four_steps_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together, load = threading.Barrier(4), tensors.load

    def waiting(*arguments):
        together.wait(timeout=30)
        return load(*arguments)

    monkeypatch.setattr(tensors, "load", waiting)
    merge(models(tmp_path, [30_000] * 4), tmp_path / "out", threads=4, progress=False)


def test_steps_in_flight_stay_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two large tensors among many small ones: the budget has room for one of them."""
    config = models(tmp_path, [400_000, 400_000, *[1000] * 38])
    limit = budget(plan(config).steps, 4)
    lock, load, running, most = threading.Lock(), tensors.load, [0], [0]

    def counted(step: Step, *arguments):
        with lock:
            running[0] += step.working_bytes
            most[0] = max(most[0], running[0])
        time.sleep(0.1 if step.nbytes > 10_000 else 0)
        result = load(step, *arguments)
        with lock:
            running[0] -= step.working_bytes
        return result

    monkeypatch.setattr(tensors, "load", counted)
    merge(config, tmp_path / "out", threads=4, progress=False)
    assert max(step.working_bytes for step in plan(config).steps) <= most[0] <= limit
