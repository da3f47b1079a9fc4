import os
import signal
from pathlib import Path

import pytest

from burnish.core.errors import BurnishError, UserError
from burnish.core.parallel import executor


def square(number: int) -> int:
    return number * number


def dies_once(item: tuple[str, int]) -> int:
    folder, number = item
    mark = Path(folder) / f"died-{number}"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def always_dies(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def complains(number: int) -> int:
    raise UserError(f"item {number} is bad")


def threads(_: int) -> int:
    import torch

    return torch.get_num_threads()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers: int) -> None:
    with executor("local", workers) as ex:
        assert list(ex.map(square, range(20))) == [n * n for n in range(20)]
        assert list(ex.map(square, [])) == []


def test_a_dead_worker_costs_one_repeat(tmp_path: Path) -> None:
    with executor("local", 2) as ex:
        assert list(ex.map(dies_once, [(str(tmp_path), n) for n in range(6)])) == list(range(6))


def test_a_worker_that_always_dies_is_one_line() -> None:
    with executor("local", 2) as ex, pytest.raises(BurnishError, match="item 1 of 4: its worker process died twice"):
        list(ex.map(always_dies, range(4)))


def test_errors_keep_their_type() -> None:
    with executor("local", 2) as ex, pytest.raises(UserError, match="item 0 is bad"):
        list(ex.map(complains, range(2)))


def test_workers_use_one_thread() -> None:
    with executor("local", 2) as ex:
        assert list(ex.map(threads, range(2))) == [1, 1]


@pytest.mark.slow
def test_ray_gives_the_same() -> None:
    pytest.importorskip("ray")
    with executor("ray", 2) as ex:
        assert list(ex.map(square, range(7))) == [n * n for n in range(7)]
        with pytest.raises(UserError, match="item 0 is bad"):
            list(ex.map(complains, range(2)))


@pytest.mark.slow
def test_ray_that_is_not_there_is_one_line() -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match="no Ray cluster at"), executor("ray", 1, "127.0.0.1:1"):
        pass
