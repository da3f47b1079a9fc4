"""How a process was started, and what may be started as several: torchrun, srun, and signals of a scheduler."""

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing.resource_tracker import ResourceTracker
from pathlib import Path

import pytest

import burnish
from burnish.core import launch, parallel, stop_signals
from burnish.core.errors import Interrupted, UserError
from burnish.core.launch import Launch, first_host, join_slurm, launched, refuse_more_ranks
from burnish.core.method import Method, all_methods
from burnish.core.parallel import deaf_children
from burnish.core.run import Run
from tests.core.loops import LoopRecipe
from tests.forked import CONTEXT

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "none"}
SRUN = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
}
BATCH = {"SLURM_JOB_ID": "1234567", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_NODELIST": "gpu[07-08]"}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch):
    """Sets a launcher's variables, and takes back what `join_slurm` adds to them."""

    def start(variables: dict[str, str]) -> None:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "BURNISH_LAUNCH"):
            monkeypatch.setenv(name, "")  # so that it is put back in the end
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    monkeypatch.setattr(launch, "SPEAKS_FIRST", 0.0)
    return start


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, Launch()),
        (TORCHRUN, Launch(3, 4, "torchrun")),
        (SRUN, Launch(3, 4, "srun")),
        (BATCH, Launch()),  # the script itself, whatever --ntasks asked for
        ({**SRUN, **TORCHRUN, "WORLD_SIZE": "16"}, Launch(3, 16, "torchrun")),  # srun starts torchrun on every node
        ({"RANK": "0", "WORLD_SIZE": "1"}, Launch(0, 1, "a launcher that sets RANK and WORLD_SIZE")),
    ],
)
def test_who_started_it(environment: dict[str, str], wanted: Launch) -> None:
    assert launched(environment) == wanted


def test_a_variable_that_is_no_number() -> None:
    with pytest.raises(UserError, match="RANK: `first` in the environment is no number"):
        launched({"RANK": "first"})


def test_what_srun_says_becomes_what_torch_reads() -> None:
    environment = dict(SRUN)
    join_slurm(environment)
    given = {name: environment[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")}
    assert given == {
        "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu07", "MASTER_PORT": "34567",
    }  # fmt: skip
    assert launched(environment) == Launch(3, 4, "srun")
    for untouched in ({}, dict(BATCH), dict(TORCHRUN), {**SRUN, **TORCHRUN}, {**SRUN, "SLURM_STEP_NUM_TASKS": "1"}):
        before = dict(untouched)
        join_slurm(untouched)
        assert untouched == before


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu[07-09,12],login1", "gpu07"),
        ("a,b", "a"),
        ("n[3,5]", "n3"),
        ("rack[1-2]-ib", "rack1-ib"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_first_host(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


def test_no_host_at_all() -> None:
    with pytest.raises(UserError, match="names no host; set MASTER_ADDR"):
        first_host("")


ONE_PROCESS = [method for method in all_methods()[0] if method.built and method.parallel != "ranks"]


@pytest.mark.parametrize("method", ONE_PROCESS, ids=lambda method: method.name)
@pytest.mark.parametrize("variables", [TORCHRUN, SRUN], ids=["torchrun", "srun"])
def test_a_method_that_cannot_use_ranks_is_not_started_as_several(
    started, method, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = "SLURM_PROCID" if "SLURM_PROCID" in variables else "RANK"
    started({**variables, first: "0"})
    with pytest.raises(UserError, match=r"runs in one process, and (torchrun|srun) started 4; start it once") as caught:
        burnish.run(f"{method.name}/tiny")
    assert ("set `workers` to 4" in str(caught.value)) is (method.parallel == "executor")
    started(variables)
    with pytest.raises(SystemExit) as ended:
        burnish.run(f"{method.name}/tiny")
    assert ended.value.code == 2
    assert not list(tmp_path.iterdir())


def test_the_manifest_decides(started) -> None:
    assert {method.parallel for method in all_methods()[0]} == {"none", "executor", "ranks"}
    started(TORCHRUN | {"RANK": "0"})
    refuse_more_ranks("x", "ranks")
    with pytest.raises(UserError):
        refuse_more_ranks("x", "none")
    started({})
    refuse_more_ranks("x", "none")


def test_studies_and_merges_are_one_process(started) -> None:
    started(TORCHRUN | {"RANK": "0"})
    with pytest.raises(UserError, match="study: rmm: runs in one process"):
        burnish.study("rmm")
    with pytest.raises(UserError, match="merge: runs in one process"):
        burnish.run({"merge_method": "linear", "models": []})


ASKED = """
import sys
import time
from burnish import cli
sys.argv = ["burnish", *sys.argv[1:]]
try:
    cli.main()
finally:
    print(sorted({"torch", "transformers", "numba", "anyio"} & sys.modules.keys()))
"""


def test_it_is_one_line_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    for arguments in (["run", "planning_acting/tiny"], ["tour"]):
        done = subprocess.run(
            [sys.executable, "-c", ASKED, *arguments],
            cwd=tmp_path, env=os.environ | TORCHRUN | {"RANK": "0"}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "[]\n"), done.stderr
        assert done.stderr.startswith("burnish: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_torchrun_itself(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    line += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "burnish.cli", "run", "dov4cl/tiny"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    ours = [text for text in done.stderr.splitlines() if text.startswith("burnish: ")]
    assert len(ours) == 1, done.stderr
    assert "runs in one process, and torchrun started 2; start it once and set `workers` to 2" in ours[0]
    assert "exitcode  : 2" in done.stderr
    assert not (tmp_path / "runs").exists()


def meet(recipe: LoopRecipe, run: Run) -> list[int]:
    """What torch makes of the variables: ranks that add up their numbers."""
    import torch

    torch.distributed.init_process_group("gloo")
    total = torch.tensor([torch.distributed.get_rank() + 1])
    torch.distributed.all_reduce(total)
    size = torch.distributed.get_world_size()
    torch.distributed.destroy_process_group()
    return [size, int(total), int(run.is_main)]


RANKED = Method(name="ranked", recipe=LoopRecipe, run=meet, parallel="ranks")


def task(number: int, folder: str) -> None:
    """One task of a step of srun."""
    os.chdir(folder)
    os.environ |= SRUN | {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number), "SLURM_STEP_NUM_TASKS": "2"}
    os.environ |= {"SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_JOB_ID": str(os.getppid())}
    value = burnish.run({"method": "tests.core.test_launch:RANKED"}, "run").value
    Path(f"{number}.json").write_text(json.dumps(value))


def test_tasks_of_srun_meet_as_ranks(tmp_path: Path) -> None:
    tasks = [CONTEXT.Process(target=task, args=(number, str(tmp_path))) for number in range(2)]
    for each in tasks:
        each.start()
    for each in tasks:
        each.join(120)
        each.kill()
    assert [each.exitcode for each in tasks] == [0, 0]
    assert [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(2)] == [[2, 3, 1], [2, 3, 0]]
    assert len(json.loads((tmp_path / "run/run.json").read_text())["sessions"]) == 1


class Steps:
    """A state that counts."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


def stopped_by(path: Path, *numbers: int) -> int:
    """The exit status of a run that gets signals in its step 3."""
    with pytest.raises(Interrupted) as caught, Run(LoopRecipe(), path, quiet=True) as run:
        for step in range(10):
            if step == 3:
                for number in numbers:
                    os.kill(os.getpid(), number)
            run.checkpoint(step, Steps())
    assert json.loads((path / "run.json").read_text())["status"] == "interrupted"
    assert (path / "checkpoints" / "step-00000003").is_dir()
    return caught.value.exit_code


@pytest.mark.parametrize(("number", "status"), [(signal.SIGUSR1, 138), (signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_a_schedulers_signals_save_and_stop(tmp_path: Path, number: int, status: int) -> None:
    before = signal.getsignal(number)
    assert stopped_by(tmp_path / "run", number) == status
    assert signal.getsignal(number) is before


def test_a_run_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Run(LoopRecipe(), tmp_path / "run", quiet=True) as run:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not run.stop_requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_a_launcher_passes_on_is_no_second_signal(
    started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole group gets a signal, and torchrun sends it to its ranks once more."""
    with pytest.raises(KeyboardInterrupt):
        stopped_by(tmp_path / "alone", signal.SIGUSR1, signal.SIGUSR1)
    started({"RANK": "0", "WORLD_SIZE": "2"})
    assert stopped_by(tmp_path / "ranks", signal.SIGUSR1, signal.SIGUSR1) == 138
    monkeypatch.setattr(stop_signals, "TOLD_TWICE", -1.0)
    with pytest.raises(KeyboardInterrupt):
        stopped_by(tmp_path / "later", signal.SIGUSR1, signal.SIGUSR1)


def test_processes_of_a_pool_do_not_get_what_a_whole_job_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm signals every process of a step, and Ctrl-C all of a terminal's; the ones that serve the pool would die of
    it, while they import with a traceback.
    """
    code = "import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    tracker = ResourceTracker()  # its start, which is Python's own, unblocks SIGINT
    monkeypatch.setattr(parallel, "resource_tracker", tracker)
    with Run(LoopRecipe(), tmp_path / "run", quiet=True) as run:
        with deaf_children():
            inside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            os.kill(os.getpid(), signal.SIGUSR1)
        # Not lost to this process; another thread of it may have got it, and then the main one hears of it a bit later.
        end = time.monotonic() + 30
        while not run.stop_requested and time.monotonic() < end:
            time.sleep(0.01)
        assert run.stop_requested
        run._signals.number = None
    assert tracker._pid is not None  # type: ignore[attr-defined]
    tracker._stop()  # type: ignore[attr-defined]
    assert "SIGUSR1" in inside
    assert "SIGHUP" in inside
    assert "SIGINT" in inside
    assert not {signal.SIGUSR1, signal.SIGINT} & signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_forked_child_does_not_answer_for_the_run(tmp_path: Path) -> None:
    with Run(LoopRecipe(), tmp_path / "run", quiet=True) as run:
        run._signals._pid += 1  # as it is in a child
        os.kill(os.getpid(), signal.SIGUSR1)
        assert not run.stop_requested


def test_an_unknown_rank_is_said_before_a_folder_is_made(started, tmp_path: Path) -> None:
    started({"RANK": "x"})
    with pytest.raises(UserError, match="RANK: `x` in the environment"):
        Run(LoopRecipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
