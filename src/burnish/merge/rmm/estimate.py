"""What a search recipe would do, from configs and file sizes. Loads no weights, starts nothing."""

from pathlib import Path

from burnish.core.errors import UserError
from burnish.core.methods import import_object
from burnish.core.models import read_config, resolve
from burnish.merge.methods import registry
from burnish.merge.rmm.recipe import SearchRecipe
from burnish.merge.rmm.tuning import grid


def check(recipe: SearchRecipe) -> list[tuple[str, str]]:
    """Rows for ``burnish check``.

    Raises:
        UserError: a model, data file, merge method or scoring function that does not exist, or models of different kinds.
    """
    folders = {name: resolve(name.partition("+")[0]) for name in (recipe.base, *recipe.experts)}
    kinds = {name: (read_config(folder).get("architectures") or ["?"])[0] for name, folder in folders.items()}
    for name, kind in kinds.items():
        if "+" not in name and kind != kinds[recipe.base]:
            raise UserError(f"experts: {name} is a {kind}, the base {recipe.base} a {kinds[recipe.base]}")
    for task in recipe.tasks:
        for path in (task.validation, task.test):
            if not Path(path).exists():
                raise UserError(f"tasks: {task.name}: {path}: no such file")
        if ":" in task.score:
            import_object(task.score, f"tasks: {task.name}: score")
    for spec in recipe.candidates:
        registry.get(spec.method)
    stored = sum(file.stat().st_size for file in folders[recipe.base].glob("*.safetensors"))
    models = 1 + len(recipe.experts) + len(recipe.candidates)
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
        (
            "memory",
            f"up to {2 * models * stored / 1e9:.2f} GB a worker for the candidates in float32, {recipe.cache_mb} MB cache",
        ),
    ]
