"""One regime and seed of the RMM study: train the world, run every arm on it, measure. Plain numbers in, plain numbers
out.

Every arm gets the same validation images and the same number of evaluations after the same tuning of the uniform
merges; only the test images speak. Knows no statistics over seeds and no report.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from burnish.core.parallel import one_thread
from burnish.merge.rmm.architecture import Blocks, Scales
from burnish.merge.rmm.candidates import PUBLISHED, whole
from burnish.merge.rmm.data import TaskData, images
from burnish.merge.rmm.evaluate import Objective, Result
from burnish.merge.rmm.outcome import Outcome
from burnish.merge.rmm.problem import Problem
from burnish.merge.rmm.recipe import MergeCandidate, PPOSettings, SearchRecipe
from burnish.merge.rmm.session import Session
from burnish.merge.rmm.tuning import Tuned, grid, merged
from burnish.studies.rmm.cost import measure
from burnish.studies.rmm.records import Arm, Cell, Merge, Picture
from burnish.testbeds.experts import Budget, TaskSplits, World, to_tensors, train_world

CHUNK = 200
"""Images a forward pass (up to 2.5 times faster than all at once)."""
BATCH = 128
"""Images a batch, as published."""


@dataclass(frozen=True)
class Design:
    """What one size of the study spends on a cell.

    Attributes:
        regimes: of ``burnish.testbeds.experts``.
        arms: names of ``ARMS``.
        budget: evaluations of a search.
        tuning: evaluations of the uniform merges before it, shared by all arms.
        world: steps and images.
        probes: architectures whose subset rewards are ranked.
        repeats: of every timing.
    """

    regimes: tuple[str, ...]
    arms: tuple[str, ...]
    budget: int
    tuning: int
    world: Budget
    probes: int
    repeats: int


class Job(NamedTuple):
    """One item for the executor."""

    regime: str
    seed: int
    design: Design


ARMS: dict[str, dict[str, Any]] = {
    "published": {
        "search": "rmm_published",
        "actions": "blocks",
        "objective": "score",
        "candidates": list(PUBLISHED),
        "tuning_budget": 0,
        "subset": "cycling",
        # one batch a task: with ten batches, s = .1 would leave int(.8) = 0 of the digits' eight
        "subset_fraction": 0.125,
        "batch_size": BATCH,
        "dynamic_average": True,
    },
    "corrected": {
        "search": "ppo",
        "actions": "blocks",
        "ppo": PPOSettings(warm_start=0.7, skip_and_back=False, epochs=10),
    },
    "cma": {},
    "cma, task scales": {"scale_per": "model"},
    "greedy": {"search": "greedy", "actions": "blocks"},
    "random": {"search": "random", "actions": "blocks"},
}
"""Searches as settings over the recipe's defaults (CMA-ES over layer x expert scales, cross-entropy)."""
STREAMS = {"corrected": "mended"}
"""The word that seeds an arm's random stream where it is not the arm's name: stored results repeat only with the same
draws."""


def recipe_for(arm: str, problem: Problem, design: Design, seed: int) -> SearchRecipe:
    """The recipe a user would write for an arm (the files' names are not read here)."""
    names = [task.name for task in problem.tasks]
    budget = design.budget
    if arm == "published":
        budget += design.tuning  # it has nothing to tune: the same evaluations, as episodes
    return SearchRecipe.model_validate(
        {
            "seed": seed,
            "base": "base",
            "experts": names,
            "tasks": [{"name": name, "validation": "memory", "test": "memory"} for name in names],
            "budget": budget,
            "tuning_budget": design.tuning,
            "chunk": CHUNK,
            **ARMS[arm],
        }
    )


def run_cell(job: Job) -> Cell:
    """Everything about one regime and seed. Safe to run twice: it writes nothing."""
    design, seed = job.design, job.seed
    with one_thread():
        world = train_world(job.regime, seed, design.world)
        problem = problem_of(world, ("validation",), seed)
        tuning = tune(problem, recipe_for("cma", problem, design, seed))
        arms: dict[str, Arm] = {}
        outcomes: dict[str, Outcome] = {}
        for name in design.arms:
            arms[name], outcomes[name] = _searched(name, job, world, problem, tuning)
        pool, best = outcomes["corrected"].pool, outcomes["cma"].architecture
        assert isinstance(best, Scales)
        whole_set = problem_of(world, ("validation", "test"), seed)
        rng = np.random.default_rng([seed, 7])
        return Cell(
            regime=job.regime,
            seed=seed,
            experts=_experts(problem),
            merges={
                "untuned": max((_merge(problem, spec, seed) for spec in PUBLISHED), key=lambda each: each.validation),
                "tuned": _merge(problem, _best(tuning["score"]), seed),
                "tuned by cross-entropy": _merge(problem, _best(tuning["cross_entropy"]), seed),
            },
            arms=arms,
            pictures={name: _picture(outcomes[name], problem) for name in ("corrected", "cma")},
            cost=measure(whole_set, pool, best, design.probes, design.repeats, CHUNK, rng),
        )


def _searched(
    name: str, job: Job, world: World, problem: Problem, tuning: dict[Objective, list[Tuned]]
) -> tuple[Arm, Outcome]:
    """Run one arm's search."""
    recipe = recipe_for(name, problem, job.design, job.seed)
    rng = np.random.default_rng([job.seed, *STREAMS.get(name, name).encode()])
    published = name == "published"
    if published:
        session = Session(recipe, problem_of(world, ("train",), job.seed, at_most=10 * BATCH), rng)
    else:
        session = Session(recipe, problem, rng, tuned=tuning[recipe.objective])
    start = time.process_time()
    outcome = session.run()
    seconds = time.process_time() - start
    arm = _found(outcome, problem, seconds)
    return (arm.model_copy(update={"update_seconds": _update_seconds(session)}) if published else arm), outcome


def problem_of(world: World, parts: Sequence[str], seed: int, at_most: int | None = None) -> Problem:
    """Models and tasks, rewarded on some parts of the images.

    Args:
        world: models and images.
        parts: of ``train``, ``validation``, ``test``. Both of the last serve timings and rank correlations only,
            which select nothing.
        seed: of the shuffle.
        at_most: images a task; default: all.
    """
    tests = [_task(task, number, ("test",)) for number, task in enumerate(world.tasks)]
    tasks = [_task(task, number, parts, at_most) for number, task in enumerate(world.tasks)]
    names = [task.name for task in world.tasks]
    return Problem.from_models(world.base, world.experts, tasks, tests, names=names, seed=seed)


def _task(task: TaskSplits, head: int, parts: Sequence[str], at_most: int | None = None) -> TaskData:
    tensors = [to_tensors(getattr(task, part)) for part in parts]
    pixels, labels = (torch.cat(each)[:at_most] for each in zip(*tensors, strict=True))
    return images(task.name, pixels, labels, head)


def tune(problem: Problem, recipe: SearchRecipe) -> dict[Objective, list[Tuned]]:
    """The grid of uniform merges, evaluated once and read by both objectives."""
    evaluator = problem.evaluator(problem.pool([], recipe.seed), recipe.chunk)
    tried = [(spec, evaluator.mean(evaluator.items(merged(spec, problem, recipe.seed)))) for spec in grid(recipe)]
    objectives: tuple[Objective, ...] = ("score", "cross_entropy")
    return {name: [Tuned(spec, result.reward(name)) for spec, result in tried] for name in objectives}


def _best(tuned: Sequence[Tuned]) -> MergeCandidate:
    return max(tuned, key=lambda each: each.reward).spec


def _merge(problem: Problem, spec: MergeCandidate, seed: int) -> Merge:
    weights = merged(spec, problem, seed)
    pool = problem.pool([], seed)
    validation, test = (
        each.mean(each.items(weights)) for each in (problem.evaluator(pool, CHUNK), problem.tester(pool, CHUNK))
    )
    return Merge(
        what=f"{spec.method}, weight {spec.weight:.2f}, density {spec.density:.2f}",
        validation=validation.reward("score"),
        test=test.reward("score"),
        tasks=_percent(test),
    )


def _found(outcome: Outcome, problem: Problem, seconds: float) -> Arm:
    """What a search is worth: its finalist that is best on the validation images, on the test images."""
    evaluator, tester = problem.evaluator(outcome.pool, CHUNK), problem.tester(outcome.pool, CHUNK)
    chosen, validation, test = outcome.architecture, outcome.validation, outcome.test
    if outcome.sampled is not None:
        # rewarded on training images: the choice among its finalists is still made on validation images, the kinder
        # reading
        finalists = [(each, evaluator.result(each)) for each, _ in outcome.finalists]
        chosen, validation = max(finalists, key=lambda pair: pair[1].reward("score"))
        test = tester.result(chosen)
    return Arm(
        cpu_seconds=seconds,
        validation=validation.reward("score"),
        test=test.reward("score"),
        tasks=_percent(test),
        sampled=outcome.sampled,
        rewards=tuple(episode.raw for episode in outcome.episodes),
        evaluated=outcome.evaluated,
        length=len(chosen.blocks) if isinstance(chosen, Blocks) else len(chosen.values),
    )


def _percent(result: Result) -> tuple[float, ...]:
    return tuple(100 * score for score in result.scores)


def _experts(problem: Problem) -> tuple[float, ...]:
    """Every expert on its own task's test images: what no merge can be expected to beat."""
    tester = problem.tester(problem.pool([], 0), CHUNK)
    return tuple(
        100 * tester.mean(tester.items(whole(flat, problem.layout))).scores[number]
        for number, flat in enumerate(problem.experts)
    )


def _picture(outcome: Outcome, problem: Problem) -> Picture:
    return Picture(
        architecture=outcome.architecture.to_plain(),
        candidates=tuple(outcome.pool.names),
        layers=tuple(problem.layout.lengths),
    )


def _update_seconds(session: Session) -> float:
    """CPU seconds of the agent's learning, an episode: what an evaluation however cheap does not save."""
    batch = session.searcher.batch
    session.searcher.ask(batch)
    start = time.process_time()
    session.searcher.tell([50.0 + number for number in range(batch)])
    return (time.process_time() - start) / batch
