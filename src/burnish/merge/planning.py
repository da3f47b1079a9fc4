"""The merge as an immutable list of steps, one an output tensor, with every read and write decided beforehand.

Opens headers and tokenizers, never weights. What can be refused is refused here, before anything is written.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xxhash

from burnish.core.errors import UserError
from burnish.merge.companions import small_files
from burnish.merge.compatibility import check_alike
from burnish.merge.config import MergeConfig
from burnish.merge.methods.method import MergeMethod
from burnish.merge.methods.registry import get
from burnish.merge.parameters import check_names, resolve_parameters
from burnish.merge.safetensors_file import DTYPE_CODE, DTYPE_NAME, ITEM_SIZE, TensorInfo, make_header
from burnish.merge.selection import Group, Member, Selection
from burnish.merge.sources import Checkpoint, Source
from burnish.merge.statistics_file import StatisticsFile
from burnish.merge.vocabulary import Rows, Vocabulary

# Seconds a million weights and input, measured on one core: a compiled kernel, and the general path through torch.
_KERNEL_SECONDS, _TORCH_SECONDS = 2e-3, 12e-3
_BYTES_A_SECOND = 1.0e9
_PROCESS_BYTES, _TORCH_BYTES = 160_000_000, 350_000_000
COPY = "copy"


@dataclass(frozen=True)
class Step:
    """One output tensor.

    Attributes:
        name: of the output tensor.
        shape: its sizes.
        dtype: the format's code of the result.
        action: the method's name, or `copy` for tensors that are no numbers to mix (all inputs must be equal).
        kernel: the compiled kernel's dtype, or `None` for the general path.
        models: per input the index of its checkpoint, the base first if there is one.
        sources: per input its bytes (and adapter).
        has_base: whether the first input is the method's base.
        model_parameters: per parameter one value a model (the base not counted).
        parameters: the method's own.
        seed: for random methods.
        rows: alignment of the vocabulary, if it needs any.
        statistics: per model where its statistics lie.
        shard: index of the output file.
        offset: first byte in it.
        nbytes: how many.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    action: str
    kernel: str | None
    models: tuple[int, ...]
    sources: tuple[Source, ...]
    has_base: bool
    model_parameters: Mapping[str, tuple[Any, ...]]
    parameters: Mapping[str, Any]
    seed: int
    rows: Rows | None
    statistics: tuple[Any, ...]
    shard: int
    offset: int
    nbytes: int

    @property
    def inputs(self) -> list[TensorInfo]:
        """Every tensor that the step reads, once each: weights, adapters, statistics."""
        infos = [source.info for source in self.sources]
        infos += [half for source in self.sources if source.lora for half in (source.lora.a, source.lora.b)]
        infos += [info for info in self.statistics if info is not None]
        return list(dict.fromkeys(infos))

    @property
    def read_bytes(self) -> int:
        """Bytes of all inputs."""
        return sum(info.nbytes for info in self.inputs)

    @property
    def working_bytes(self) -> int:
        """Memory that the step takes while it runs: an upper bound."""
        wide = 4 * math.prod(self.shape)
        if self.action == COPY or self.kernel:
            # Half floats are widened whole; the other dtypes go block by block.
            halves = wide * (len(self.sources) + 1) if self.kernel == "float16" else 0
            return self.read_bytes + self.nbytes + halves
        # Inputs, their float32 copies, and what the widest of the methods hold beside them.
        # Statistics are widened to float64 (all of them, and a few that are summed and solved).
        given: list[int] = [math.prod(info.shape) for info in self.statistics if info is not None]
        return self.read_bytes + wide * (2 * len(self.sources) + 4) + 8 * (sum(given) + 4 * max([0, *given]))


@dataclass(frozen=True)
class Shard:
    """One output file: its name, its first bytes, its size."""

    name: str
    header: bytes
    nbytes: int


@dataclass(frozen=True)
class MergePlan:
    """What a merge will do.

    Attributes:
        config: as the user wrote it.
        method: the merge method.
        checkpoints: the models, the reference first.
        steps: one an output tensor, shard by shard.
        shards: the output files.
        selection: where each layer comes from.
        vocabulary: the result's tokenizer, if the config asks for one.
        threads: workers that the estimates are for.
        device: where arithmetic without a compiled kernel runs.
    """

    config: MergeConfig
    method: MergeMethod
    checkpoints: tuple[Checkpoint, ...]
    steps: tuple[Step, ...]
    shards: tuple[Shard, ...]
    selection: Selection
    vocabulary: Vocabulary | None
    threads: int
    device: str

    @property
    def reads(self) -> int:
        """Bytes read."""
        return sum(step.read_bytes for step in self.steps)

    @property
    def writes(self) -> int:
        """Bytes written."""
        return sum(shard.nbytes for shard in self.shards)

    @property
    def peak_memory(self) -> int:
        """Bytes at the peak, the process included: an estimate."""
        largest = max((step.working_bytes for step in self.steps), default=0)
        return (
            budget(self.steps, self.threads) + largest // 8 + _PROCESS_BYTES + (_TORCH_BYTES if self.needs_torch else 0)
        )

    @property
    def seconds(self) -> float:
        """Wall time: a rough estimate for this kind of machine."""
        arithmetic = 0.0
        for step in self.steps:
            rate = _KERNEL_SECONDS if step.kernel else _TORCH_SECONDS
            arithmetic += rate * math.prod(step.shape) / 1e6 * len(step.sources)
        return 1.0 + ((self.reads + self.writes) / _BYTES_A_SECOND + arithmetic) / min(self.threads, 2)

    @property
    def needs_torch(self) -> bool:
        """Whether any step takes the general path."""
        return any(step.kernel is None and step.action != COPY for step in self.steps)

    @cached_property
    def fingerprint(self) -> str:
        """What identifies the result: version, device, config, steps and every input file.

        The files of weights, adapters and statistics count by size and time of change, since reading them is the merge
        itself; the small ones beside them (configs, tokenizers, templates) by content.
        """
        digest = xxhash.xxh3_128()
        digest.update(f"{version('burnish')} {self.device} {self.config.model_dump_json()}".encode())
        for shard in self.shards:
            digest.update(shard.header)
        for step in self.steps:
            row = (step.name, step.action, step.dtype, step.seed, dict(step.model_parameters), dict(step.parameters))
            places: list[Any] = [(str(source.info.path), source.info.offset, source.lora) for source in step.sources]
            places += [None if info is None else (str(info.path), info.offset) for info in step.statistics]
            digest.update(repr((row, places, step.offset, step.shard)).encode())
            if step.rows:
                digest.update(step.rows.own.tobytes() + step.rows.fill_model.tobytes() + step.rows.fill_row.tobytes())
        for path in sorted({info.path for step in self.steps for info in step.inputs}):
            stat = path.stat()
            digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}".encode())
        for folder in dict.fromkeys(checkpoint.folder for checkpoint in self.checkpoints):
            for path in small_files(folder):
                digest.update(f"{path} {xxhash.xxh3_128_hexdigest(path.read_bytes())}".encode())
        return str(digest.hexdigest())

    def describe(self) -> list[tuple[str, str]]:
        """Rows of a table: what `burnish check` prints."""
        from rich import filesize

        actions = Counter(step.action for step in self.steps)
        rows = [("method", f"{self.method.name} ({self.method.reference})")]
        rows += [("model", f"{checkpoint.reference}") for checkpoint in self.checkpoints]
        rows += [(f"layers of {part.stack.prefix}", str(len(part.layers))) for part in self.selection.parts]
        rows.append(("tensors", ", ".join(f"{count} {action}" for action, count in actions.most_common())))
        rows.append(("compiled", f"{sum(step.kernel is not None for step in self.steps)} of {len(self.steps)}"))
        rows.append(("dtype", ", ".join(sorted({DTYPE_NAME.get(step.dtype, step.dtype) for step in self.steps}))))
        rows.append(("reads", filesize.decimal(self.reads)))
        rows.append(
            ("writes", f"{filesize.decimal(self.writes)} in {len(self.shards)} file{'s' * (len(self.shards) > 1)}")
        )
        rows.append(("memory", f"about {filesize.decimal(self.peak_memory)} at the peak, {self.threads} threads"))
        rows.append(("time", f"about {self.seconds:.0f} s"))
        return rows

    def rows(self) -> list[dict[str, str]]:
        """The same as :meth:`describe`, as rows with column names."""
        return [{"what": what, "value": value} for what, value in self.describe()]

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data: totals, models, and one entry a step with its reads and its write."""
        steps = []
        for step in self.steps:
            entry = {
                key: getattr(step, key) for key in ("name", "dtype", "action", "kernel", "seed", "offset", "nbytes")
            }
            entry["shape"], entry["shard"] = list(step.shape), self.shards[step.shard].name
            entry["parameters"] = dict(step.parameters)
            entry["model_parameters"] = {key: list(values) for key, values in step.model_parameters.items()}
            entry["reads"] = [
                {"model": str(self.checkpoints[model].reference), "file": str(source.info.path)}
                | {
                    key: value
                    for key, value in asdict(source.info).items()
                    if key in ("name", "offset", "nbytes", "dtype")
                }
                for model, source in zip(step.models, step.sources, strict=True)
            ]
            steps.append(entry)
        totals = {"reads": self.reads, "writes": self.writes, "peak_memory": self.peak_memory, "seconds": self.seconds}
        models = [str(checkpoint.reference) for checkpoint in self.checkpoints]
        return {"method": self.method.name, "models": models, **totals, "fingerprint": self.fingerprint, "steps": steps}


def budget(steps: Sequence[Step], threads: int) -> int:
    """Bytes of buffers that steps may hold at one time: the largest step, and the usual ones beside it."""
    sizes = sorted(step.working_bytes for step in steps) or [0]
    usual = sizes[int(0.9 * (len(sizes) - 1))]
    # Every piece of a step starts on a cache line of its own.
    return int(sizes[-1] + (threads - 1) * usual + 65536 * threads)


def make_plan(config: MergeConfig, *, threads: int, shard_size: int, device: str = "cpu") -> MergePlan:
    """Read headers and tokenizers and decide every step.

    Raises:
        UserError: anything about the recipe or the models that would stop the merge.
    """
    try:
        method = get(config.merge_method)
    except UserError as error:
        raise UserError(f"{config.where('merge_method')}: {error}") from None
    check_names(config, method)
    checkpoints = tuple(Checkpoint(reference) for reference in config.references())
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
