"""Merge models: mergekit's YAML in, a Hugging Face folder out. `import burnish.merge` costs nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.merge.methods.own import merge_method

if TYPE_CHECKING:
    from burnish.core.recipe import Overrides
    from burnish.core.run import Run
    from burnish.merge.config import MergeConfig
    from burnish.merge.rmm.recipe import SearchRecipe
    from burnish.merge.steps import MergePlan

__all__ = ["collect_statistics", "merge", "merge_method", "plan", "search"]


def search(recipe: SearchRecipe, run: Run) -> Path:
    """Layer-wise merge search in a run folder: Reinforced Model Merging and its rivals.

    Examples:
        >>> from burnish.core.run import Run
        >>> from burnish.merge.rmm.recipe import SearchRecipe
        >>> parts = {"validation": "vit-experts/data/a-validation.npz", "test": "vit-experts/data/a-test.npz"}
        >>> recipe = SearchRecipe(
        ...     base="vit-experts/models/base",
        ...     experts=["vit-experts/models/expert-a", "vit-experts/models/expert-b"],
        ...     tasks=[{"name": "a", **parts}],
        ...     budget=4,
        ...     tuning_budget=2,
        ... )
        >>> with Run(recipe, "searched") as run:
        ...     search(recipe, run)
        PosixPath('searched/artifacts/model')

    Returns:
        The folder of the merged checkpoint.

    Raises:
        UserError: models, data or settings that do not go together, in one line.
        Interrupted: a stop signal came; the same run goes on.
    """
    from burnish.merge.rmm import METHOD

    path: Path = METHOD.load("run")(recipe, run)
    return path


def plan(
    config: str | Path | Mapping[str, Any] | MergeConfig,
    *,
    overrides: Overrides = (),
    threads: int | None = None,
    device: str = "cpu",
    shard_size: str | int = "5GB",
) -> MergePlan:
    """What a merge would do: reads, tensors, writes, peak memory, seconds. Starts nothing.

    Examples:
        >>> halves = [{"model": "tiny", "parameters": {"weight": weight}} for weight in (0.3, 0.7)]
        >>> plan({"merge_method": "linear", "models": halves}).rows()[0]
        {'what': 'method', 'value': 'linear (arXiv:2203.05482)'}

    Args:
        config: a YAML file (mergekit's format), YAML text, a mapping, or a config.
        overrides: keys that replace the config's, ``["parameters.weight=0.5"]`` or ``{"parameters.weight": 0.5}``.
        threads: workers; none: the machine's cores.
        device: where arithmetic without a compiled kernel runs.
        shard_size: largest output file, `500MB`, `5GB`, `2GiB` or a number of bytes.

    Raises:
        UserError: anything about the recipe or the models that would stop the merge, in one line.
    """
    from burnish.merge.config import MergeConfig
    from burnish.merge.output import parse_size, worker_count
    from burnish.merge.planning import make_plan

    loaded = MergeConfig.load(config, overrides)
    return make_plan(loaded, threads=worker_count(threads), shard_size=parse_size(shard_size), device=device)


def merge(
    config: str | Path | Mapping[str, Any] | MergeConfig,
    out: str | Path,
    *,
    overrides: Overrides = (),
    threads: int | None = None,
    device: str = "cpu",
    allow_nan: bool = False,
    shard_size: str | int = "5GB",
    fresh: bool = False,
    progress: bool = True,
) -> Path:
    """Merge models into the folder `out`, which appears whole or not at all. Run again after a kill, it goes on.

    Examples:
        >>> halves = [{"model": "tiny", "parameters": {"weight": weight}} for weight in (0.3, 0.7)]
        >>> merge({"merge_method": "linear", "models": halves, "dtype": "float32"}, "merged").name
        'merged'

    Args:
        config: a YAML file (mergekit's format), YAML text, a mapping, or a config.
        out: the folder of the merged model; a finished merge of the same recipe is left as it is.
        overrides: as `plan` takes them.
        threads: workers; none: the machine's cores. The result does not depend on it.
        device: where arithmetic without a compiled kernel runs: `cpu`, `cuda`, `cuda:1`, `mps`.
        allow_nan: go on when a weight is NaN or infinite.
        shard_size: largest output file, `500MB`, `5GB`, `2GiB` or a number of bytes.
        fresh: throw an unfinished or an earlier merge in `out` away first.
        progress: show how far it is, on stderr.

    Returns:
        The folder.

    Raises:
        UserError: what is wrong with recipe, models or `out`, in one line.
        BurnishError: the disk is full or fails; what is finished stays for the next try.
    """
    from burnish.merge.output import write_merge

    made = plan(config, overrides=overrides, threads=threads, device=device, shard_size=shard_size)
    return write_merge(made, Path(out), device=device, allow_nan=allow_nan, fresh=fresh, progress=progress)


def collect_statistics(
    model: str | Path, data: str | Path, out: str | Path, *, kind: str = "gram", limit: int = 256, device: str = "cpu"
) -> Path:
    """Gather what `regmean` (Gram matrices of layer inputs) or `fisher` (squared gradients) need from unlabeled data.

    Examples:
        >>> collect_statistics("tiny", "lines.txt", "gram.safetensors", limit=4).name
        'gram.safetensors'

    Args:
        model: a model folder or hub id.
        data: `.txt` (an example a line), `.jsonl` (with `text`), or a folder of images.
        out: the `.safetensors` file to write, or a folder for it.
        kind: `gram`, forward passes only, or `fisher`.
        limit: examples to use.
        device: where the model runs.

    Returns:
        The file.

    Raises:
        UserError: a model or data that cannot be read, or an unknown kind.
    """
    from burnish.merge.statistics import collect

    return collect(str(model), Path(data), Path(out), kind=kind, limit=limit, device=device)
