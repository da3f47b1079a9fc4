"""Uniform merges, every method tuned by the same share of a budget: baselines, warm start and candidates of a
search."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from burnish.core.errors import UserError
from burnish.merge.rmm.assemble import Weights
from burnish.merge.rmm.candidates import merge, tunable, whole
from burnish.merge.rmm.evaluate import Evaluator
from burnish.merge.rmm.outcome import MergeResult
from burnish.merge.rmm.problem import Problem
from burnish.merge.rmm.recipe import MergeCandidate, SearchRecipe
from burnish.merge.rmm.reward import Subset, everything, leading

DENSITIES = (1.0, 0.6, 0.3, 0.1)


@dataclass(frozen=True)
class Tuned:
    """Parameters tried and the reward they got."""

    spec: MergeCandidate
    reward: float


def grid(recipe: SearchRecipe) -> list[MergeCandidate]:
    """What tuning tries: as many settings for each method, spread evenly over weight and (where it counts) density."""
    share = recipe.tuning_budget // max(1, len(recipe.candidates))
    return [setting for spec in recipe.candidates for setting in _settings(spec, share, recipe.max_weight)]


def _settings(spec: MergeCandidate, count: int, max_weight: float) -> list[MergeCandidate]:
    knobs = tunable(spec)
    if count == 0 or not knobs:
        return [spec] if count else []
    densities: Sequence[float] = (spec.density,)
    if "density" in knobs:
        densities = DENSITIES[: max(1, min(len(DENSITIES), int(np.sqrt(count))))]
    weights = count // len(densities)
    values = [max_weight * (number + 1) / weights for number in range(weights)]
    return [spec.model_copy(update={"weight": w, "density": d}) for d in densities for w in values]


def best_of(tuned: Sequence[Tuned]) -> list[MergeCandidate]:
    """The best setting of each method (told apart by method, normalize and trim), in the order they were tried."""
    best: dict[tuple[str, bool, str], Tuned] = {}
    for each in tuned:
        key = (each.spec.method, each.spec.normalize, each.spec.trim)
        if key not in best or each.reward > best[key].reward:
            best[key] = each
    return [each.spec for each in best.values()]


def tuned_uniform(problem: Problem, recipe: SearchRecipe, evaluations: int) -> list[MergeResult]:
    """Uniform merges with a whole budget for their own parameters: the rival of a search at equal evaluations.

    Args:
        problem: models and tasks.
        recipe: candidates, ``max_weight``, objective, subset fraction, seed; its budgets play no part.
        evaluations: shared evenly by the recipe's candidates, on the grid that a search tunes with.

    Returns:
        Every candidate at its best setting, on the whole validation set and the test set, best on validation first.

    Raises:
        UserError: fewer evaluations than candidates.
    """
    settings = grid(recipe.model_copy(update={"tuning_budget": evaluations}))
    if not settings:
        raise UserError(f"{evaluations} evaluations cannot tune {len(recipe.candidates)} candidates: one each at least")
    pool = problem.pool([], recipe.seed)
    validator, tester = problem.evaluator(pool, recipe.chunk), problem.tester(pool, recipe.chunk)
    subset = fixed_subset(recipe, problem.sizes)
    tried = []
    for spec in settings:
        result = validator.mean(validator.items(merged(spec, problem, recipe.seed), subset))
        tried.append(Tuned(spec, result.reward(recipe.objective)))
    return merge_results(best_of(tried), problem, recipe, validator, tester)


def merge_results(
    specs: Sequence[MergeCandidate], problem: Problem, recipe: SearchRecipe, validator: Evaluator, tester: Evaluator
) -> list[MergeResult]:
    """Uniform merges on all validation and test items, best on validation first."""
    results = []
    for spec in specs:
        key = (spec, recipe.seed, recipe.chunk)
        if key not in problem.merge_results:
            weights = merged(spec, problem, recipe.seed)
            problem.merge_results[key] = MergeResult(
                spec, *(each.mean(each.items(weights)) for each in (validator, tester))
            )
        results.append(problem.merge_results[key])
    return sorted(results, key=lambda each: -each.validation.reward(recipe.objective))


def fixed_subset(recipe: SearchRecipe, sizes: Sequence[int]) -> Subset:
    """The same items for every merge: all, or the first of each task."""
    if recipe.subset_fraction < 1:
        return leading(sizes, recipe.subset_fraction, recipe.chunk)
    return everything(sizes, recipe.chunk)


def merged(spec: MergeCandidate, problem: Problem, seed: int) -> Weights:
    """A uniform merge as a whole model, its own stem included."""
    flat = merge(spec, problem.base, problem.experts, problem.layout, seed)
    return whole(flat, problem.layout)
