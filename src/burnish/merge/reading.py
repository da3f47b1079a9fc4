"""Inputs as they come: read in order, hashed, looked at for NaN. Knows files and bytes, no step and no method."""

from __future__ import annotations

import xxhash

from burnish.core.errors import UserError
from burnish.merge.buffers import Bytes
from burnish.merge.finite import all_finite
from burnish.merge.open_files import OpenFiles
from burnish.merge.safetensors_file import TensorInfo, read_exactly


class Reader:
    """One tensor's bytes in order, hashed as they come, and looked at for NaN unless they are `checked` anyway."""

    def __init__(self, files: OpenFiles, info: TensorInfo, checked: bool = False) -> None:
        self._files, self._info, self._position = files, info, 0
        self._checked = checked
        self._digest = xxhash.xxh3_128()

    def read(self, piece: Bytes) -> Bytes:
        """The next ``piece.size`` bytes, into ``piece``.

        Raises:
            UserError: the file ends too early, or a number is NaN or infinite.
        """
        info = self._info
        with self._files.borrow(info.path) as handle:
            read_exactly(handle, piece.data, info.offset + self._position, info.path)
        self._position += piece.size
        self._digest.update(piece.data)
        if not self._checked:
            check_finite(info, piece)
        return piece

    def record(self, inputs: dict[tuple[str, str], str]) -> None:
        """Add the digest of all that was read.

        Raises:
            UserError: what was read before was something else.
        """
        digest = str(self._digest.hexdigest())
        if inputs.setdefault(key(self._info), digest) != digest:
            raise UserError(f"{self._info.path}: tensor {self._info.name!r} changed while it was read; start again")


def check_finite(info: TensorInfo, piece: Bytes) -> None:
    """Look at an input's bytes.

    Raises:
        UserError: a number among them is NaN or infinite.
    """
    if not all_finite(piece, info.dtype):
        raise UserError(
            f"{info.path}: tensor {info.name!r} has NaN or infinite numbers; correct the model, or set allow_nan"
        )


def key(info: TensorInfo) -> tuple[str, str]:
    """What a tensor is called in the journal: its file and its name."""
    return str(info.path), info.name
