"""The seconds that ``check`` forecasts, against the CPU seconds that a run then took: a factor of two.

Not wall seconds: the machine is shared.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.files import read_json
from burnish.core.forecast import START


def slowness() -> float:
    """CPU seconds of a fixed piece of work, over those on the machine where the forecasts' constants were measured."""
    taken, one = [], np.ones((48, 48), np.float32)
    for _ in range(5):
        start = time.process_time()
        for _ in range(4000):
            np.tanh(one @ one * 1e-3)
        taken.append(time.process_time() - start)
    return min(taken) / 0.0213


def hold_seconds(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Compare a run's record with the rows that ``check`` gave; it must have been over in one go.

    Below, what every run costs is left out: libraries are imported already.
    """
    record = read_json(folder / "run.json")
    assert record is not None
    assert len(record["sessions"]) == 1
    said = next(row["value"] for row in rows if row["what"] == "seconds")
    slow, took = slowness(), record["cpu_seconds"]
    told = f"{folder.name}: {said} s were forecast, {took} CPU-s taken (slowness {slow:.2f})"
    assert min(1.0, slow) * (said - START) / 2 <= took <= max(1.0, slow) * 2 * said, told
