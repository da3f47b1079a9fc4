"""A new model folder, written tensor by tensor from whatever makes each one: the jobs that are no merge of one name.

Memory is bounded by the largest tensor; what is only copied goes by tiles. The folder appears whole or not at all; a
killed job starts over. Knows files and bytes, no method.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from burnish.core.errors import UserError
from burnish.core.files import explained
from burnish.core.metrics import Progress
from burnish.merge.buffers import Bytes
from burnish.merge.finite import all_finite
from burnish.merge.open_files import OpenFiles
from burnish.merge.output_folder import owned, publish, recover, resolved, work_folder, write_json
from burnish.merge.reading import Reader
from burnish.merge.safetensors_file import DTYPE_CODE, ITEM_SIZE, TensorInfo
from burnish.merge.shards import fill_shards
from burnish.merge.sources import Source
from burnish.merge.steps import TILE
from burnish.merge.tensors import as_tensor, rounded, with_adapter


@dataclass(frozen=True)
class NewTensor:
    """A tensor to write.

    Attributes:
        name: in the file.
        dtype: the format's code.
        shape: its sizes.
        content: its bytes in order, in pieces of any size; called when its turn comes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    content: Callable[[], Iterable[Bytes]]

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return math.prod(self.shape) * ITEM_SIZE[self.dtype]


class Inputs:
    """The bytes of input tensors; NaN and infinity among them are refused by name. Close it after use."""

    def __init__(self) -> None:
        self._files = OpenFiles()

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def tiles(self, info: TensorInfo) -> Iterator[Bytes]:
        """A tensor's bytes, a tile at a time. Each tile is gone when the next is asked for."""
        reader, buffer = Reader(self._files, info), np.empty(min(TILE, info.nbytes), np.uint8)
        for start in range(0, info.nbytes, TILE):
            yield reader.read(buffer[: min(TILE, info.nbytes - start)])

    def raw(self, info: TensorInfo) -> Bytes:
        """A tensor's bytes, all of them."""
        whole = np.empty(info.nbytes, np.uint8)
        reader = Reader(self._files, info)
        for start in range(0, info.nbytes, TILE):
            reader.read(whole[start : start + TILE])
        return whole

    def tensor(self, source: Source, device: str = "cpu") -> Tensor:
        """A source in float32, its adapter added. It shares no memory with anything."""
        infos = (source.info, *(source.lora.halves if source.lora else ()))
        return with_adapter(source, {info: self.raw(info) for info in infos}, device)

    def written_as(self, name: str, source: Source, dtype: str | None = None) -> NewTensor:
        """A source under a name of the output: its own bytes where nothing changes, else rounded once.

        Args:
            name: in the output.
            source: what is written.
            dtype: `float32`, `float16`, `bfloat16`; none keeps the source's. Integers are kept in any case.
        """
        info = source.info
        code = DTYPE_CODE[dtype] if dtype and info.dtype in DTYPE_CODE.values() else info.dtype
        if code == info.dtype and source.lora is None:
            return NewTensor(name, code, info.shape, lambda: self.tiles(info))
        if source.lora is None:
            return NewTensor(name, code, info.shape, lambda: self._converted(info, code))
        return NewTensor(name, code, info.shape, lambda: [rounded(self.tensor(source), code)])

    def _converted(self, info: TensorInfo, code: str) -> Iterator[Bytes]:
        for tile in self.tiles(info):
            flat = TensorInfo(info.name, info.dtype, (tile.size // ITEM_SIZE[info.dtype],), info.path, 0, tile.size)
            yield rounded(as_tensor(tile, flat).float(), code)


def made_from(make: Callable[[], Tensor], name: str, dtype: str, shape: tuple[int, ...]) -> NewTensor:
    """A tensor that is computed when its turn comes.

    Args:
        make: gives float32 of the shape.
        name: in the output.
        dtype: `float32`, `float16` or `bfloat16`.
        shape: its sizes.
    """
    code = DTYPE_CODE[dtype]

    def content() -> list[Bytes]:
        result = rounded(make(), code)
        if not all_finite(result, code):
            raise UserError(f"tensor {name!r}: the result has NaN or infinite numbers; choose a wider dtype")
        return [result]

    return NewTensor(name, code, shape, content)


@contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """A folder that takes its name when everything in it is written and fsynced; what a killed job left is removed.

    Yields a hidden folder beside it to write into.

    Raises:
        UserError: `out` holds something, is a file, or another process writes there.
        BurnishError: the disk is full or fails.
    """
    out = resolved(Path(out))
    with explained(out), owned(out):
        recover(out)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out}: exists already; give another folder, or remove it")
        work = work_folder(out)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        publish(work, out)


def write_shards(
    folder: Path, tensors: Sequence[NewTensor], *, shard_size: int, progress: bool, stem: str = "model"
) -> None:
    """Write the tensors, and the index if there are several files.

    Args:
        folder: where to.
        tensors: in the order in which files are filled.
        shard_size: bytes of tensors in a file at most.
        progress: show how far it is.
        stem: what the files are called.

    Raises:
        UserError: an input is NaN, infinite, or changes meanwhile; a result overflows its dtype.
    """
    shards = fill_shards(tensors, shard_size, stem)
    steps = [(shard, item) for shard in shards for item in shard.items]
    current = None
    file = None
    try:
        for shard, item in Progress(quiet=not progress).track(steps, "writing", len(steps)):
            if shard is not current:
                if file is not None:
                    file.close()
                current, file = shard, (folder / shard.name).open("wb")
                file.write(shard.header)
            assert file is not None
            written = sum(file.write(piece.data) for piece in item.content())
            if written != item.nbytes:
                raise AssertionError(f"{item.name}: {written} bytes written of {item.nbytes}")
    finally:
        if file is not None:
            file.close()
    if len(shards) > 1:
        weights = {item.name: shard.name for shard in shards for item in shard.items}
        total = {"total_size": sum(item.nbytes for item in tensors)}
        write_json(folder / f"{stem}.safetensors.index.json", {"metadata": total, "weight_map": weights})
