"""Scores architectures in other processes, or on a Ray cluster whose machines see the same files."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from burnish.core.parallel import Executor, executor
from burnish.core.run import Run
from burnish.merge.rmm.architecture import Architecture, from_plain
from burnish.merge.rmm.candidates import Pool
from burnish.merge.rmm.evaluate import Evaluator
from burnish.merge.rmm.problem import load_problem
from burnish.merge.rmm.recipe import SearchRecipe
from burnish.merge.rmm.reward import Subset
from burnish.merge.rmm.session import Scored, Scorer, Session, score_here

Job = tuple[str, str, dict[str, Any], Subset]


@contextmanager
def scorer(recipe: SearchRecipe, run: Run) -> Iterator[Scorer]:
    """What computes the results of a batch: this process, or the recipe's workers."""
    if recipe.executor == "local" and recipe.workers == 1:
        yield score_here
        return
    with executor(recipe.executor, recipe.workers, recipe.ray_address) as workers:
        yield _Workers(workers, recipe, run)


class _Workers:
    def __init__(self, workers: Executor, recipe: SearchRecipe, run: Run) -> None:
        self._workers = workers
        self._recipe = recipe.model_dump_json()
        self._run = run
        self._file: Path | None = None

    def __call__(self, session: Session, jobs: Sequence[tuple[Architecture, Subset]]) -> Iterable[Scored]:
        if self._file is None:  # the candidates are final once the first architecture is asked for
            from safetensors.torch import save

            tensors = {"merges": session.pool.merges, "stem": torch.tensor(session.pool.stem)}
            tensors |= {f"order.{number}": torch.as_tensor(order) for number, order in enumerate(session.orders)}
            self._file = self._run.artifact("candidates.safetensors", save(tensors))
        items: list[Job] = [(self._recipe, str(self._file), each.to_plain(), subset) for each, subset in jobs]
        return self._workers.map(compute, items)


def compute(job: Job) -> Scored:
    """One architecture, in a worker: models, data and candidates are read once a process."""
    recipe, file, architecture, subset = job
    evaluator = _evaluator(recipe, file)
    return evaluator.compute(from_plain(architecture), subset), evaluator.sizes(subset)


@lru_cache(maxsize=1)
def _evaluator(recipe_json: str, file: str) -> Evaluator:
    from safetensors.torch import load_file

    recipe = SearchRecipe.model_validate_json(recipe_json)
    problem = load_problem(recipe)
    held = load_file(file)
    orders = [held[f"order.{number}"].numpy() for number in range(len(problem.tasks)) if f"order.{number}" in held]
    if orders:
        problem = problem.reordered(orders)
    merges = held["merges"]
    names = (*problem.names, *(f"merge {number}" for number in range(len(merges))))
    pool = Pool(problem.layout, problem.base, problem.experts, merges, names, int(held["stem"]))
    return problem.evaluator(pool, recipe.chunk, recipe.cache_mb * 2**20)
