"""State on disk: one safetensors file, one JSON file, a manifest of hashes. Never pickle.

A state is anything with ``state_dict()`` and ``load_state_dict()`` of tensors, arrays, numbers, text, ``None``, lists
and dicts of them. A checkpoint is a folder ``step-00000012`` that appears whole or not at all; a damaged one is named
and the one before it is used.
"""

from __future__ import annotations

import errno
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from burnish.core.errors import BurnishError
from burnish.core.files import MANIFEST, damage, folder_atomic, read_json, write_manifest

TENSORS, STATE = "tensors.safetensors", "state.json"


@runtime_checkable
class Stateful(Protocol):
    """What a loop may put into a checkpoint."""

    def state_dict(self) -> Mapping[str, Any]:
        """Everything needed to go on, as tensors, arrays, numbers, strings, ``None``, lists and dicts."""
        ...

    def load_state_dict(self, state: Any, /) -> Any:
        """Take over a state that :meth:`state_dict` gave."""
        ...


def save(folder: Path, step: int, states: Mapping[str, Any], keep: int) -> Path:
    """Write ``states`` as the checkpoint of ``step`` below ``folder`` and drop all but the last ``keep``.

    Raises:
        BurnishError: a value of a type that a checkpoint cannot hold (its path is named), or the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {}
    tree = _pack(states, "", tensors)
    final = folder / f"step-{step:08d}"
    with folder_atomic(final) as work:
        try:
            save_file(tensors, work / TENSORS)
        except SafetensorError as error:  # its I/O errors carry the number only in their text
            raise OSError(errno.ENOSPC if "os error 28" in str(error) else errno.EIO, str(error)) from error
        (work / STATE).write_text(json.dumps({"step": step, "state": tree}))
        write_manifest(work)
    # Whatever lies beyond was left by a run that went on from before it (a damaged one, say): it must not outlast this.
    steps = [path for path in _steps(folder) if path.name <= final.name]
    for old in {*_steps(folder)} - {*steps[-keep:]}:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_latest(folder: Path, warn: Callable[[str], None]) -> tuple[int, dict[str, Any]] | None:
    """The newest whole checkpoint below ``folder`` as ``(step, states)``; ``None`` if there is none.

    Each damaged one is named through ``warn`` and the one before it is tried.

    Raises:
        BurnishError: there are checkpoints, and none of them is whole.
    """
    steps = _steps(folder)
    for path in reversed(steps):
        fault = damage(path)
        if fault is None and not {TENSORS, STATE} <= read_json(path / MANIFEST)["files"].keys():
            fault = f"{MANIFEST} does not name {TENSORS} and {STATE}"
        if fault is None:
            return _read(path)
        warn(f"{path}: damaged checkpoint ({fault}); trying the one before")
    if steps:
        raise BurnishError(f"{folder}: every checkpoint is damaged; start afresh", arguments=("fresh",))
    return None


def _read(path: Path) -> tuple[int, dict[str, Any]]:
    from safetensors.torch import load_file

    content = json.loads((path / STATE).read_text())
    return content["step"], _unpack(content["state"], load_file(path / TENSORS))


def _steps(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name))


def _pack(value: Any, path: str, tensors: dict[str, Any]) -> Any:
    """Replace tensors by references into ``tensors``; the rest becomes JSON. A dict keeps the types of its keys."""
    import torch

    if isinstance(value, torch.Tensor):
        # Shared or strided storage is written out: the bits of the values count, not the way they lay in memory.
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"tensor": path}
    if isinstance(value, np.ndarray):
        tensors[path] = torch.from_numpy(np.ascontiguousarray(value)).clone()
        return {"array": path}
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.generic):
        return _pack(value.item(), path, tensors)
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        pairs = []
        for key, item in value.items():
            if not isinstance(key, int | str):
                raise BurnishError(f"checkpoint: key {key!r} at `{path or 'state'}` must be a string or an integer")
            pairs.append([key, _pack(item, f"{path}.{key}" if path else str(key), tensors)])
        return {"dict": pairs}
    raise BurnishError(
        f"checkpoint: `{path or 'state'}` holds a {type(value).__name__}; a state holds only plain values"
    )


def _unpack(tree: Any, tensors: Mapping[str, Any]) -> Any:
    if isinstance(tree, list):
        return [_unpack(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "array":
            return tensors[content].numpy()
        case "float":
            return float(content)
        case "tuple":
            return tuple(_unpack(item, tensors) for item in content)
        case _:
            return {key: _unpack(item, tensors) for key, item in content}
