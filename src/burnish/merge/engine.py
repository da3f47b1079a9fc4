"""Execution of a plan: workers that read, merge and write, each one tensor at a time.

Knows steps, buffers, kernels and methods; no YAML and no tokenizer. Every output byte depends on its step alone, so the
result is the same whatever the number of workers and wherever a killed merge went on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xxhash

from burnish.core.errors import Interrupted, UserError
from burnish.core.metrics import Progress
from burnish.core.parallel import one_thread
from burnish.merge.buffers import BufferPool, Bytes, aligned, carve
from burnish.merge.finite import all_finite
from burnish.merge.journal import Journal
from burnish.merge.kernels import Stream, kernel
from burnish.merge.open_files import OpenFiles
from burnish.merge.reading import Reader, check_finite, key
from burnish.merge.safetensors_file import ITEM_SIZE, TensorInfo, write_exactly
from burnish.merge.steps import COPY, TILE, MergePlan, Step, budget, tile_bytes

_BITS: dict[str, Any] = {"BF16": np.uint16, "F16": np.uint16, "F32": np.float32}


class Engine:
    """Runs the steps of a plan into a folder.

    Args:
        plan: what to do.
        folder: where the shards go.
        journal: what is done already.
        device: where general arithmetic happens: `cpu`, `cuda`, `cuda:1`.
        allow_nan: let NaN and infinity through.
        progress: where to show how far it is.
    """

    def __init__(
        self,
        plan: MergePlan,
        folder: Path,
        journal: Journal,
        *,
        device: str = "cpu",
        allow_nan: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._plan, self._folder, self._journal = plan, folder, journal
        self._device, self._allow_nan = device, allow_nan
        self._progress = progress or Progress(quiet=True)
        # A shard's largest tensors first: the last worker to finish then has little left to do alone.
        steps = (step for step in plan.steps if step.shard not in journal.finished)
        self._steps = sorted(steps, key=lambda step: (step.shard, -step.nbytes))
        self._buffers = BufferPool(budget(self._steps, plan.threads))
        self._files = OpenFiles()
        self._shards: dict[int, int] = {}
        self._left: dict[int, int] = {}
        self._digests: dict[int, dict[str, str]] = {}
        self._input_digests: dict[int, dict[tuple[str, str], str]] = {}
        self._flusher = ThreadPoolExecutor(1, "flush")
        self._flushing = self._flusher.submit(lambda: None)
        self._flushed = 0
        self._futures: list[Future[None]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self) -> None:
        """Write every shard that is not finished.

        Raises:
            UserError: NaN or infinity, a file that changed while it was read, a method that refuses its inputs.
            OSError: the disk is full or fails.
        """
        # Torch splits a sum over its threads, and so rounds it otherwise: within a worker it gets one.
        threads = one_thread() if self._plan.needs_torch else nullcontext()
        for step in self._steps:
            self._left[step.shard] = self._left.get(step.shard, 0) + 1
        with self, threads, ThreadPoolExecutor(self._plan.threads, "merge") as workers:
            futures = self._futures
            done = len(self._plan.steps) - len(self._steps)
            try:
                futures.extend(workers.submit(self._guarded, step) for step in self._steps)
                for future in self._progress.track(as_completed(futures), "merging", len(self._plan.steps), done):
                    future.result()
                self._flushing.result()  # an error of the disk is told once, and would be lost with it
            except KeyboardInterrupt:
                raise Interrupted("stopped; the finished shards are kept, the same command goes on", 2) from None
            finally:
                self._stop.set()
                for future in futures:
                    future.cancel()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flusher.shutdown()
        if self._flushing.exception():
            # The system tells an error once. It takes the pages for clean afterwards: read again, all would look well.
            (self._folder / self._plan.shards[self._flushed].name).unlink(missing_ok=True)
        self._files.close()
        # Interrupted twice, a worker may still write, and the number of a closed file would soon be another file's.
        if all(future.done() for future in self._futures):
            for handle in self._shards.values():
                os.close(handle)
            self._shards = {}

    def _guarded(self, step: Step) -> None:
        if self._stop.is_set():
            return
        try:
            self._run(step)
        except BaseException:
            self._stop.set()
            raise

    def _run(self, step: Step) -> None:
        output = self._open_shard(step.shard)
        inputs: dict[tuple[str, str], str] = {}
        if step.action == COPY:
            digest = self._copied(step, output, inputs)
        elif step.kernel and step.rows is None:
            digest = self._streamed(step, output, inputs)
        elif step.kernel:
            digest = self._gathered(step, output, inputs)
        else:
            digest = self._on_device(step, output, inputs)
        self._finish(step, digest, inputs)

    def _copied(self, step: Step, output: int, inputs: dict[tuple[str, str], str]) -> str:
        digest = xxhash.xxh3_128()
        with self._buffers.borrow(tile_bytes(step)) as block:
            for start, (first, *others) in self._tiles(step, block, inputs):
                if any((first != other).any() for other in others):
                    raise UserError(
                        f"tensor {step.name!r} ({step.dtype}) differs between the models and cannot be mixed"
                    )
                digest.update(first.data)
                write_exactly(output, first.data, step.offset + start)
        return str(digest.hexdigest())

    def _streamed(self, step: Step, output: int, inputs: dict[tuple[str, str], str]) -> str:
        """Read, merge and write a tile at a time: what stays in the cache need not wait for memory.

        A method that must know the whole tensor first reads it again for every survey. That is cheaper than to hold it:
        its bytes are still in the system's cache, while new memory has to be cleared.
        """
        digest = xxhash.xxh3_128()
        kind, width = _BITS[step.dtype], ITEM_SIZE[step.dtype]
        stream = self._stream(step)
        with self._buffers.borrow(tile_bytes(step)) as block:
            for survey in stream.surveys():
                for start, pieces in self._tiles(step, block, inputs):
                    survey([piece.view(kind) for piece in pieces], start // width)
            out = block[-aligned(min(TILE, step.nbytes)) :]
            for start, pieces in self._tiles(step, block, inputs, checked=stream.spreads):
                result = out[: pieces[0].size]
                stream.merge([piece.view(kind) for piece in pieces], start // width, result.view(kind))
                self._check(step, result, pieces)
                digest.update(result.data)
                write_exactly(output, result.data, step.offset + start)
        return str(digest.hexdigest())

    def _tiles(
        self, step: Step, block: Bytes, inputs: dict[tuple[str, str], str], *, checked: bool = False
    ) -> Iterator[tuple[int, list[Bytes]]]:
        """One pass over a step's inputs: the first byte of every tile, and the tile of each.

        `checked`: whoever asks sees for itself whether all numbers are finite.
        """
        readers = [
            Reader(self._files, source.info, checked or self._allow_nan or key(source.info) in inputs)
            for source in step.sources
        ]
        tile = min(TILE, step.nbytes)
        pieces = carve(block, [tile] * len(readers))
        for start in range(0, step.nbytes, TILE):
            size = min(tile, step.nbytes - start)
            yield start, [reader.read(piece[:size]) for reader, piece in zip(readers, pieces, strict=True)]
        for reader in readers:
            reader.record(inputs)

    def _gathered(self, step: Step, output: int, inputs: dict[tuple[str, str], str]) -> str:
        """A compiled kernel after an alignment of the vocabulary, which takes rows from anywhere: whole tensors."""
        sizes = [source.info.nbytes for source in step.sources]
        grown = (len(sizes) + 1) * step.nbytes
        assert step.rows is not None
        with self._buffers.borrow(sum(map(aligned, sizes)) + aligned(step.nbytes), reserve=grown) as block:
            *raw, out = carve(block, [*sizes, step.nbytes])
            arrays = []
            for source, piece in zip(step.sources, raw, strict=True):
                flat = self._read(source.info, piece, inputs).view(_BITS[step.dtype])
                arrays.append(flat.reshape(source.info.shape))
            stream = self._stream(step)
            flats = [array.reshape(-1) for array in step.rows.gather(arrays)]
            for survey in stream.surveys():
                survey(flats, 0)
            stream.merge(flats, 0, out.view(_BITS[step.dtype]))
            self._check(step, out)
            write_exactly(output, out.data, step.offset)
            return str(xxhash.xxh3_128_hexdigest(out.data))

    def _stream(self, step: Step) -> Stream:
        compiled = kernel(step.action, str(step.kernel))
        assert compiled is not None
        size = step.nbytes // ITEM_SIZE[step.dtype]
        count = len(step.sources) - int(step.has_base)
        return compiled.stream(size, count, step.model_parameters, step.parameters, step.seed)

    def _on_device(self, step: Step, output: int, inputs: dict[tuple[str, str], str]) -> str:
        import torch

        try:
            return self._general(step, output, inputs)
        except torch.OutOfMemoryError:
            raise UserError(
                f"tensor {step.name!r}: the memory of {self._device} is full; use device cpu, or fewer threads "
                f"(now {self._plan.threads})"
            ) from None

    def _general(self, step: Step, output: int, inputs: dict[tuple[str, str], str]) -> str:
        """Any method, dtype, device, adapter or alignment, through torch in float32."""
        from burnish.merge import tensors

        raw_bytes = sum(aligned(info.nbytes) for info in step.inputs)
        with self._buffers.borrow(raw_bytes, reserve=max(0, step.working_bytes - raw_bytes)) as block:
            pieces = iter(carve(block, [info.nbytes for info in step.inputs]))
            raw = {info: self._read(info, next(pieces), inputs) for info in step.inputs}
            loaded = tensors.load(step, raw, self._device)
            statistics = [None if info is None else tensors.as_tensor(raw[info], info) for info in step.statistics]
            try:
                merged = self._plan.method(
                    loaded[0] if step.has_base else None,
                    loaded[int(step.has_base) :],
                    model_parameters=step.model_parameters,
                    parameters=step.parameters,
                    seed=step.seed,
                    statistics=[None if item is None else item.to(self._device) for item in statistics]
                    if step.statistics
                    else None,
                )
            except UserError as error:
                raise UserError(f"tensor {step.name!r}: {error}") from None
            out = tensors.rounded(merged, step.dtype)
            self._check(step, out)
            write_exactly(output, out.data, step.offset)
            return str(xxhash.xxh3_128_hexdigest(out.data))

    def _read(self, info: TensorInfo, piece: Bytes, inputs: dict[tuple[str, str], str]) -> Bytes:
        reader = Reader(self._files, info, self._allow_nan)
        for start in range(0, info.nbytes, TILE):
            reader.read(piece[start : start + TILE])
        reader.record(inputs)
        return piece

    def _check(self, step: Step, result: Bytes, pieces: Sequence[Bytes] = ()) -> None:
        if not self._allow_nan and not all_finite(result, step.dtype):
            for source, piece in zip(step.sources, pieces, strict=False):
                check_finite(source.info, piece)
            raise UserError(
                f"tensor {step.name!r}: the result has NaN or infinite numbers although no input has: it overflows "
                f"{step.dtype}, or the weights cancel; choose a wider out_dtype, or set allow_nan to go on"
            )

    def _open_shard(self, index: int) -> int:
        with self._lock:
            if index not in self._shards:
                shard = self._plan.shards[index]
                handle = os.open(self._folder / f"{shard.name}.part", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
                self._shards[index] = handle
                os.ftruncate(handle, shard.nbytes)
                write_exactly(handle, memoryview(shard.header), 0)
                self._digests[index], self._input_digests[index] = {}, {}
            return self._shards[index]

    def _finish(self, step: Step, digest: str, inputs: dict[tuple[str, str], str]) -> None:
        with self._lock:
            self._digests[step.shard][step.name] = digest
            self._input_digests[step.shard] |= inputs
            self._left[step.shard] -= 1
            if self._flushing.done():
                # The disk writes while the workers go on, so that little is left for the end.
                self._flushing.result()
                self._flushed = step.shard
                self._flushing = self._flusher.submit(_flush, os.dup(self._shards[step.shard]))
            if self._left[step.shard]:
                return
            os.close(self._shards.pop(step.shard))
            name = self._plan.shards[step.shard].name
            os.rename(self._folder / f"{name}.part", self._folder / name)
            self._journal.record(step.shard, self._digests.pop(step.shard), self._input_digests.pop(step.shard))


def _flush(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
