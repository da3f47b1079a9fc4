"""The loop of every study: order, resume, what is stored; files that are not made again."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from burnish.core.cells import Cells, Record, make_files, run_cells
from burnish.core.errors import Interrupted, UserError
from burnish.core.run import Run
from burnish.core.study import StudyRecipe


class Square(Record):
    root: int
    value: float
    parts: tuple[float, ...] = ()


class Word(Record):
    kind: Literal["word"] = "word"
    text: str


def squared(root: int) -> Square:
    return Square(root=root, value=float(root**2), parts=(0.5, float(root)))


def either(job: int | str) -> Square | Word:
    return squared(job) if isinstance(job, int) else Word(text=job)


def recipe(**settings: Any) -> StudyRecipe:
    return StudyRecipe.model_validate({"method": "study:none", "size": "smoke", **settings})


def test_cells_come_in_the_order_of_their_jobs_and_are_plain_in_the_folder(tmp_path: Path) -> None:
    with Run(recipe(workers=2), tmp_path / "run", quiet=True) as run:
        cells = run_cells(
            recipe(workers=2), run, [3, 1, 2], squared, Square, "roots", lambda cell: {"value": cell.value}
        )
    assert [cell.root for cell in cells] == [3, 1, 2]
    plain = json.loads((tmp_path / "run/artifacts/cells.json").read_text())
    assert plain[0] == {"root": 3, "value": 9.0, "parts": [0.5, 3.0]}
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["value"]) for line in lines] == [(0, 9.0), (1, 1.0), (2, 4.0)]


def test_an_interrupted_study_goes_on_with_the_cell_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | str] = []

    def watched(job: int | str) -> Square | Word:
        asked.append(job)
        return either(job)

    jobs: list[int | str] = [1, "two", 3]
    with pytest.raises(Interrupted), Run(recipe(), tmp_path / "run", quiet=True) as run:
        real = run.log

        def log(step: int, **values: Any) -> None:
            real(step, **values)
            if step == 1:
                run._signals.number = 15

        monkeypatch.setattr(run, "log", log)
        run_cells(recipe(), run, jobs, watched, Square | Word, "jobs")
    with Run(recipe(), tmp_path / "run", quiet=True) as run:
        cells = run_cells(recipe(), run, jobs, watched, Square | Word, "jobs")
    assert cells == [squared(1), Word(text="two"), squared(3)]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 0}, {"step": 1}, {"step": 2}]  # nothing that a report would draw a curve of
    assert asked == [1, "two", 3]
    with (
        Run(recipe(), tmp_path / "run", quiet=True) as run,
        pytest.raises(UserError, match="ended by another version, with 3 jobs of the 4 that this one asks for"),
    ):
        run_cells(recipe(), run, [*jobs, 4], watched, Square | Word, "jobs")
    assert asked == [1, "two", 3]  # who only has an old study drawn again does not wait for new cells


def test_more_jobs_go_on_from_those_that_are_done_and_fewer_see_no_more_than_theirs(tmp_path: Path) -> None:
    """A study looks at few seeds, then at more; interrupted later, its first look sees few again."""
    asked: list[int | str] = []

    def watched(root: int | str) -> Square | Word:
        asked.append(root)
        return either(root)

    with Run(recipe(), tmp_path / "run", quiet=True) as run:
        assert run_cells(recipe(), run, [1, 2], watched, Square | Word, "jobs") == [squared(1), squared(2)]
        three = run_cells(recipe(), run, [1, 2, 3], watched, Square | Word, "jobs")
        assert three == [squared(1), squared(2), squared(3)]
        assert run_cells(recipe(), run, [1, 2], watched, Square | Word, "jobs") == three[:2]
    assert asked == [1, 2, 3]


def test_a_state_is_plain_and_comes_back_as_it_was() -> None:
    done: Cells[Square] = Cells(Square)
    done.cells.append(squared(2))
    state = json.loads(json.dumps(done.state_dict()))
    again: Cells[Square] = Cells(Square)
    again.load_state_dict(state)
    assert again.cells == done.cells


def test_cells_of_another_version_are_the_users_to_throw_away() -> None:
    with pytest.raises(UserError, match=r"another version of this study \(at 0\.value\); start afresh"):
        Cells(Square).load_state_dict({"cells": [{"root": 1}]})


def test_a_cell_is_frozen_and_complete() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        squared(1).root = 2
    with pytest.raises(ValidationError, match="value"):
        Square.model_validate({"root": 1})
    with pytest.raises(ValidationError, match="Extra inputs"):
        Square.model_validate({"root": 1, "value": 1.0, "other": 2})


def test_a_file_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    made: list[str] = []

    def write(name: str) -> None:
        made.append(name)
        (tmp_path / name).write_text(name)

    (tmp_path / "b").write_text("kept")
    with Run(recipe(), tmp_path / "run", quiet=True) as run:
        make_files(recipe(), run, ["a", "b", "c"], write, lambda name: tmp_path / name, "files")
        make_files(recipe(), run, ["a", "b", "c"], write, lambda name: tmp_path / name, "files")
    assert made == ["a", "c"]
    assert (tmp_path / "b").read_text() == "kept"


def test_a_stop_signal_is_honoured_between_files(tmp_path: Path) -> None:
    with Run(recipe(), tmp_path / "run", quiet=True) as run:

        def write(name: str) -> None:
            (tmp_path / name).write_text(name)
            run._signals.number = 15

        with pytest.raises(Interrupted, match="stopped among the files"):
            make_files(recipe(), run, ["a", "b"], write, lambda name: tmp_path / name, "files")
    assert (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def slept(seconds: int) -> Square:
    time.sleep(seconds)
    return squared(seconds)


def test_who_presses_ctrl_c_does_not_wait_for_the_cell_on_its_way(tmp_path: Path) -> None:
    jobs = [0, 60]
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with (
        pytest.raises(Interrupted, match="stopped among the naps; those that had ended are saved"),
        Run(recipe(), tmp_path / "run", quiet=True) as run,
    ):
        run_cells(recipe(), run, jobs, slept, Square, "naps")
    assert time.monotonic() - began < 3
    with Run(recipe(), tmp_path / "run", quiet=True) as run:
        assert run_cells(recipe(), run, [0], slept, Square, "naps") == [squared(0)]
        assert run.resumed
