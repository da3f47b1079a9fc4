import os
import signal
import threading
import time
from pathlib import Path

import pytest

from burnish.core import parallel
from burnish.core.errors import BurnishError, UserError
from burnish.core.hardware import cpu_seconds
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


def works(seconds: float) -> None:
    begun = time.process_time()
    while time.process_time() < begun + seconds:
        pass


def rests(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers: int) -> None:
    with executor("local", workers) as ex:
        assert list(ex.map(square, range(20))) == [n * n for n in range(20)]
        assert list(ex.map(square, [])) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_what_workers_use_counts(workers: int) -> None:
    """Those of a pool are forked from a server: the system does not count them as this process's children."""
    with executor("local", workers) as ex:
        list(ex.map(works, [0.1]))  # the pool has begun
        before = cpu_seconds()
        list(ex.map(works, [0.2, 0.3, 0.1]))
    assert cpu_seconds() - before >= 0.6


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
def test_ray_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "local")  # as if it were not set
    with executor("ray", 2) as ex:
        assert list(ex.map(square, range(7))) == [n * n for n in range(7)]
        with pytest.raises(UserError, match="item 0 is bad"):
            list(ex.map(complains, range(2)))


@pytest.mark.slow
def test_ray_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match="no Ray cluster at"), executor("ray", 1, "127.0.0.1:1"):
        pass
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    with pytest.raises(UserError, match=r"no Ray cluster at 127\.0\.0\.1:2"), executor("ray", 1):
        pass


def test_a_clusters_worker_stands_where_the_run_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ray start` may have been called anywhere; a relative path means one of the folder of the command."""
    monkeypatch.chdir("/")
    assert parallel._on_one_thread(os.path.abspath, "runs", str(tmp_path)).result == str(tmp_path / "runs")
    with pytest.raises(UserError, match=r"executor: ray: .*gone is not there on .*; start from a folder that all mach"):
        parallel._on_one_thread(os.path.abspath, "runs", str(tmp_path / "gone"))


def sleeps(seconds: float) -> int:
    import time

    time.sleep(seconds)
    return os.getpid()


def test_ctrl_c_is_the_parents_business() -> None:
    """A terminal sends SIGINT to the whole group: workers go on, so that the parent can save what they give back."""
    import threading

    def interrupt_children() -> None:
        for child in psutil.Process().children(recursive=True):
            child.send_signal(signal.SIGINT)

    import psutil

    with executor("local", 2) as ex:
        assert len(list(ex.map(square, range(4)))) == 4  # both are up
        threading.Timer(0.3, interrupt_children).start()
        assert len(list(ex.map(sleeps, [0.6, 0.6]))) == 2


ORPHANS = """
import os, sys, time
from burnish.core.parallel import executor
from tests.core.test_parallel import sleeps
if __name__ == "__main__":
    with executor("local", 2) as ex:
        print(*set(ex.map(sleeps, [0.5, 0.5])), flush=True)
        list(ex.map(sleeps, [60, 60]))
"""


@pytest.mark.timeout(120)
def test_who_stops_does_not_wait_for_what_is_under_way(tmp_path: Path) -> None:
    def waiting() -> None:
        with executor(workers=2) as pool:
            next(pool.map(rests, [str(tmp_path)] * 2))

    def stop() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        waiting()
    for process in map(int, (path.name for path in tmp_path.iterdir())):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    import subprocess
    import sys
    import time

    import psutil

    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert workers
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in workers)


def test_a_long_temporary_folder_has_no_place_for_a_servers_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "x" * 70)
    assert parallel._forks()
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "x" * 71)
    assert not parallel._forks()
