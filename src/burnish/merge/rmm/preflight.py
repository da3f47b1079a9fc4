"""What a search recipe would do, from configs and file sizes. Loads no weights, starts nothing."""

import math
from typing import Any

from burnish.core.embedded import located
from burnish.core.errors import UserError
from burnish.core.forecast import PAGE, TORCH, Forecast, checkpoint_bytes
from burnish.core.hardware import flops_per_second
from burnish.core.method import import_object
from burnish.core.models import read_config, resolve
from burnish.merge.methods import registry
from burnish.merge.rmm.files import tensors
from burnish.merge.rmm.recipe import POLICIES, SearchRecipe
from burnish.merge.rmm.tuning import grid

POLICY_BYTES = 165_000
"""A checkpoint of a search by reinforcement learning: its policy and optimizer (measured); others keep some vectors."""
ITEMS = 1000
"""Items of a task, where reading them would be more than a look: a guess."""
EFFICIENCY = 0.05
"""Part of a matrix product's rate that small models reach, an item counted as one pass over all weights."""
LEAST_SECONDS = 0.06
"""An evaluation of the smallest models (rmm/tiny: .08 CPU seconds on a busy machine, start and report included)."""


def check(recipe: SearchRecipe) -> list[tuple[str, Any]]:
    """Rows for ``burnish check``.

    Raises:
        UserError: a model, data file, merge method or scoring function that does not exist, or models of different
            kinds.
    """
    folders = {name: resolve(name.partition("+")[0]) for name in (recipe.base, *recipe.experts)}
    kinds = {name: (read_config(folder).get("architectures") or ["?"])[0] for name, folder in folders.items()}
    for name, kind in kinds.items():
        if "+" not in name and kind != kinds[recipe.base]:
            raise UserError(f"experts: {name} is a {kind}, the base {recipe.base} a {kinds[recipe.base]}")
    for task in recipe.tasks:
        for path in (task.validation, task.test):
            if not located(path).exists():
                raise UserError(f"tasks: {task.name}: {path}: no such file")
        if ":" in task.score:
            import_object(task.score, f"tasks: {task.name}: score")
    for spec in recipe.candidates:
        registry.get(spec.method)
    tuning = len(grid(recipe))
    return [
        ("model", f"{kinds[recipe.base]}, {len(recipe.experts)} experts, {len(recipe.candidates)} uniform merges"),
        ("search", f"{recipe.search} over {recipe.actions}, objective {recipe.objective}"),
        (
            "evaluations",
            f"{tuning} tuning the uniform merges, {recipe.budget} searching, {recipe.finalists} again in full",
        ),
        (
            "subset",
            recipe.subset
            if recipe.subset_fraction == 1
            else f"{recipe.subset}, {recipe.subset_fraction:.1%} of the items",
        ),
        ("workers", f"{recipe.workers} ({recipe.executor})"),
        ("models", f"up to {memory(recipe) / 1e9:.2f} GB a worker for all of them in float32"),
        *forecast(recipe, tuning + recipe.budget + recipe.finalists).rows(),
    ]


def forecast(recipe: SearchRecipe, evaluations: int) -> Forecast:
    """What the search will take; an item counts as one pass over all weights.

    Args:
        recipe: what is searched.
        evaluations: of whole models.
    """
    size = numbers(recipe)
    items = ITEMS * len(recipe.tasks) * recipe.subset_fraction
    each = max(LEAST_SECONDS, 2.0 * size * items / (EFFICIENCY * flops_per_second()))
    seconds = evaluations * each / recipe.workers
    state = POLICY_BYTES if recipe.search in POLICIES else PAGE // 10
    return Forecast(
        memory_bytes=TORCH + memory(recipe),
        disk_bytes=PAGE + 4 * size * (1 + (recipe.actions == "blocks")) + checkpoint_bytes(recipe, state, seconds),
        seconds=seconds,
    )


def numbers(recipe: SearchRecipe) -> int:
    """Weights of one model."""
    return sum(math.prod(info.shape) for info in tensors(recipe.base).values())


def memory(recipe: SearchRecipe) -> int:
    """Bytes that one process of a search takes at most: float32 copies of the model.

    While reading: base and experts as modules, as vectors, and the experts again as rows of one matrix. While
    searching: the base, its running copy and its vector, the experts, and either the merges (twice while they are made)
    or the experts' task vectors.
    """
    experts = len(recipe.experts)
    searching = 3 + experts + (2 * len(recipe.candidates) if recipe.actions == "blocks" else experts)
    return 4 * numbers(recipe) * max(2 + 3 * experts, searching)


def refuse_too_large(recipe: SearchRecipe) -> None:
    """Before anything is read.

    Raises:
        UserError: the search needs more memory than this machine has free.
    """
    import psutil

    here = 1 + (recipe.workers if recipe.workers > 1 and recipe.executor == "local" else 0)
    needed, free = here * memory(recipe), psutil.virtual_memory().available
    if needed > free:
        scales = "search: cma and actions: scales" if recipe.search in POLICIES else "actions: scales"
        cure = f"set {scales}, or fewer candidates" if recipe.actions == "blocks" else "search fewer experts"
        cure += ", or fewer workers" if here > 1 else ""
        raise UserError(
            f"experts: the search needs up to {needed / 1e9:.1f} GB of memory for {1 + len(recipe.experts)} models in "
            f"float32 and what is made of them; {free / 1e9:.1f} GB are free: {cure}, or take a larger machine"
        )
