"""A sweep: all combinations, paired seeds, one table; it resumes, and what fails by itself stops nobody else."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import burnish
from burnish import api
from burnish.core.errors import BurnishError, Interrupted, UserError
from burnish.core.metrics import read_metrics
from burnish.core.run import run_record
from burnish.core.sweep_table import SweepCell, shown, table

LOOP = {"method": "tests.core.loops:METHOD", "steps": 3, "seed": 5}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_combination_is_a_run_and_the_table_is_made_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text(json.dumps(LOOP))
    done = burnish.sweep("loop.yaml", ["width=4,8", "steps=2,3"], "swept", seeds=2, workers=1)
    assert [(cell.settings["width"], cell.settings["steps"], cell.seed) for cell in done.cells] == [
        (width, steps, seed) for width in (4, 8) for steps in (2, 3) for seed in (5, 6)
    ]
    last = [read_metrics(tmp_path / "swept" / cell.folder / "metrics.jsonl")[-1]["loss"] for cell in done.cells[:2]]
    loss = done.rows[0]["loss"]
    assert (loss["mean"], loss["seeds"]) == (pytest.approx(np.mean(last)), 2)
    assert loss["low"] < loss["mean"] < loss["high"]
    assert shown(done.rows)[0] | {"loss": ""} == {"width": "4", "steps": "2", "runs": "2", "failed": "0", "loss": ""}
    assert json.loads((tmp_path / "swept/artifacts/table.json").read_text()) == done.rows
    assert "Sweep" in done.report.read_text()
    page = burnish.report("swept", "again.html")
    assert shown(done.rows)[0]["loss"] in page.read_text()


def test_one_that_was_stopped_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = api.run, []

    def run(recipe: Any, out: Path, overrides: Any, **how: bool) -> Any:
        asked.append(out.name)
        if len(asked) == 2:
            raise Interrupted("stopped", 15)
        return real(recipe, out, overrides, **how)

    monkeypatch.setattr(api, "run", run)
    with pytest.raises(Interrupted):
        burnish.sweep(LOOP, {"width": [4, 8]}, "swept", workers=1)
    done = burnish.sweep(LOOP, {"width": [4, 8]}, "swept", workers=1)
    assert asked == ["0000", "0001", "0001"]
    assert len(done.cells) == 2
    again = burnish.sweep(LOOP, {"width": [4, 8]}, "swept", workers=1)
    assert (again.rows, len(asked)) == (done.rows, 3)
    with pytest.raises(UserError, match="holds a run of another recipe"):
        burnish.sweep(LOOP, {"width": [4]}, "swept", workers=1)
    assert len(burnish.sweep(LOOP, {"width": [4]}, "swept", workers=1, fresh=True).cells) == 1
    assert len(asked) == 4
    assert run_record(Path("swept"))["method"] == "sweep:loop"


@pytest.mark.slow
def test_ray_carries_out_the_same_runs(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    tests = str(Path(__file__).parents[1])  # a worker of Ray knows nothing of pytest's paths
    own = f"import sys\nsys.path.insert(0, {tests!r})\nfrom tests.core.loops import METHOD\n"
    (tmp_path / "own.py").write_text(own)
    (tmp_path / "own.yaml").write_text(json.dumps({**LOOP, "method": "own:METHOD"}))
    here = burnish.sweep("own.yaml", {"width": [4, 8]}, "here", workers=1)
    there = burnish.sweep("own.yaml", {"width": [4, 8]}, "there", executor="ray", workers=2)
    assert there.rows == here.rows
    assert all((there.path / cell.folder / "run.json").exists() for cell in there.cells)


def test_a_run_that_fails_by_itself_is_a_row_and_a_users_mistake_ends_it_before_it_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = api.run

    def run(recipe: Any, out: Path, overrides: Any, **how: bool) -> Any:
        done = real(recipe, out, overrides, **how)
        if overrides["width"] == 8:
            raise BurnishError("step 2: loss is nan")
        return done

    monkeypatch.setattr(api, "run", run)
    done = burnish.sweep(LOOP, {"width": [4, 8]}, "swept", workers=1)
    assert [(cell.state, cell.reason) for cell in done.cells] == [("finished", ""), ("failed", "step 2: loss is nan")]
    assert [row["failed"] for row in done.rows] == [0, 1]
    assert shown(done.rows)[1]["loss"] == "-"
    for choices, said in (
        (["width=4,few"], "override width: `width`: input should be a valid integer"),
        (["widht=4"], "did you mean `width`"),
        (["width"], "write it as key=value,value"),
        (["width="], "no value"),
        (["seed=1,2"], "the seed is varied by `seeds`"),
    ):
        with pytest.raises(UserError, match=said):
            burnish.sweep(LOOP, choices, "never", workers=1)
    assert not Path("never").exists()


def test_a_sweep_over_changed_code_is_refused_or_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    code = tmp_path / "swept_method.py"
    code.write_text("from tests.core.loops import METHOD\n")
    recipe = {**LOOP, "method": "swept_method:METHOD"}
    done = burnish.sweep(recipe, {"width": [4]}, "swept", workers=1)
    code.write_text("from tests.core.loops import METHOD  # mended\n")
    with pytest.raises(UserError, match=r"swept_method.py: SHA-256 .* start afresh, or allow") as caught:
        burnish.sweep(recipe, {"width": [4]}, "swept", workers=1)
    assert set(caught.value.arguments) <= inspect.signature(burnish.sweep).parameters.keys()
    again = burnish.sweep(recipe, {"width": [4]}, "swept", workers=1, allow_changed_code=True)
    assert again.rows == done.rows


def test_equal_and_single_values_have_no_interval() -> None:
    def cell(width: int, value: float) -> SweepCell:
        settings = {"width": width}
        numbers = {"value": value}
        return SweepCell(settings=settings, seed=0, folder="x", state="finished", numbers=numbers, wall_seconds=1.0)

    rows = table([cell(1, 2.0), cell(2, 3.0), cell(2, 3.0)])
    assert rows[0]["value"] == {"mean": 2.0, "low": None, "high": None, "seeds": 1}
    assert rows[1]["value"] == {"mean": 3.0, "low": None, "high": None, "seeds": 2}
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_large_means_are_shown_as_whole_numbers() -> None:
    cells = [
        SweepCell(settings={}, seed=0, folder="a", state="finished", numbers={"tokens": tokens}, wall_seconds=1)
        for tokens in (87_930, 87_934)
    ]
    assert shown(table(cells))[0]["tokens"].startswith("87,932 [87,9")
