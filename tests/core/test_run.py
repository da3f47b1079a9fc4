import io
import json
import logging
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from burnish.core.errors import BurnishError, Interrupted, UserError
from burnish.core.files import damage, folder_atomic, write_atomic, write_manifest
from burnish.core.metrics import Metrics, Progress, duration, read_metrics
from burnish.core.run import Run
from burnish.core.yaml_marks import load_yaml
from tests.core.loops import LoopRecipe, train


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict:
        return {"count": self.count}

    def load_state_dict(self, state: dict) -> None:
        self.count = state["count"]


def test_a_finished_run_says_so_and_repeats_its_result(tmp_path: Path) -> None:
    recipe = LoopRecipe(steps=5)
    with Run(recipe, tmp_path / "run", quiet=True) as run:
        assert not run.finished
        first = train(recipe, run).read_bytes()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["seed"] == 0
    assert record["versions"]["torch"]
    assert record["peak_memory_bytes"] > 10 << 20
    with Run(recipe, tmp_path / "run", quiet=True) as run:
        assert run.finished
        assert train(recipe, run).read_bytes() == first


def test_an_error_that_quotes_a_secret_is_kept_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-of-mine")
    recipe = LoopRecipe.load({"tracking": {"project": "${MY_TOKEN}"}})
    with pytest.raises(RuntimeError, match="s3cr3t-of-mine"), Run(recipe, tmp_path / "run", quiet=True) as run:
        run.note(f"asking with {recipe.tracking.project}")
        raise RuntimeError(f"401 for {recipe.tracking.project}")
    kept = {path.name: path.read_text() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert not [name for name, text in kept.items() if "s3cr3t" in text]
    assert "RuntimeError: 401 for ${MY_TOKEN}" in kept["run.json"]
    assert "RuntimeError: 401 for ${MY_TOKEN}" in kept["run.log"]


def test_what_a_run_says_is_kept_though_the_program_set_logging_up_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("burnish"), "disabled", True)  # as `logging.config` leaves loggers
    with Run(LoopRecipe(steps=5), tmp_path / "run", quiet=True) as run:
        run.note("half way")
    assert "half way" in (tmp_path / "run" / "run.log").read_text()


def test_a_changed_recipe_is_refused_with_the_keys(tmp_path: Path) -> None:
    with Run(LoopRecipe(steps=5), tmp_path / "run", quiet=True):
        pass
    with pytest.raises(UserError, match=r"differs in seed, steps\); choose another folder, or start afresh"):
        Run(LoopRecipe(steps=6, seed=1), tmp_path / "run", quiet=True).__enter__()
    with Run(LoopRecipe(steps=5, workers=2, checkpoint_every=1), tmp_path / "run", quiet=True):
        pass  # what cannot change a result may change
    with Run(LoopRecipe(steps=6, seed=1), tmp_path / "run", fresh=True, quiet=True) as run:
        assert not run.finished


def test_a_run_that_was_refused_before_it_began_stands_in_nobodys_way(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model"), Run(LoopRecipe(steps=5), tmp_path / "run", quiet=True):
        raise UserError("no such model")
    with Run(LoopRecipe(steps=6), tmp_path / "run", quiet=True) as run:
        assert load_yaml(run.path / "recipe.yaml")[0]["steps"] == 6
        run.artifact("found.json", {})
    with pytest.raises(UserError, match="differs in steps"):
        Run(LoopRecipe(steps=7), tmp_path / "run", quiet=True).__enter__()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="not empty and not a run"):
        Run(LoopRecipe(), tmp_path, fresh=fresh, quiet=True).__enter__()
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_out_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        Run(LoopRecipe(), tmp_path / "file", quiet=True).__enter__()


def test_named_streams_are_independent_and_repeatable(tmp_path: Path) -> None:
    with Run(LoopRecipe(), tmp_path / "a", quiet=True) as run:
        one = [run.rng("x").random(3).tolist(), run.rng("y").random(3).tolist()]
    with Run(LoopRecipe(), tmp_path / "b", quiet=True) as run:
        other = [run.rng("y").random(3).tolist(), run.rng("x").random(3).tolist()]
    assert one == other[::-1]
    assert one[0] != one[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_is_honoured_at_a_checkpoint(tmp_path: Path, number: int) -> None:
    counter, before = Counter(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught, Run(LoopRecipe(), tmp_path / "run", quiet=True) as run:
        for step in range(run.restore(counter), 10):
            counter.count += 1
            if step == 3:
                os.kill(os.getpid(), number)
            run.checkpoint(step, counter)
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(signal.SIGTERM) is before
    again = Counter()
    with Run(LoopRecipe(), tmp_path / "run", quiet=True) as run:
        assert run.restore(again) == 4
    assert again.count == 4


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    message = "step 7: train_loss is nan; the last checkpoint is from before it"
    with pytest.raises(BurnishError, match=message), Run(LoopRecipe(), tmp_path / "run", quiet=True) as run:
        run.log(7, train_loss=float("nan"))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "failed"
    assert "train_loss is nan" in record["error"]


def test_wrong_number_of_states(tmp_path: Path) -> None:
    with Run(LoopRecipe(checkpoint_every=0), tmp_path / "run", quiet=True) as run:
        run.checkpoint(0, Counter())
    with (
        pytest.raises(BurnishError, match="holds 1 states, not 2"),
        Run(LoopRecipe(), tmp_path / "run", quiet=True) as run,
    ):
        run.restore(Counter(), Counter())


def test_damaged_checkpoint_is_named_while_resuming(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = LoopRecipe(steps=6, checkpoint_every=0)
    with Run(recipe, tmp_path / "run", quiet=True) as run:
        whole = train(recipe, run).read_bytes()
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    (newest / "tensors.safetensors").write_bytes(b"torn")
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text().replace('"finished"', '"running"'))  # as a killed process leaves it
    with Run(recipe, tmp_path / "run") as run:
        assert train(recipe, run).read_bytes() == whole
    said = capsys.readouterr().err
    assert f"{newest}: damaged checkpoint (tensors.safetensors has 4 bytes" in said
    assert "resumed after step 4" in said


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with Run(LoopRecipe(checkpoint_every=0), tmp_path / "run", quiet=True) as run:
        run.log(0, a=1.0)
        run.checkpoint(0, Counter())
        run.artifact("a.json", {})
    assert not (tmp_path / "run").exists()


def test_trackers_get_the_numbers(tmp_path: Path) -> None:
    from burnish.core.recipe import Tracking

    pytest.importorskip("tensorboard")
    recipe = LoopRecipe(tracking=Tracking(to=["tensorboard"]))
    with Run(recipe, tmp_path / "run", quiet=True) as run:
        run.log(0, loss=1.0, note="text")
    assert list((tmp_path / "run" / "trackers").rglob("events.out.tfevents*"))


def test_absent_tracker_is_named(tmp_path: Path) -> None:
    from burnish.core.recipe import Tracking

    handlers = list(logging.getLogger().handlers)
    with pytest.raises(UserError, match=r"tracking.to: the package aim is not installed"):
        Run(LoopRecipe(tracking=Tracking(to=["aim"])), tmp_path / "run", quiet=True).__enter__()
    assert logging.getLogger().handlers == handlers  # nobody writes into its log any more
    assert "tracking.to: the package aim" in (tmp_path / "run" / "run.log").read_text()
    with Run(LoopRecipe(), tmp_path / "run", fresh=True, quiet=True):
        pass  # the failed start holds no lock


def test_metrics_are_plain_json_and_can_be_cut(tmp_path: Path) -> None:
    import torch

    metrics = Metrics(tmp_path / "m.jsonl")
    metrics.log(0, {"a": torch.tensor(1.5), "b": float("inf"), "c": torch.ones(2)})
    size = metrics.size()
    metrics.log(1, {"a": 2})
    metrics.cut(size)
    metrics.log(1, {"a": 3})
    metrics.close()
    (tmp_path / "m.jsonl").open("a").write('{"step": 2, "a"')
    assert read_metrics(tmp_path / "m.jsonl") == [
        {"step": 0, "a": 1.5, "b": None, "c": [1.0, 1.0]},
        {"step": 1, "a": 3},
    ]


def test_progress_is_silent_when_quick_and_has_an_eta_when_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    assert list(Progress(stream).track(range(5), "steps")) == list(range(5))
    assert stream.getvalue() == ""
    monkeypatch.setattr("burnish.core.metrics.QUIET_SECONDS", 0.05)
    monkeypatch.setattr("burnish.core.metrics.LINE_SECONDS", 0.1)
    progress = Progress(stream)
    progress.status({"loss": 0.25})
    for item in progress.track(range(4), "steps"):
        while f"steps: {item}/4" not in stream.getvalue():
            time.sleep(0.01)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "steps: 0/4 (0 %), 0 s  loss 0.25"
    assert all(re.fullmatch(r"steps: [1-3]/4 \(\d+ %\), \d s, about \d s left  loss 0.25", line) for line in lines[1:])
    assert len(lines) >= 4


@pytest.mark.parametrize(("items", "total"), [(range(3, 5), 5), (range(3, 5), None), (range(5), None)])
def test_progress_of_a_loop_that_goes_on_counts_what_was_done(items: range, total: int | None, tmp_path: Path) -> None:
    """A trainer says where it is by its total, a loop by what it restored; a loop from 0 is a new one."""
    with Run(LoopRecipe(), tmp_path / "run", quiet=True) as run:
        told: list[tuple[Any, ...]] = []
        run._resumed_at = 3
        run._progress.track = lambda *given: told.append(given[1:]) or iter(())  # type: ignore[method-assign, func-returns-value]
        run.progress(items, "steps", total)
    assert told == [("steps", total, items.start)]


def test_a_first_item_that_takes_long_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every item is still being waited for when the line comes."""
    monkeypatch.setattr("burnish.core.metrics.QUIET_SECONDS", 0.05)
    stream = io.StringIO()

    def slow() -> Iterator[int]:
        while not stream.getvalue():
            time.sleep(0.01)
        yield 0

    assert list(Progress(stream).track(slow(), "cells", total=1)) == [0]
    assert stream.getvalue() == "cells: 0/1 (0 %), 0 s\n"


def test_progress_on_a_terminal_draws_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("burnish.core.metrics.QUIET_SECONDS", 0.0)
    stream = Terminal()
    progress = Progress(stream)
    for _ in progress.track(range(3), "outer"):
        for _ in progress.track(iter("ab"), "inner"):
            while "inner" not in stream.getvalue():
                time.sleep(0.01)
            progress.note("a note")
    assert "outer" in stream.getvalue()
    assert "a note" in stream.getvalue()


@pytest.mark.parametrize(("seconds", "said"), [(8.2, "8 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")])
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), folder_atomic(tmp_path / "out") as work:
        (work / "half").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with folder_atomic(tmp_path / "out") as work:
        (work / "all").write_text("all")
        write_manifest(work)
    assert damage(tmp_path / "out") is None
    (tmp_path / "out" / "all").write_text("ALL")
    assert damage(tmp_path / "out") == "all does not match its SHA-256"


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(BurnishError) as caught:
        write_atomic(blocker / "below" / "a", "text")
    assert str(blocker) in str(caught.value)


@pytest.mark.parametrize(
    "names", [[".env.local", ".tmux.conf", "notes.txt"], ["recipe.yaml", "thesis.tex"], ["run.json"]]
)
@pytest.mark.parametrize("fresh", [False, True])
def test_nothing_of_the_users_is_ever_touched(tmp_path: Path, names: list[str], fresh: bool) -> None:
    """Files that only look like a run's, dotfiles, a folder called like a temporary one."""
    for name in names:
        (tmp_path / name).write_text("{}")
    (tmp_path / ".config.d").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UserError, match="not empty and not a run"):
        Run(LoopRecipe(), tmp_path, fresh=fresh, quiet=True).__enter__()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == before


def test_fresh_removes_only_what_runs_write(tmp_path: Path) -> None:
    with Run(LoopRecipe(), tmp_path / "run", quiet=True) as run:
        run.artifact("a.txt", "old")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "kept").write_text("kept")
    (tmp_path / "run" / "trackers").symlink_to(tmp_path / "big")
    with Run(LoopRecipe(seed=1), tmp_path / "run", fresh=True, quiet=True):
        pass
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "run" / "artifacts").exists()
    assert (tmp_path / "big" / "kept").exists(), "a link is removed, not what it points to"


@pytest.mark.parametrize("content", ["{}", "[]", '{"sessions": 5, "method": "x"}', "torn"])
def test_a_damaged_run_json_is_no_run(tmp_path: Path, content: str) -> None:
    from burnish import api

    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match="not a run folder"):
        api.report(tmp_path)


def test_a_torn_stored_recipe_is_one_line(tmp_path: Path) -> None:
    with Run(LoopRecipe(), tmp_path / "run", quiet=True):
        pass
    (tmp_path / "run" / "recipe.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"recipe.yaml:1: not valid YAML"):
        Run(LoopRecipe(), tmp_path / "run", quiet=True).__enter__()


def test_leftovers_of_killed_processes_are_cleared(tmp_path: Path) -> None:
    from burnish.core.files import temporary

    with Run(LoopRecipe(), tmp_path / "run", quiet=True) as run:
        run.artifact("a.txt", "kept")
    for place in ("", "artifacts", "checkpoints"):
        (tmp_path / "run" / place).mkdir(exist_ok=True)
        temporary(tmp_path / "run" / place / "model").mkdir()
    with Run(LoopRecipe(), tmp_path / "run", quiet=True):
        pass
    assert list((tmp_path / "run").rglob(".model.*")) == []
    assert (tmp_path / "run" / "artifacts" / "a.txt").read_text() == "kept"


@pytest.mark.parametrize("kind", ["tensor", "array", "list"])
def test_a_loss_of_any_kind_that_is_not_finite_stops_the_run(tmp_path: Path, kind: str) -> None:
    import numpy as np
    import torch

    value = {"tensor": torch.tensor(float("nan")), "array": np.float32("inf"), "list": [1.0, float("nan")]}[kind]
    metrics = Metrics(tmp_path / "m.jsonl")
    with pytest.raises(BurnishError, match="loss is"):
        metrics.log(0, {"loss": value})
    metrics.log(0, {"other": [1.0, float("nan")]})
    assert read_metrics(tmp_path / "m.jsonl") == [{"step": 0, "other": [1.0, None]}]


def test_metrics_shorter_than_remembered_are_not_filled_with_zeros(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "m.jsonl")
    metrics.log(0, {"a": 1})
    metrics.cut(10_000)
    metrics.log(1, {"a": 2})
    assert b"\0" not in (tmp_path / "m.jsonl").read_bytes()


def test_the_users_umask_counts(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomic(tmp_path / "file", "secret")
        with folder_atomic(tmp_path / "folder") as work:
            (work / "file").write_text("secret")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "folder" / "file").stat().st_mode & 0o777 == 0o600


def test_an_interruption_crosses_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(Interrupted("stopped", 15)))  # noqa: S301 - what a worker process does with it
    assert (str(error), error.exit_code) == ("stopped", 143)


def test_other_ranks_can_restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = LoopRecipe(steps=3, checkpoint_every=0)
    with Run(recipe, tmp_path / "run", quiet=True) as run:
        train(recipe, run)
    monkeypatch.setenv("RANK", "1")
    with Run(recipe, tmp_path / "run", quiet=True) as run:
        assert run.finished
        assert run.metrics_size() == 0
        train(recipe, run)


def test_three_lines_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import burnish

    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.yaml").write_text("method: tests.core.loops:METHOD\nsteps: 2\n")
    done = burnish.run("loop.yaml")
    assert done.path == Path("runs/loop-loop")
    assert done.report.exists()
