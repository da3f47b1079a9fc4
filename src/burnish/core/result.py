"""What a run gives back, the same on every call: kept in ``run.json``, with paths relative to the run's folder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import BurnishError

PATH = "path below the run"
"""The key of a path in what is kept."""


@dataclass(frozen=True)
class RunResult:
    """A run that ended well; equal for every call that finds the same finished run.

    Attributes:
        path: the run's folder.
        report: its HTML report.
        value: what the method's loop returned: a path, a number, text, or plain data.
        resumed: whether this call found work of an earlier one (it went on, or had nothing left to do).
    """

    path: Path
    report: Path
    value: Any
    resumed: bool = field(compare=False)

    def __fspath__(self) -> str:
        """Its folder, so that it can be given wherever a run's folder can."""
        return str(self.path)


def to_plain(value: Any, folder: Path) -> Any:
    """A loop's value as JSON can hold it: numbers of numpy as plain ones, paths below ``folder`` relative to it.

    Raises:
        BurnishError: it holds what is no path and no plain data.
    """

    def plain(part: Any) -> Any:
        if isinstance(part, Path):
            # not resolved: a link among the artifacts is theirs, wherever it points
            absolute, home = os.path.abspath(part), os.path.abspath(folder)
            inside = Path(absolute).is_relative_to(home)
            return {PATH: os.path.relpath(absolute, home) if inside else absolute}
        if isinstance(part, dict):
            return {key: plain(inner) for key, inner in part.items()}
        if isinstance(part, list | tuple):
            return [plain(inner) for inner in part]
        return part.tolist() if isinstance(part, np.generic | np.ndarray) else part

    try:
        kept: Any = json.loads(json.dumps(plain(value)))
    except (TypeError, ValueError) as error:
        kind = type(value).__name__
        raise BurnishError(
            f"{folder}: the method's loop returned a {kind}, which cannot be kept with the run ({error}); "
            "return a path, a number, text, or lists and mappings of them"
        ) from None
    return kept


def from_plain(kept: Any, folder: Path) -> Any:
    """The value that :func:`to_plain` kept."""
    if isinstance(kept, dict):
        if kept.keys() == {PATH}:
            return folder / kept[PATH]
        return {key: from_plain(inner, folder) for key, inner in kept.items()}
    return [from_plain(inner, folder) for inner in kept] if isinstance(kept, list) else kept
