"""From a recipe to a plan: every read and write decided beforehand, one step an output tensor.

Opens headers and tokenizers, never weights. What can be refused is refused here, before anything is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xxhash

from burnish.core.errors import UserError
from burnish.core.yaml_marks import KeyPath
from burnish.merge.compatibility import check_alike
from burnish.merge.config import MergeConfig, Reference
from burnish.merge.methods.method import MergeMethod
from burnish.merge.methods.registry import get
from burnish.merge.parameters import check_names, resolve_parameters
from burnish.merge.safetensors_file import DTYPE_CODE, DTYPE_NAME, ITEM_SIZE, make_header
from burnish.merge.selection import Group, Member, Selection
from burnish.merge.sources import Checkpoint
from burnish.merge.statistics_file import StatisticsFile
from burnish.merge.steps import COPY, MergePlan, Shard, Step
from burnish.merge.vocabulary import Rows, Vocabulary


def make_plan(config: MergeConfig, *, threads: int, shard_size: int, device: str = "cpu") -> MergePlan:
    """Read headers and tokenizers and decide every step.

    Raises:
        UserError: anything about the recipe or the models that would stop the merge.
    """
    try:
        method = get(config.merge_method, config.folder)
    except UserError as error:
        raise UserError(f"{config.where('merge_method')}: {error}") from None
    check_names(config, method)
    checkpoints = tuple(_open(config, *place) for place in config.places().items())
    check_alike(checkpoints)
    selection = Selection(config, checkpoints)
    vocabulary = None
    if config.tokenizer or config.tokenizer_source:
        vocabulary = Vocabulary(config, checkpoints, base=0)
    groups = list(selection.groups())
    if not groups:
        raise UserError(f"{config.where()}: the merge has no tensors; the slices are empty")
    statistics = _statistics_files(config, method, groups)
    drafts = [_draft(config, method, group, checkpoints, vocabulary, device, statistics) for group in groups]
    if method.statistics and not any(draft["statistics"] and None not in draft["statistics"] for draft in drafts):
        raise UserError(
            f"{config.where()}: no tensor has statistics from every model; gather them again for these models"
        )
    shards, placed = _place(drafts, shard_size)
    return MergePlan(config, method, checkpoints, placed, shards, selection, vocabulary, threads, device)


def _draft(
    config: MergeConfig,
    method: MergeMethod,
    group: Group,
    checkpoints: Sequence[Checkpoint],
    vocabulary: Vocabulary | None,
    device: str,
    statistics: Mapping[tuple[str, int], StatisticsFile],
) -> dict[str, Any]:
    members, has_base = _ordered(method, group)
    dtypes = [member.source.info.dtype for member in members]
    floating = [code in DTYPE_NAME for code in dtypes]
    draft: dict[str, Any] = {
        "name": group.name,
        "models": tuple(member.model for member in members),
        "sources": tuple(member.source for member in members),
        "has_base": has_base,
        "seed": xxhash.xxh3_64_intdigest(f"{config.seed}/{group.name}".encode()) >> 1,
        "rows": None,
        "kernel": None,
        "statistics": (),
    }
    shapes = [member.source.info.shape for member in members]
    if vocabulary and group.vocabulary:
        rows = vocabulary.rows_for([member.model for member in members])
        given = shapes
        shapes = [_aligned(group, rows, shape) for shape in given]
        # Rows that all stay may still be fewer than a model has: its last ones are then cut off.
        if shapes != given or not rows.identity:
            draft["rows"] = rows
    if len(set(shapes)) > 1:
        raise _shapes_differ(group, members, checkpoints)
    draft["shape"] = shapes[0]
    if not any(floating):
        if len(set(dtypes)) > 1:
            raise UserError(
                f"{group.where}: tensor {group.name!r} is {' and '.join(sorted(set(dtypes)))}; cannot be mixed"
            )
        if dtypes[0].startswith("F8"):
            raise UserError(
                f"{group.where}: tensor {group.name!r} is {dtypes[0]} (quantised); dequantise the model first"
            )
        return draft | {"action": COPY, "dtype": dtypes[0], "model_parameters": {}, "parameters": {}}
    if not all(floating) or "F64" in dtypes:
        kinds = " and ".join(sorted(set(dtypes)))
        raise UserError(f"{group.where}: tensor {group.name!r} is {kinds}; a merge takes bfloat16, float16 and float32")
    shared, per_model = resolve_parameters(
        config, method, group, [member for member in members if not member.base or not has_base]
    )
    promoted = dtypes[0] if len(set(dtypes)) == 1 else "F32"
    draft["dtype"] = DTYPE_CODE[config.out_dtype or config.dtype or DTYPE_NAME[promoted]]
    if method.statistics:
        files = [statistics[str(member.statistics), member.model] for member in members[has_base:]]
        axis = None
        if "input_axis" in shared:
            axis = shared["input_axis"]
            axis = shared["input_axis"] = files[0].input_axis(members[0].name) if axis is None else axis
        draft["statistics"] = tuple(
            file.find(member.name, shape, axis)
            for file, member, shape in zip(files, members[has_base:], shapes[has_base:], strict=True)
        )
    plain = len(set(dtypes)) == 1 and dtypes[0] == draft["dtype"] and not any(member.source.lora for member in members)
    if plain and draft["rows"] is None and method.name == "passthrough" and per_model["scale"] == (None,):
        return draft | {"action": COPY, "model_parameters": {}, "parameters": {}}
    if plain and device == "cpu" and (draft["rows"] is None or draft["rows"].exact):
        from burnish.merge.kernels import kernel

        # Inputs of one dtype that the result has too: float32 arithmetic on exact copies, one rounding. A wider merge
        # dtype changes nothing, and rounding the inputs to a narrower one first would only lose digits.
        if kernel(method.name, DTYPE_NAME[draft["dtype"]]) is not None:
            draft["kernel"] = DTYPE_NAME[draft["dtype"]]
    return draft | {"action": method.name, "model_parameters": per_model, "parameters": shared}


def _open(config: MergeConfig, reference: Reference, place: KeyPath) -> Checkpoint:
    try:
        return Checkpoint(reference)
    except UserError as error:
        raise UserError(f"{config.where(*place)}: {error}") from None


def _ordered(method: MergeMethod, group: Group) -> tuple[list[Member], bool]:
    """Inputs with the method's base first, and whether there is one; the number of models checked."""
    members = list(group.members)
    base = next((member for member in members if member.base), None)
    if method.base == "required" and group.base is None:
        raise UserError(f"{group.where}: {method.name} needs a base model; set `base_model`")
    if method.base != "unused" and group.base is not None and base is None:
        raise UserError(f"{group.where}: base_model {group.base} is not among the sources of the slice; add its layers")
    if method.base == "unused":
        base = None
    if base is not None:
        members = [base, *(member for member in members if member is not base)]
    count = len(members) - (base is not None)
    if count < method.min_models or (method.max_models is not None and count > method.max_models):
        besides = " besides the base" if base is not None else ""
        raise UserError(f"{group.where}: {method.name} needs {method.wants}{besides}; got {count}")
    return members, base is not None


def _aligned(group: Group, rows: Rows, shape: tuple[int, ...]) -> tuple[int, ...]:
    if not shape:
        raise UserError(f"{group.where}: tensor {group.name!r} has no axis for the vocabulary")
    return (rows.own.shape[1], *shape[1:])


def _shapes_differ(group: Group, members: Sequence[Member], checkpoints: Sequence[Checkpoint]) -> UserError:
    first = members[0]
    other = next(member for member in members if member.source.info.shape != first.source.info.shape)
    said = " and ".join(
        f"{list(member.source.info.shape)} in {checkpoints[member.model].reference}" for member in (first, other)
    )
    hint = "; align the vocabularies with `tokenizer: {source: base}` or union" if group.vocabulary else ""
    return UserError(f"{group.where}: tensor {group.name!r} is {said}{hint}")


def _statistics_files(
    config: MergeConfig, method: MergeMethod, groups: Sequence[Group]
) -> dict[tuple[str, int], StatisticsFile]:
    """The statistics that the models bring, by path and model: none for most methods, one a model for the others."""
    models = config.references()
    files: dict[tuple[str, int], StatisticsFile] = {}
    for group in groups:
        for member in group.members:
            model = str(models[member.model])
            if member.statistics is None and method.statistics:
                raise UserError(
                    f"{group.where}: {method.name} needs `statistics` for {model}; gather them with "
                    f"`burnish merge stats MODEL DATA OUT.safetensors --kind {method.statistics}`"
                )
            if member.statistics is not None and not method.statistics:
                raise UserError(f"{group.where}: {method.name} does not use the `statistics` of {model}; remove them")
            key = (str(member.statistics), member.model)
            if method.statistics and key not in files:
                files[key] = StatisticsFile(Path(key[0]).expanduser(), method.statistics, method.name, model)
    return files


def _place(drafts: Sequence[dict[str, Any]], shard_size: int) -> tuple[tuple[Shard, ...], tuple[Step, ...]]:
    """Fill shards in order, and give every tensor its offset."""
    bins: list[list[dict[str, Any]]] = [[]]
    filled = 0
    for draft in drafts:
        nbytes = math.prod(draft["shape"]) * ITEM_SIZE[draft["dtype"]]
        draft["nbytes"] = nbytes
        if bins[-1] and filled + nbytes > shard_size:
            bins.append([])
            filled = 0
        bins[-1].append(draft)
        filled += nbytes
    shards, steps = [], []
    for index, content in enumerate(bins):
        # The format has no padding between tensors: widest first keeps every tensor aligned.
        content.sort(key=lambda draft: -ITEM_SIZE[draft["dtype"]])
        header, offsets = make_header([(draft["name"], draft["dtype"], draft["shape"]) for draft in content])
        name = "model.safetensors" if len(bins) == 1 else f"model-{index + 1:05d}-of-{len(bins):05d}.safetensors"
        shards.append(Shard(name, header, len(header) + sum(draft["nbytes"] for draft in content)))
        steps += [Step(**draft, shard=index, offset=start) for draft, start in zip(content, offsets, strict=True)]
    return tuple(shards), tuple(steps)
