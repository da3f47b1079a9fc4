"""What each operation takes on this machine, in CPU seconds: measured once in the small, and scaled by theory.

A polynomial of degree N over k primes takes k transforms of N log N; switching a key takes k of them for each of k
digits. So an operation is priced N log2 N (a k^2 + b k), with a = 0 where no key is switched; a and b are fitted to
measurements at three levels of ring 16,384, which take about two seconds and are kept in the user's cache.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from burnish.core.errors import BurnishError
from burnish.core.files import write_atomic
from burnish.core.hardware import hardware
from burnish.core.paths import cache
from burnish.private.encryption.clear import Operation
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.seal import SealClient, SealEvaluator

_SAMPLE = Parameters(ring=16384, scale_bits=35, levels=9, end_bits=45)
_LEVELS = (9, 5, 1)
_SWITCHES = ("relinearise", "rotate", "key")

VERSION = 1


@dataclass(frozen=True)
class CostTable:
    """Prices by kind of operation.

    Attributes:
        processor: that was measured.
        squares, lines: a and b of each kind, in seconds.
    """

    processor: str
    squares: dict[str, float]
    lines: dict[str, float]

    def seconds(self, kind: str, ring: int, level: int, parts: int = 2) -> float:
        """Of one operation at a level. A third part makes half more of what is done part by part."""
        primes = level + 1
        price = ring * math.log2(ring) * (self.squares[kind] * primes**2 + self.lines[kind] * primes)
        return price * (parts / 2 if kind in ("add", "add_plain", "negate", "multiply_plain", "rescale") else 1)

    def total(self, ring: int, counts: Iterable[tuple[Operation, int]]) -> float:
        """Of all that a ledger has."""
        return sum(
            number * self.seconds(operation.kind, ring, operation.level, operation.parts)
            for operation, number in counts
        )

    def keys(self, parameters: Parameters, rotations: int) -> float:
        """Of making the relinearisation key and so many rotation keys, and of writing them."""
        return (1 + rotations) * self.seconds("key", parameters.ring, parameters.levels)


def cost_table(folder: Path | None = None) -> CostTable:
    """This machine's, measured where it was not yet.

    Args:
        folder: to keep it in; the user's cache by default.

    Raises:
        UserError: TenSEAL is not installed.
    """
    processor = str(hardware()["processor"])
    path = (folder or cache()) / "private" / f"costs-{VERSION}.json"
    try:
        table = CostTable(**json.loads(path.read_text()))
        if table.processor == processor:
            return table
    except (OSError, ValueError, TypeError):
        pass  # not measured yet, or by a killed process's disk; measuring again is cheap
    table = measured(processor)
    with suppress(BurnishError):  # a cache that cannot be written: measuring again is cheap
        write_atomic(path, json.dumps(asdict(table), indent=1))
    return table


def measured(processor: str) -> CostTable:
    """A table by measuring now."""
    client = SealClient.make(_SAMPLE)
    begun = time.thread_time()
    keys = client.evaluation_keys([1])
    per_key = (time.thread_time() - begun) / 2
    evaluator = SealEvaluator(_SAMPLE, keys)
    numbers = np.linspace(-0.9, 0.9, _SAMPLE.slots)
    times: dict[str, list[float]] = {}
    for level in _LEVELS:
        for kind, least in _at_level(client, evaluator, numbers, level).items():
            times.setdefault(kind, []).append(least)
    unit = _SAMPLE.ring * math.log2(_SAMPLE.ring)
    squares, lines = {}, {}
    for kind, seconds in times.items():
        primes = np.array(_LEVELS) + 1.0
        columns = [primes**2, primes] if kind in _SWITCHES else [primes]
        # Relative errors count alike, so that the cheap low levels are not sacrificed to the dear high ones.
        design = np.stack(columns, 1) / np.array(seconds)[:, None]
        found = np.maximum(np.linalg.pinv(design).sum(1), 0.0) / unit
        squares[kind], lines[kind] = (float(found[0]), float(found[1])) if len(found) == 2 else (0.0, float(found[0]))
    squares["key"], lines["key"] = per_key / (_SAMPLE.levels + 1) ** 2 / unit, 0.0
    return CostTable(processor, squares, lines)


def _at_level(
    client: SealClient, evaluator: SealEvaluator, numbers: Float[np.ndarray, " slots"], level: int
) -> dict[str, float]:
    x, y = client.encrypt(numbers, level), client.encrypt(numbers, level)
    product, scaled = evaluator.multiply(x, y, relinearise=False), evaluator.multiply_plain(x, 0.5)
    rng = np.random.default_rng(level)
    found = {
        "add": _seconds(lambda: evaluator.add(x, y)),
        "negate": _seconds(lambda: evaluator.negate(x)),
        "add_plain": _seconds(lambda: evaluator.add_plain(x, 0.5)),
        "multiply_plain": _seconds(lambda: evaluator.multiply_plain(x, 0.5)),
        "multiply": _seconds(lambda: evaluator.multiply(x, y, relinearise=False)),
        "square": _seconds(lambda: evaluator.multiply(x, x, relinearise=False)),
        "relinearise": _seconds(lambda: evaluator.relinearise(product)),
        "rescale": _seconds(lambda: evaluator.rescale(scaled)),
        "rotate": _seconds(lambda: evaluator.rotate(x, 1)),
    }
    # New numbers each time: those that were encoded once are remembered.
    with_encoding = _seconds(lambda: evaluator.add_plain(x, rng.uniform(-1, 1, _SAMPLE.slots)))
    return found | {"encode": max(1e-7, with_encoding - found["add_plain"])}


def _seconds(work: Callable[[], object], times: int = 3) -> float:
    """The least of a few, by the CPU's clock: other processes only ever add."""
    least = math.inf
    for _ in range(times):
        begun = time.thread_time()
        work()
        least = min(least, time.thread_time() - begun)
    return max(least, 1e-7)
