"""The loop of every study: jobs through an executor, each gives a cell, each cell is saved as it comes. Knows no study.

A cell is a :class:`Record`: frozen, typed, refused where a field is missing or unknown. It is stored as plain JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from burnish.core.errors import Interrupted, UserError
from burnish.core.parallel import executor
from burnish.core.recipe import Recipe, Settings
from burnish.core.run import Run

T = TypeVar("T")
J = TypeVar("J")
C = TypeVar("C", bound="Record")


_END: Any = object()


class Record(Settings):
    """What one stage of a study hands to the next."""


class Cells(Generic[C]):
    """The cells so far, in order: the state of an interrupted study."""

    def __init__(self, kind: Any) -> None:
        self._plain = TypeAdapter(list[kind])
        self.cells: list[C] = []

    def plain(self) -> list[dict[str, Any]]:
        """As JSON holds them."""
        found: list[dict[str, Any]] = self._plain.dump_python(self.cells, mode="json")
        return found

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"cells": self.plain()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint.

        Raises:
            UserError: another version of the study wrote them.
        """
        try:
            self.cells = self._plain.validate_python(state["cells"])
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise UserError(
                f"checkpoint: its cells are of another version of this study (at {where}); start afresh",
                arguments=("fresh",),
            ) from None


def run_cells(
    recipe: Recipe,
    run: Run,
    jobs: Sequence[J],
    function: Callable[[J], C],
    kind: Any,
    label: str,
    numbers: Callable[[C], dict[str, float]] = lambda _: {},
) -> list[C]:
    """Every job through the executor; a study that was interrupted, or gets more seeds, goes on with the first cell it
    lacks.

    Args:
        recipe: says which executor, and how many workers.
        run: holds the cells; ``cells.json`` among its artifacts has all in the end.
        jobs: in the order of the cells; more seeds add to its end.
        function: of one job; a function of a module, safe to run twice.
        kind: the record that it gives, or a union of records.
        label: of the progress bar.
        numbers: of a cell, for the log and its curves; default: none.

    Raises:
        Interrupted: a stop signal came; the cells so far are saved.
        UserError: the run has ended with fewer cells: another version asked for them. Who looks at it again wants it
            drawn, not hours of work that would mix two versions.
    """
    done: Cells[C] = Cells(kind)
    start = run.restore(done)
    left = jobs[start:]
    if left and run.finished:
        raise UserError(
            f"{run.path}: ended by another version, with {start} {label} of the {len(jobs)} that this one asks for; "
            "run it afresh",
            arguments=("fresh",),
        )
    with executor(recipe.executor, _workers(recipe, left), recipe.ray_address) as pool:
        found = _stoppable(pool.map(function, left), run, label)
        for step, cell in enumerate(run.progress(found, label, total=len(left)), start):
            done.cells.append(cell)
            run.log(step, **numbers(cell))
            run.checkpoint(step, done)
    run.artifact("cells.json", done.plain())
    return done.cells[: len(jobs)]  # an interrupted study may have seen more seeds than its first look asks for


def make_files(
    recipe: Recipe,
    run: Run,
    jobs: Sequence[J],
    function: Callable[[J], object],
    made: Callable[[J], Path],
    label: str,
) -> None:
    """Jobs whose product is a file, through the executor; what is there is not made again.

    Args:
        recipe: says which executor, and how many workers.
        run: whose stop signal is honoured between files.
        jobs: in any order.
        function: writes the file of one job, whole or not at all.
        made: the file that is there once a job is done.
        label: of the progress bar.

    Raises:
        Interrupted: a stop signal came; the files so far stay.
    """
    left = [job for job in jobs if not made(job).exists()]
    if not left:
        return
    with executor(recipe.executor, _workers(recipe, left), recipe.ray_address) as pool:
        for _ in run.progress(_stoppable(pool.map(function, left), run, label), label, total=len(left)):
            pass


def _stoppable(found: Iterator[T], run: Run, label: str) -> Iterator[T]:
    """Results as they come; who presses Ctrl-C does not wait for the one that is on its way, which may take minutes.

    Between two results a checkpoint is written: there a signal waits.
    """
    while True:
        try:
            with run.at_once():
                one = next(found, _END)
        except KeyboardInterrupt:
            raise Interrupted(
                f"{run.path}: stopped among the {label}; those that had ended are saved, the same command goes on",
                run.stop_signal,
            ) from None
        if one is _END:
            return
        yield one


def _workers(recipe: Recipe, jobs: Sequence[Any]) -> int:
    """No more processes than jobs."""
    return max(1, min(recipe.workers, len(jobs)))
