"""What a result was made with: versions, git revision, devices, time and memory used."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("burnish", "torch", "transformers", "trl", "peft", "accelerate", "numpy", "safetensors")


def environment() -> dict[str, Any]:
    """Versions, revision and hardware, as stored in ``run.json`` and printed by ``burnish env``."""
    return {"versions": versions(), "git_revision": git_revision(), "hardware": hardware()}


def versions() -> dict[str, str]:
    """Python's version and those of the packages that decide a result; one that is absent is left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_revision(folder: Path | None = None) -> str | None:
    """The revision of a folder's repository, ``-dirty`` if it was changed; ``None`` where there is no repository.

    Args:
        folder: anywhere in a repository; none: Burnish's own checkout. Stored claims do not count as a change
            there: one study writes its own while another has still to run.
    """
    root = Path(__file__).resolve().parents[3] if folder is None else folder
    if folder is None and not (root / ".git").exists():
        return None
    within = [".", ":(exclude)docs/claims"] if folder is None else [":(top)"]

    def git(*words: str) -> str:
        line = ["git", "-C", str(root), *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        revision = git("describe", "--always", "--abbrev=12")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *within)
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{revision}-dirty" if changed else revision


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and, where torch is loaded already, its accelerators."""
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return found


@cache
def flops_per_second() -> float:
    """Floating-point operations a second that products of single-precision matrices reach here and now; measured once a
    process, in a tenth of a second. What a model reaches is a part of it: the smaller, the less.

    By the clock of the thread, which all of a product passes in: on a busy machine most are interrupted on their way.
    """
    import numpy as np

    side, begin = 512, time.perf_counter()
    taken: list[float] = []
    one = np.random.default_rng(0).random((side, side), dtype=np.float32)
    while len(taken) < 3 or time.perf_counter() < begin + 0.1:
        start = time.thread_time()
        one @ one
        taken.append(time.thread_time() - start)
    return 2 * side**3 / max(min(taken), 1e-6)


@dataclass
class _Elsewhere:
    """What processes used that are no children of this one, as they told."""

    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0


_ELSEWHERE = _Elsewhere()


def add_usage(cpu_seconds: float, peak_memory_bytes: int) -> None:
    """Count what a process used whose parent is another: a pool's worker, a task on a cluster."""
    _ELSEWHERE.cpu_seconds += cpu_seconds
    _ELSEWHERE.peak_memory_bytes = max(_ELSEWHERE.peak_memory_bytes, peak_memory_bytes)


def cpu_seconds() -> float:
    """CPU seconds of this process so far, of its children that have ended, and of its workers."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime + _ELSEWHERE.cpu_seconds


def peak_memory_bytes() -> int:
    """The most that this process, one of its children or one of its workers has held."""
    scale = 1 if sys.platform == "darwin" else 1024
    own = (resource.getrusage(who).ru_maxrss * scale for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(*own, _ELSEWHERE.peak_memory_bytes)


def usage(start: float, cpu: float) -> dict[str, float]:
    """Wall seconds since ``start``, CPU seconds since :func:`cpu_seconds` was ``cpu``, and peak memory."""
    return {
        "wall_seconds": round(time.time() - start, 3),
        "cpu_seconds": round(cpu_seconds() - cpu, 3),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
