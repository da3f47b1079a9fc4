"""From a recipe to a plan: every read and write decided beforehand, one step an output tensor.

Opens headers and tokenizers, never weights. What can be refused is refused here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xxhash

from burnish.core.errors import UserError
from burnish.core.files import NotMade
from burnish.core.yaml_marks import KeyPath
from burnish.merge.compatibility import check_alike
from burnish.merge.config import MergeConfig
from burnish.merge.methods.method import MergeMethod
from burnish.merge.methods.registry import find
from burnish.merge.parameters import check_names, resolve_parameters
from burnish.merge.reference import Reference
from burnish.merge.safetensors_file import DTYPE_CODE, DTYPE_NAME, TensorInfo
from burnish.merge.selection import Group, Member, Selection
from burnish.merge.shards import fill_shards
from burnish.merge.sources import Checkpoint
from burnish.merge.statistics_file import StatisticsFile
from burnish.merge.steps import COPY, MergePlan, Shard, Step, TensorMerge
from burnish.merge.vocabulary import Rows, Vocabulary


def make_plan(config: MergeConfig, *, threads: int, shard_size: int, device: str = "cpu") -> MergePlan:
    """Read headers and tokenizers and decide every step.

    Raises:
        UserError: anything about the recipe or the models that would stop the merge.
    """
    try:
        method = find(config.merge_method, config.folder)
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
    planner = _Planner(config, method, checkpoints, vocabulary, device, _statistics_files(config, method, groups))
    merges = [planner.tensor(group) for group in groups]
    if method.statistics and not any(each.statistics and None not in each.statistics for each in merges):
        raise UserError(
            f"{config.where()}: no tensor has statistics from every model; gather them again for these models"
        )
    shards, placed = _place(merges, shard_size)
    return MergePlan(config, method, checkpoints, placed, shards, selection, vocabulary, threads, device)


@dataclass(frozen=True)
class _Planner:
    """What every tensor's plan rests on.

    Attributes:
        config: as the user wrote it.
        method: the merge method.
        checkpoints: the models, the reference first.
        vocabulary: the result's, if the config asks for one.
        device: where arithmetic without a compiled kernel runs.
        statistics: the files of statistics, by path and model.
    """

    config: MergeConfig
    method: MergeMethod
    checkpoints: Sequence[Checkpoint]
    vocabulary: Vocabulary | None
    device: str
    statistics: Mapping[tuple[str, int], StatisticsFile]

    def tensor(self, group: Group) -> TensorMerge:
        """How one tensor of the result is made.

        Raises:
            UserError: shapes or dtypes that cannot be mixed, or a parameter that is not set.
        """
        members, has_base = (list(group.members), False) if group.kept else _ordered(self.method, group)
        dtypes = sorted({member.source.info.dtype for member in members})
        shape, rows = self._shape(group, members)
        copied = TensorMerge(
            name=group.name,
            shape=shape,
            dtype=dtypes[0],
            action=COPY,
            kernel=None,
            models=tuple(member.model for member in members),
            sources=tuple(member.source for member in members),
            has_base=has_base,
            model_parameters={},
            parameters={},
            seed=xxhash.xxh3_64_intdigest(f"{self.config.seed}/{group.name}".encode()) >> 1,
            rows=rows,
            statistics=(),
        )
        if group.kept:
            _check_copied(group, members[0], rows)
        if group.kept or not _is_mixed(group, dtypes):
            return copied
        shared, per_model = resolve_parameters(
            self.config, self.method, group, [member for member in members if not member.base or not has_base]
        )
        shared = self._with_input_axis(members[has_base:], shared)
        promoted = dtypes[0] if len(dtypes) == 1 else "F32"
        dtype = DTYPE_CODE[self.config.out_dtype or self.config.dtype or DTYPE_NAME[promoted]]
        plain = dtypes == [dtype] and not any(member.source.lora for member in members)
        if plain and rows is None and self.method.name == "passthrough" and per_model["scale"] == (None,):
            return replace(copied, dtype=dtype)
        return replace(
            copied,
            dtype=dtype,
            action=self.method.name,
            kernel=self._kernel(DTYPE_NAME[dtype], rows) if plain else None,
            model_parameters=per_model,
            parameters=shared,
            statistics=self._statistics(members[has_base:], shape, shared),
        )

    def _shape(self, group: Group, members: Sequence[Member]) -> tuple[tuple[int, ...], Rows | None]:
        """The result's shape, and how rows of the vocabulary are aligned, if they must be."""
        given = [member.source.info.shape for member in members]
        shapes, rows = given, None
        if self.vocabulary and group.vocabulary:
            found = self.vocabulary.rows_for([member.model for member in members])
            shapes = [_aligned(group, found, shape) for shape in given]
            # Rows that all stay may still be fewer than a model has: its last ones are then cut off.
            rows = None if shapes == given and found.identity else found
        if len(set(shapes)) > 1:
            raise _shapes_differ(group, members, self.checkpoints)
        return shapes[0], rows

    def _kernel(self, dtype: str, rows: Rows | None) -> str | None:
        """The compiled kernel's dtype for inputs of one dtype that the result has too, or `None`.

        Float32 arithmetic on exact copies, one rounding: a wider merge dtype changes nothing, and rounding the inputs
        to a narrower one first would only lose digits.
        """
        from burnish.merge.kernels import kernel

        if self.device != "cpu" or not (rows is None or rows.exact):
            return None
        return None if kernel(self.method.name, dtype) is None else dtype

    def _with_input_axis(self, members: Sequence[Member], parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters with the input axis that the statistics' file names, where the user set none."""
        if not self.method.statistics or parameters.get("input_axis", 0) is not None:
            return parameters
        first = members[0]
        return {**parameters, "input_axis": self.statistics[str(first.statistics), first.model].input_axis(first.name)}

    def _statistics(
        self, members: Sequence[Member], shape: tuple[int, ...], parameters: Mapping[str, Any]
    ) -> tuple[TensorInfo | None, ...]:
        """Where the statistics of each model lie; nothing for a method that uses none."""
        if not self.method.statistics:
            return ()
        files = [self.statistics[str(member.statistics), member.model] for member in members]
        axis = parameters.get("input_axis")
        return tuple(file.find(member.name, shape, axis) for file, member in zip(files, members, strict=True))


def _is_mixed(group: Group, dtypes: Sequence[str]) -> bool:
    """Whether the method mixes tensors of these dtypes (all float), or they are copied (none is).

    Raises:
        UserError: some are, or they are of a dtype that cannot be mixed.
    """
    kinds = " and ".join(dtypes)
    floating = [code in DTYPE_NAME for code in dtypes]
    if not any(floating):
        if len(dtypes) > 1:
            raise UserError(f"{group.where}: tensor {group.name!r} is {kinds}; cannot be mixed")
        if dtypes[0].startswith("F8"):
            raise UserError(f"{group.where}: tensor {group.name!r} is {kinds} (quantised); dequantise the model first")
        return False
    if not all(floating) or "F64" in dtypes:
        raise UserError(f"{group.where}: tensor {group.name!r} is {kinds}; a merge takes bfloat16, float16 and float32")
    return True


def _check_copied(group: Group, member: Member, rows: Rows | None) -> None:
    """Refuse to copy what would have to be changed: a head's tensor with an adapter, or of another vocabulary."""
    if member.source.lora is not None or rows is not None:
        what = "has an adapter" if rows is None else "follows the vocabulary"
        raise UserError(
            f"{group.where}: tensor {group.name!r} {what}, but not every model has it; merge models of one class"
        )


def _open(config: MergeConfig, reference: Reference, place: KeyPath) -> Checkpoint:
    try:
        return Checkpoint(reference)
    except NotMade:
        raise
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
                    f"`burnish merge stats`, kind {method.statistics}"
                )
            if member.statistics is not None and not method.statistics:
                raise UserError(f"{group.where}: {method.name} does not use the `statistics` of {model}; remove them")
            key = (str(member.statistics), member.model)
            if method.statistics and key not in files:
                files[key] = StatisticsFile(Path(key[0]).expanduser(), method.statistics, method.name, model)
    return files


def _place(merges: Sequence[TensorMerge], shard_size: int) -> tuple[tuple[Shard, ...], tuple[Step, ...]]:
    """Fill shards in order, and give every tensor its offset."""
    shards, steps = [], []
    for index, filled in enumerate(fill_shards(merges, shard_size)):
        shards.append(Shard(filled.name, filled.header, filled.nbytes))
        steps += [
            Step(**vars(merge), shard=index, offset=start)
            for merge, start in zip(filled.items, filled.offsets, strict=True)
        ]
    return tuple(shards), tuple(steps)
