"""What `burnish merge stats` wrote for a model, as a merge reads it: checked against the method, the model and its
tensors."""

from __future__ import annotations

import json
from pathlib import Path

from burnish.core.errors import UserError
from burnish.merge.safetensors_file import TensorInfo, read_header, read_metadata

NAME = "statistics.safetensors"
# Under this key the file lists the weights that are stored (in, out): GPT-2's Conv1D.
TRANSPOSED = "transposed"


class StatisticsFile:
    """One model's statistics.

    Args:
        path: the file, or the folder it lies in.
        kind: what the method needs: `gram` or `fisher`.
        method: its name, for messages.
        model: the reference the file is given for.

    Raises:
        UserError: not readable, of another kind, or of another model.
    """

    def __init__(self, path: Path, kind: str, method: str, model: str) -> None:
        try:
            self.path = path / NAME if path.is_dir() else path
        except OSError as error:
            raise UserError(f"{str(path)[:100]}: {error.strerror}; give a file of `burnish merge stats`") from None
        self._kind = kind
        self._tensors = read_header(self.path)
        metadata = read_metadata(self.path)
        if metadata.get("kind", kind) != kind:
            raise UserError(f"{self.path}: holds {metadata['kind']} statistics; {method} needs {kind}")
        given = metadata.get("model", model)
        # A folder that has moved since cannot be compared; one that is still there can, and so can two hub ids.
        comparable = Path(given.partition("+")[0]).is_dir() or not Path(model.partition("+")[0]).is_dir()
        if comparable and place(given) != place(model):
            raise UserError(f"{self.path}: was gathered from {given}, not from {model}; gather it again")
        self._transposed = frozenset(_names(metadata.get(TRANSPOSED, "[]")))

    def find(self, name: str, shape: tuple[int, ...], axis: int | None) -> TensorInfo | None:
        """The statistics of a weight, or `None` if the file has none.

        Args:
            name: of the weight.
            shape: its sizes.
            axis: the weight's input axis, for Gram matrices.

        Raises:
            UserError: they do not fit the weight.
        """
        info = self._tensors.get(name)
        if info is None or (self._kind == "gram" and len(shape) != 2):
            return None
        if info.dtype not in ("F32", "F16", "BF16"):
            raise UserError(f"{self.path}: tensor {name!r} is {info.dtype}; statistics are F32, F16 or BF16")
        wanted = shape if self._kind == "fisher" or axis is None else (shape[axis], shape[axis])
        if info.shape != wanted:
            what = "a Gram matrix" if self._kind == "gram" else "Fisher information"
            raise UserError(
                f"{self.path}: tensor {name!r} is {list(info.shape)}; {what} of a weight of {list(shape)} is "
                f"{list(wanted)}"
            )
        return info

    def input_axis(self, name: str) -> int:
        """The input axis of a weight: 1 as in Linear, 0 as in GPT-2's Conv1D."""
        return 0 if name in self._transposed else 1


def place(reference: str) -> str:
    """A reference whose folders are absolute, so that it means the same from everywhere."""
    return "+".join(str(Path(part).resolve()) if Path(part).is_dir() else part for part in reference.split("+"))


def _names(text: str) -> list[str]:
    try:
        names = json.loads(text)
    except ValueError:
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
