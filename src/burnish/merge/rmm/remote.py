"""Scores architectures in other processes, or on a Ray cluster whose machines see the same files."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from burnish.core.embedded import located
from burnish.core.parallel import Executor, executor
from burnish.core.run import Run
from burnish.merge.rmm.architecture import Architecture, from_plain
from burnish.merge.rmm.candidates import Pool
from burnish.merge.rmm.evaluate import Evaluator, Items
from burnish.merge.rmm.problem import load_problem
from burnish.merge.rmm.recipe import SearchRecipe
from burnish.merge.rmm.reward import Subset
from burnish.merge.rmm.session import Scorer, Session, score_here


class Source(NamedTuple):
    """Where a worker reads models, data and candidates.

    Attributes:
        recipe: as JSON, its paths absolute.
        file: the candidates.
        contents: differs where the same paths hold other things: a worker keeps what it has read.
    """

    recipe: str
    file: str
    contents: str


SHARED = "candidates.safetensors"
"""The file among a run's artifacts from which its workers read the candidates."""

Job = tuple[Source, dict[str, Any], Subset]


@contextmanager
def scorer(recipe: SearchRecipe, run: Run) -> Iterator[Scorer]:
    """What computes the results of a batch: this process, or the recipe's workers."""
    if recipe.executor == "local" and recipe.workers == 1:
        yield score_here
        return
    with executor(recipe.executor, recipe.workers, recipe.ray_address) as workers:
        try:
            yield _Workers(workers, recipe, run)
        finally:  # what the workers read is no result: a search leaves the same files with any number of them
            (run.path / "artifacts" / SHARED).unlink(missing_ok=True)


class _Workers:
    def __init__(self, workers: Executor, recipe: SearchRecipe, run: Run) -> None:
        self._workers = workers
        self._recipe = absolute(recipe)
        self._run = run
        self._source: Source | None = None

    def __call__(self, session: Session, jobs: Sequence[tuple[Architecture, Subset]]) -> Iterable[list[Items]]:
        if self._source is None:  # the candidates are final once the first architecture is asked for
            from safetensors.torch import save

            data = save({"merges": session.pool.merges, "stem": torch.tensor(session.pool.stem)})
            file = self._run.artifact(SHARED, data).resolve()
            contents = hashlib.sha256(data + fingerprint(self._recipe).encode()).hexdigest()
            self._source = Source(self._recipe.model_dump_json(), str(file), contents)
        items: list[Job] = [(self._source, each.to_plain(), subset) for each, subset in jobs]
        return self._workers.map(compute, items)


def compute(job: Job) -> list[Items]:
    """One architecture, in a worker: models, data and candidates are read once a process."""
    source, architecture, subset = job
    return _evaluator(source).compute(from_plain(architecture), subset)


def absolute(recipe: SearchRecipe) -> SearchRecipe:
    """The recipe for workers that stand in another folder: local paths absolute, hub ids as they are."""
    tasks = [
        task.model_copy(update={part: str(located(getattr(task, part)).resolve()) for part in ("validation", "test")})
        for task in recipe.tasks
    ]
    experts = [_absolute(name) for name in recipe.experts]
    return recipe.model_copy(update={"base": _absolute(recipe.base), "experts": experts, "tasks": tasks})


def _absolute(name: str) -> str:
    parts = (located(part) for part in name.split("+"))
    paths = [str(path.resolve()) if path.exists() else str(path) for path in parts]
    return "+".join(paths)


def fingerprint(recipe: SearchRecipe) -> str:
    """Sizes and times of all files that a recipe names."""
    models = [Path(part) for name in (recipe.base, *recipe.experts) for part in name.split("+")]
    paths = [*models, *(Path(name) for task in recipe.tasks for name in (task.validation, task.test))]
    files = [
        file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path]) if file.is_file()
    ]
    return "".join(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}\n" for file in files)


@lru_cache(maxsize=1)
def _evaluator(source: Source) -> Evaluator:
    from safetensors.torch import load_file

    recipe = SearchRecipe.model_validate_json(source.recipe)
    problem = load_problem(recipe)
    held = load_file(source.file)
    merges = held["merges"]
    names = (*problem.names, *(f"merge {number}" for number in range(len(merges))))
    pool = Pool(problem.layout, problem.base, problem.experts, merges, names, int(held["stem"]))
    return problem.evaluator(pool, recipe.chunk)
