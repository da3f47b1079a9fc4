"""The records between planning and execution: a step for every output tensor, the shards they fill, the whole plan.

Immutable and derived from nothing but themselves: what a merge reads, writes, takes and is identified by.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import xxhash

from burnish.core.forecast import Forecast
from burnish.merge.buffers import aligned
from burnish.merge.config import MergeConfig
from burnish.merge.methods.method import MergeMethod
from burnish.merge.safetensors_file import DTYPE_NAME, ITEM_SIZE, TensorInfo
from burnish.merge.selection import Selection
from burnish.merge.side_files import small_files
from burnish.merge.sources import Checkpoint, Source
from burnish.merge.vocabulary import Rows, Vocabulary

# Seconds a million weights and input, measured on one core: a compiled kernel, and the general path through torch.
_KERNEL_SECONDS, _TORCH_SECONDS = 2e-3, 12e-3
_BYTES_A_SECOND = 1.0e9
_PROCESS_BYTES, _TORCH_BYTES = 160_000_000, 350_000_000
COPY = "copy"
# Bytes of a tensor that are worked on at a time: small enough that what was read is still in the cache when it is
# hashed, checked and merged.
TILE = 1 << 20


@dataclass(frozen=True)
class TensorMerge:
    """How one output tensor is made; not yet where it goes.

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
        statistics: per model where its statistics lie, `None` where it has none for this tensor.
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
    statistics: tuple[TensorInfo | None, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the result."""
        return math.prod(self.shape) * ITEM_SIZE[self.dtype]


@dataclass(frozen=True)
class Step(TensorMerge):
    """One output tensor: how it is made, and where it goes.

    Attributes:
        shard: index of the output file.
        offset: first byte in it.
    """

    shard: int
    offset: int

    @property
    def inputs(self) -> list[TensorInfo]:
        """Every tensor that the step reads, once each: weights, adapters, statistics."""
        infos = [source.info for source in self.sources]
        infos += [half for source in self.sources if source.lora for half in source.lora.halves]
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
        # Half floats are widened; the other dtypes go block by block.
        halves = 2 if self.kernel == "float16" else 0
        if self.action == COPY or (self.kernel and self.rows is None):
            return tile_bytes(self) * (1 + halves)
        if self.kernel:
            return self.read_bytes + (len(self.sources) + 2 + halves * (len(self.sources) + 1)) * self.nbytes
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
        """What identifies the result: version, device, config, a user's own method's file, steps and every input file.

        Of a user's own method the one file that its function stands in counts, as it was imported; not what it imports.
        The files of weights, adapters and statistics count by size and time of change, since reading them is the merge
        itself; the small ones beside them (configs, tokenizers, templates) by content.
        """
        digest = xxhash.xxh3_128()
        digest.update(f"{version('burnish')} {self.device} {self.config.model_dump_json()}".encode())
        if self.method.source is not None:
            digest.update(self.method.source.content)
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
        if self.selection.left_out:
            rows.append(("left out", ", ".join(sorted(self.selection.left_out))))
        rows.append(("compiled", f"{sum(step.kernel is not None for step in self.steps)} of {len(self.steps)}"))
        rows.append(("dtype", ", ".join(sorted({DTYPE_NAME.get(step.dtype, step.dtype) for step in self.steps}))))
        rows.append(("reads", filesize.decimal(self.reads)))
        rows.append(
            ("writes", f"{filesize.decimal(self.writes)} in {len(self.shards)} file{'s' * (len(self.shards) > 1)}")
        )
        rows.append(("memory", f"about {filesize.decimal(self.peak_memory)} at the peak, {self.threads} threads"))
        rows.append(("time", f"about {self.seconds:.0f} s"))
        return rows

    def rows(self) -> list[dict[str, Any]]:
        """The same as :meth:`describe`, as rows with column names; what it takes as numbers, with their unit."""
        found: list[tuple[str, Any]] = [*self.describe()]
        taken = Forecast(self.peak_memory, self.writes, self.seconds).rows(start=0)
        rows = [row for row in found if row[0] not in ("memory", "time")] + [
            ("threads", self.threads),
            *taken,
        ]
        return [{"what": what, "value": value} for what, value in rows]

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


def tile_bytes(step: Step) -> int:
    """Buffers of a step that goes tile by tile: one tile an input, and one for the result."""
    return (len(step.sources) + 1) * aligned(min(TILE, step.nbytes))


def budget(steps: Sequence[Step], threads: int) -> int:
    """Bytes of buffers that steps may hold at one time: the largest step, and the usual ones beside it."""
    sizes = sorted(step.working_bytes for step in steps) or [0]
    usual = sizes[int(0.9 * (len(sizes) - 1))]
    # Every piece of a step starts on a cache line of its own.
    return int(sizes[-1] + (threads - 1) * usual + 65536 * threads)
