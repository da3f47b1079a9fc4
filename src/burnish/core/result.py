"""What a run gives back, the same on every call: kept in ``run.json``, with paths relative to the run's folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.core.errors import BurnishError


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


def to_plain(value: Any, folder: Path) -> Any:
    """A loop's value as JSON can hold it; a path below ``folder`` relative to it.

    Raises:
        BurnishError: it is no path and no plain data.
    """
    if isinstance(value, Path):
        inside = value.resolve().is_relative_to(folder.resolve())
        return {"path": str(value.resolve().relative_to(folder.resolve())) if inside else str(value.resolve())}
    try:
        return {"data": json.loads(json.dumps(value, allow_nan=False))}
    except (TypeError, ValueError) as error:
        kind = type(value).__name__
        raise BurnishError(
            f"{folder}: the method's loop returned a {kind}, which cannot be kept with the run ({error}); "
            "return a path, a number, text, or lists and mappings of them"
        ) from None


def from_plain(kept: Any, folder: Path) -> Any:
    """The value that :func:`to_plain` kept; none if nothing was kept."""
    if not isinstance(kept, dict):
        return None
    return folder / kept["path"] if "path" in kept else kept.get("data")
