"""A safetensors file without its library: the header checked field by field, the data read with `preadv`.

Mapped pages count as resident memory and a mapping gives no say in when they go; reading into buffers that are used
again keeps a merge of any size small. Knows bytes; nothing of models.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError

ITEM_SIZE = {
    "BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2,
    "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
DTYPE_NAME = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
DTYPE_CODE = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
# The limit of the format's own library: a longer one is an attack or a damaged file.
_LONGEST_HEADER = 100_000_000
_PIECE = 4 << 20


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies.

    Attributes:
        name: as in the file.
        dtype: the format's code, for example `BF16`.
        shape: its sizes, outermost first.
        path: the file.
        offset: first byte, from the start of the file.
        nbytes: how many.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    nbytes: int


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file, in the order of their bytes.

    Raises:
        UserError: missing, truncated, or a header that does not describe the file exactly; the file and tensor named.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(size - 8, _LONGEST_HEADER) or length < 2:
                raise UserError(f"{path}: truncated or no safetensors file (a header of {length:,} bytes in {size:,})")
            text = file.read(length)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; a shard of the model cannot be read") from None
    if len(text) < length:
        raise UserError(f"{path}: truncated in its header; download the file again")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=lambda pairs: _unique(pairs, path))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:120]
        raise UserError(f"{path}: the safetensors header is not JSON ({reason}); download the file again") from None
    if not isinstance(header, dict):
        raise UserError(f"{path}: the safetensors header is no JSON object; download the file again")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise UserError(f"{path}: `__metadata__` must map text to text")
    tensors = [_tensor(path, name, entry, 8 + length) for name, entry in header.items()]
    tensors.sort(key=lambda info: (info.offset, info.nbytes))
    end = 8 + length
    for info in tensors:
        if info.offset != end:
            what = "overlaps the one before it" if info.offset < end else f"leaves a gap of {info.offset - end:,} bytes"
            raise UserError(f"{path}: tensor {info.name!r} {what}; the header is damaged")
        end += info.nbytes
    if end != size:
        name = tensors[-1].name if tensors else "none"
        raise UserError(
            f"{path}: {'truncated' if size < end else 'too long'}: the last tensor ({name!r}) ends at byte {end:,}, "
            f"the file at {size:,}; download it again"
        )
    return {info.name: info for info in tensors}


def read_metadata(path: Path) -> dict[str, str]:
    """The free text of a file whose header :func:`read_header` has checked."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return dict(header.get("__metadata__", {}))


def _unique(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    # JSON lets a repeated key win silently; two readers may then see two different models.
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}: {twice[:200]!r} appears twice in the header; the file is damaged")
    return found


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> TensorInfo:
    def wrong(what: str) -> UserError:
        return UserError(f"{path}: tensor {name[:200]!r}: {what}; the header is damaged")

    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise wrong("expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_SIZE:
        raise UserError(
            f"{path}: tensor {name[:200]!r}: unknown dtype {str(dtype)[:40]!r}; known: {', '.join(ITEM_SIZE)}"
        )
    if not _whole_numbers(shape):
        raise wrong(f"shape {str(shape)[:80]} is no list of sizes")
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise wrong(f"data_offsets {str(offsets)[:80]} are no pair of rising byte positions")
    nbytes = offsets[1] - offsets[0]
    if math.prod(shape) * ITEM_SIZE[dtype] != nbytes:
        raise wrong(f"{dtype} of shape {str(shape)[:80]} does not fill {nbytes:,} bytes")
    return TensorInfo(name, dtype, tuple(shape), path, data_start + offsets[0], nbytes)


def _whole_numbers(value: Any) -> bool:
    # 2**63 bytes is more than any file: larger numbers are damage, and would overflow the system's calls.
    return isinstance(value, list) and all(type(part) is int and 0 <= part < 2**63 for part in value)


def make_header(tensors: list[tuple[str, str, tuple[int, ...]]]) -> tuple[bytes, list[int]]:
    """The header of a new file and where each tensor's bytes start in it.

    Args:
        tensors: name, dtype code and shape, in the order of their bytes.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position, starts = 0, []
    for name, dtype, shape in tensors:
        nbytes = math.prod(shape) * ITEM_SIZE[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + nbytes]}
        starts.append(position)
        position += nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    prefix = len(text).to_bytes(8, "little") + text
    return prefix, [len(prefix) + start for start in starts]


def read_exactly(handle: int, target: memoryview, offset: int, path: Path) -> None:
    """Fill `target` from `offset` of an open file.

    Raises:
        UserError: the file ends too early (it was cut while we read).
    """
    done = 0
    while done < len(target):
        count = os.preadv(handle, [target[done:]], offset + done)
        if count == 0:
            raise UserError(f"{path}: ended at byte {offset + done:,} while it was read; was it replaced?")
        done += count


def write_exactly(handle: int, source: memoryview, offset: int) -> None:
    """Write all of `source` at `offset` of an open file.

    In pieces: the kernel locks a file for the length of one write, and a second thread would spin on a long one.
    """
    done = 0
    while done < len(source):
        done += os.pwrite(handle, source[done : done + _PIECE], offset + done)
