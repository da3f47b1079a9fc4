"""What a run will take, said before it starts: memory, disk, time. Knows no method.

A forecast is an estimate from sizes and counts, and its time is one above all: floating-point operations over the rate
of a matrix product (:func:`burnish.core.hardware.flops_per_second`), and what every run costs. The contract of
:mod:`burnish.testing` holds memory and disk to a factor of two of what a recipe then took. Its recipes are so short
that much of their time is what every run costs: time is held by the runs of five pages of the documentation and by both
small audits, in CPU seconds, to a factor of two. ``benchmarks/check_forecast.py`` compares the shipped tiny recipes,
which take ten seconds to minutes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from burnish.core.recipe import Recipe

PLAIN = 280_000_000
"""Bytes of a process that runs a recipe, whatever its method: torch, whose random streams every run seeds, and what
draws the report (measured 290 MB)."""
TORCH = 400_000_000
"""Bytes of one that computes with torch and transformers, before weights (measured 300 to 450 MB)."""
TRL = 600_000_000
"""Bytes of one that trains by TRL, before weights (measured 480 to 650 MB)."""
TRL_STEP = 5_000
"""Bytes of a step of a training by TRL, in the metrics and in the report's curves (measured 2,500 to 6,000)."""
START = 4.0
"""Seconds of a run, whatever its method: libraries, models, files and report (measured 3 to 8 CPU seconds)."""
PAGE = 150_000
"""Bytes of a report with a few curves, the recipe and the logs (measured 100 to 210 kB)."""


@dataclass(frozen=True)
class Forecast:
    """What a run is expected to take on the machine that was asked.

    Attributes:
        memory_bytes: resident at most, of the largest process, libraries included; on an accelerator weights and
            activations lie there instead.
        disk_bytes: of the run's folder at its end, the checkpoints that are kept included.
        seconds: of the method's own work, right to an order of magnitude; ``START`` comes on top.
    """

    memory_bytes: int
    disk_bytes: int
    seconds: float

    def rows(self, start: float = START) -> list[tuple[str, Any]]:
        """As the last rows of a method's ``check``: the unit is in the name.

        Args:
            start: seconds beside the method's own work.
        """
        return list((asdict(self) | {"seconds": start + self.seconds}).items())


NAMES = tuple(Forecast.__dataclass_fields__)
"""Names of the rows of a forecast."""


def checkpoint_bytes(recipe: Recipe, one: float, seconds: float) -> int:
    """Bytes of the checkpoints that lie in a run's folder at its end.

    Args:
        recipe: says how many are kept and how often one is due.
        one: bytes of one.
        seconds: that the run takes.
    """
    due = recipe.keep if recipe.checkpoint_every == 0 else seconds / recipe.checkpoint_every
    return int(one * min(recipe.keep, int(due)))
