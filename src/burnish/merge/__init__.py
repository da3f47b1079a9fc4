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
    from burnish.merge.extract import Extraction
    from burnish.merge.moe.config import MoEConfig
    from burnish.merge.rmm.recipe import SearchRecipe
    from burnish.merge.steps import MergePlan
    from burnish.merge.transplant.build import Approximation, Transplant

__all__ = ["collect_statistics", "extract_lora", "merge", "merge_method", "moe_merge", "plan", "search", "tokensurgeon"]


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
    intermediate: str | Path | None = None,
) -> Path:
    """Merge models into the folder `out`, which appears whole or not at all. Run again after a kill, it goes on.

    Examples:
        >>> halves = [{"model": "tiny", "parameters": {"weight": weight}} for weight in (0.3, 0.7)]
        >>> merge({"merge_method": "linear", "models": halves, "dtype": "float32"}, "merged").name
        'merged'

    Args:
        config: a YAML file (mergekit's format, also of several documents), YAML text, a mapping, or a config.
        out: the folder of the merged model; a finished merge of the same recipe is left as it is.
        overrides: as `plan` takes them; of several documents they are the result's.
        threads: workers; none: the machine's cores. The result does not depend on it.
        device: where arithmetic without a compiled kernel runs: `cpu`, `cuda`, `cuda:1`, `mps`.
        allow_nan: go on when a weight is NaN or infinite.
        shard_size: largest output file, `500MB`, `5GB`, `2GiB` or a number of bytes.
        fresh: throw an unfinished or an earlier merge in `out` away first.
        progress: show how far it is, on stderr.
        intermediate: for a file of several documents, where the named merges go; none: `OUT-parts` beside `out`.

    Returns:
        The folder.

    Raises:
        UserError: what is wrong with recipe, models or `out`, in one line.
        BurnishError: the disk is full or fails; what is finished stays for the next try.
    """
    from burnish.merge.documents import chain
    from burnish.merge.output import write_merge

    parts = None if intermediate is None else Path(intermediate)
    for link in chain(config, Path(out), parts, overrides):
        # A named merge must be on the disk before what builds on it can be planned.
        made = plan(link.config, threads=threads, device=device, shard_size=shard_size)
        written = write_merge(made, link.out, device=device, allow_nan=allow_nan, fresh=fresh, progress=progress)
    return written


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


def extract_lora(
    model: str | Path,
    base: str | Path,
    out: str | Path,
    *,
    rank: int | None = 32,
    energy: float | None = None,
    device: str = "cpu",
) -> Extraction:
    """Store a fine-tune as a LoRA adapter on its base, by singular value decomposition of each weight's change.

    Linear layers and embeddings become low-rank, other modules that changed are stored whole, changed biases go with
    their layer. PEFT loads the adapter; a merge takes it as `base+adapter`.

    Examples:
        >>> louder = [{"model": "tiny", "parameters": {"scale": 1.1}}]
        >>> tuned = merge({"merge_method": "passthrough", "models": louder}, "tuned")
        >>> found = extract_lora(tuned, "tiny", "adapter", rank=8)
        >>> found.path.name, found.rank, 0 < found.error < 1
        ('adapter', 8, True)

    Args:
        model: the fine-tune: a folder or hub id, perhaps `model+adapter`.
        base: the model that it started from.
        out: the folder of the adapter; must not exist.
        rank: the highest rank; none: what `energy` asks for.
        energy: the share of each weight's squared singular values to keep, above 0 and up to 1; 1 loses nothing. None:
            the rank alone decides.
        device: where the decomposition runs: `cpu`, `cuda`.

    Returns:
        The folder, the highest rank, and the error: what the adapter lacks of the change (relative Frobenius norm), in
        all and by module.

    Raises:
        UserError: models that do not go together, or settings that are no rank and no share.
        BurnishError: the disk is full or fails.
    """
    from burnish.merge.extract import extract

    return extract(str(model), str(base), Path(out), rank=rank, energy=energy, device=device)


def moe_merge(
    config: str | Path | Mapping[str, Any] | MoEConfig,
    out: str | Path,
    *,
    shard_size: str | int = "5GB",
    progress: bool = True,
) -> Path:
    """Make dense models the experts of one mixture (Mixtral, Qwen2-MoE, Qwen3-MoE), in mergekit-moe's format.

    Examples:
        >>> experts = [
        ...     {"source_model": "tiny", "positive_prompts": ["one two three"]},
        ...     {"source_model": "tuned", "positive_prompts": ["a b c"]},
        ... ]
        >>> moe_merge({"base_model": "tiny", "experts": experts, "gate_mode": "cheap_embed"}, "mixture").name
        'mixture'

    Args:
        config: a YAML file, YAML text, a mapping, or a config.
        out: the folder of the mixture; must not exist.
        shard_size: largest output file, `500MB`, `5GB`, `2GiB` or a number of bytes.
        progress: show how far it is, on stderr.

    Returns:
        The folder.

    Raises:
        UserError: what is wrong with the recipe, the models or `out`, in one line.
        BurnishError: the disk is full or fails.
    """
    from burnish.merge.moe.build import build
    from burnish.merge.moe.config import MoEConfig

    return build(MoEConfig.load(config), Path(out), shard_size=shard_size, progress=progress)


def tokensurgeon(
    model: str | Path,
    donor: str | Path,
    out: str | Path,
    *,
    method: Approximation = "omp",
    neighbours: int = 64,
    shard_size: str | int = "5GB",
    progress: bool = True,
) -> Transplant:
    """Give a model another model's tokenizer, without training.

    Rows of tokens that both have are kept. Every other token's row in the donor is written as a combination of shared
    tokens' rows; the same combination of the model's rows is the new row.

    Examples:
        >>> found = tokensurgeon("tiny", "ways", "transplanted", neighbours=8, progress=False)
        >>> found.path.name, found.kept > 0
        ('transplanted', True)

    Args:
        model: keeps its network: a folder or hub id, perhaps `model+adapter`.
        donor: gives the tokenizer.
        out: the folder of the result; must not exist.
        method: `omp`, orthogonal matching pursuit (arXiv:2506.06607), or `interpolation` between the nearest tokens.
        neighbours: shared tokens a row is made of.
        shard_size: largest output file, `500MB`, `5GB`, `2GiB` or a number of bytes.
        progress: show how far it is, on stderr.

    Returns:
        The folder, how many rows were kept and rebuilt, and how much of the rebuilt ones is lost.

    Raises:
        UserError: a model without `tokenizer.json`, tokenizers without a shared token, or `out` exists.
        BurnishError: the disk is full or fails.
    """
    from burnish.merge.transplant.build import build

    return build(
        str(model),
        str(donor),
        Path(out),
        method=method,
        neighbours=neighbours,
        shard_size=shard_size,
        progress=progress,
    )
