"""Lazy greedy selection against incremental Cholesky and against a full pass at every pick.

    python benchmarks/distill_selection.py [--size small|full] [--json FILE]

  lazy      the product: `burnish.distill.selection.greedy_subset`, features read from a memory map
  chen      incremental Cholesky of the N x N kernel with a ridge (Chen et al. 2018): O(N k (d + k)), keeps N x k floats
  full      the same dual form as lazy, every gain brought up to date after every pick (Sherman and Morrison); timed on
            a part of the picks and scaled up, which favours it nowhere: each pick costs the same
Rows are unit vectors around 100 centres, times a quality from .2 to 1, width 512; ridge .1. One thread, a process for
each, its own CPU seconds; memory is the process's largest resident set over that before the selection began, pages of
the memory map left out (the system can take them back).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from burnish.distill.selection import greedy_subset, log_det

WIDTH, RIDGE = 512, 0.1
SIZES = {
    "small": [(4_000, 400, "lazy"), (4_000, 400, "chen"), (4_000, 400, "full")],
    "full": [
        (20_000, 2_000, "lazy"),
        (20_000, 2_000, "chen"),
        (100_000, 10_000, "lazy"),
        (100_000, 10_000, "full"),
        (250_000, 25_000, "lazy"),
    ],
}
PART = 60
"""Picks that a full pass is timed on at the larger size."""
TARGETS = {"chen": 8.0, "full": 15.0}
MOST_BYTES = 1e9


def write_features(count: int, path: Path) -> None:
    """Unit vectors around 100 centres, in parts."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((100, WIDTH)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (count, WIDTH))
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        part = (
            centres[rng.integers(100, size=size)] + rng.standard_normal((size, WIDTH)).astype(np.float32) / WIDTH**0.5
        )
        rows[start : start + size] = part / np.linalg.norm(part, axis=1, keepdims=True)
    rows.flush()


def chen(rows: np.ndarray, count: int, ridge: float) -> np.ndarray:
    """Greedy by incremental Cholesky of the kernel F F' + eps I."""
    factor = np.zeros((count, len(rows)), np.float32)
    left = np.einsum("ij,ij->i", rows, rows) + np.float32(ridge)
    picks = np.empty(count, np.int64)
    for number in range(count):
        best = picks[number] = int(left.argmax())
        row = rows @ rows[best]
        row[best] += ridge
        row -= factor[:number].T @ factor[:number, best]
        factor[number] = row / np.sqrt(left[best])
        left -= factor[number] ** 2
        left[picks[: number + 1]] = -np.inf
    return picks


def full(rows: np.ndarray, count: int, ridge: float) -> np.ndarray:
    """Greedy with every gain brought up to date after every pick."""
    inverse = np.eye(rows.shape[1]) / ridge
    gains = np.einsum("ij,ij->i", rows, rows) / np.float32(ridge)
    picks = np.empty(count, np.int64)
    for number in range(count):
        best = picks[number] = int(gains.argmax())
        turned = inverse @ rows[best].astype(np.float64)
        scale = 1 + rows[best].astype(np.float64) @ turned
        gains -= (rows @ (turned / np.sqrt(scale)).astype(np.float32)) ** 2
        inverse -= np.outer(turned, turned / scale)
        gains[best] = -np.inf
    return picks


def own_bytes() -> int:
    """Bytes in memory that are no pages of a file."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) * 1024


class Peak(threading.Thread):
    """The most memory while it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes, self.over = own_bytes(), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.05):
            self.bytes = max(self.bytes, own_bytes())


def measure(count: int, wanted: int, way: str, path: Path) -> dict[str, Any]:
    """One row of the table, in a process of its own."""
    features = np.load(path, mmap_mode="r")
    weights = np.random.default_rng(1).uniform(0.2, 1, count).astype(np.float32)
    part = PART if way == "full" and count > 50_000 else wanted
    before, peak = own_bytes(), Peak()
    peak.start()
    begun = time.process_time()
    if way == "lazy":
        picks = greedy_subset(features, weights, wanted, RIDGE)
    else:
        rows = np.asarray(features) * weights[:, None]
        picks = {"chen": chen, "full": full}[way](rows, part, RIDGE)
    seconds = time.process_time() - begun
    peak.over.set()
    peak.join()
    return {
        "samples": count,
        "picks": wanted,
        "way": way,
        "CPU seconds": round(seconds * wanted / part, 2),
        "timed on": f"{part} picks",
        "MB": round((peak.bytes - before) / 1e6),
        "log det": round(log_det(features, weights, picks, RIDGE), 2) if part == wanted else None,
    }


def compare(rows: list[dict[str, Any]]) -> list[str]:
    """Ratios against the product, and whether the targets are met."""
    said = []
    for row in rows:
        own = next(each for each in rows if each["way"] == "lazy" and each["samples"] == row["samples"])
        if row["way"] == "lazy":
            met = "met" if row["MB"] * 1e6 < MOST_BYTES else "missed"
            said.append(f"{row['samples']:,}: {row['MB']} MB over the memory map (target < 1,000: {met})")
            continue
        ratio = row["CPU seconds"] / own["CPU seconds"]
        met = "met" if ratio >= TARGETS[row["way"]] else "missed"
        equal = ""
        if row["log det"] is not None:
            equal = f", objective {abs(own['log det'] / row['log det'] - 1):.1e} apart"
        said.append(f"{row['samples']:,}: {ratio:.1f}x {row['way']} (target {TARGETS[row['way']]:g}: {met}){equal}")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count, wanted, way in SIZES[arguments.size]:
            path = Path(folder) / f"{count}.npy"
            if not path.exists():
                write_features(count, path)
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                rows.append(pool.submit(measure, count, wanted, way, path).result())
            print(rows[-1], flush=True)
    said = compare(rows)
    print("\n".join(said))
    if arguments.json is not None:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        arguments.json.write_text(json.dumps({"rows": rows, "ratios": said, "machine": machine}, indent=2) + "\n")


if __name__ == "__main__":
    main()
