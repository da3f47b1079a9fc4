"""Uniform merges, every method tuned by the same share of a budget: baselines, warm start and candidates of a search."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from burnish.merge.rmm.assemble import Weights
from burnish.merge.rmm.candidates import merge, tunable, whole
from burnish.merge.rmm.problem import Problem
from burnish.merge.rmm.recipe import MergeCandidate, SearchRecipe

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


def merged(spec: MergeCandidate, problem: Problem, seed: int) -> Weights:
    """A uniform merge as a whole model, its own stem included."""
    flat = merge(spec, problem.base, problem.experts, problem.layout, seed)
    return whole(flat, problem.layout, repr(spec))
