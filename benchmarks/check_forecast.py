"""What `burnish check` forecasts against what the run then takes: memory, disk, time.

    python benchmarks/check_forecast.py [RECIPE ...] [--json FILE]

Each recipe is checked and then run in a process of its own, in an empty folder, on the machine as it is; the ratio is
the forecast over what was taken. What a run would prepare in the cache is prepared before. Memory and disk should lie
within a factor of two. Time is a count of operations over the rate of a matrix product; on a machine that is shared it
is the machine that is measured, and so it is put beside the CPU seconds too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from burnish.core.forecast import NAMES

CHEAP = ("planning_acting/tiny", "rmm/tiny", "secpe/tiny", "sakd/tiny")


def burnish(folder: Path, *words: str) -> str:
    """What a command prints; raises if it fails."""
    line = [sys.executable, "-m", "burnish.cli", *words]
    return subprocess.run(line, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def compare(name: str) -> dict[str, Any]:
    """Forecast and taken of one recipe."""
    with tempfile.TemporaryDirectory(prefix="burnish-forecast-") as work:
        folder = Path(work)
        rows = json.loads(burnish(folder, "check", name, "--json"))
        if lacking := [row["value"].partition(":")[0] for row in rows if row["what"] == "prepares first"]:
            for each in lacking:  # `model minilm`, as it is typed
                burnish(folder, *each.split())
            rows = json.loads(burnish(folder, "check", name, "--json"))
        said = {row["what"]: row["value"] for row in rows}
        burnish(folder, "run", name, "--out", "run", "--quiet")
        run = folder / "run"
        record = json.loads((run / "run.json").read_text())
        taken = {
            "memory_bytes": record["peak_memory_bytes"],
            "disk_bytes": sum(file.stat().st_size for file in run.rglob("*") if file.is_file()),
            "seconds": record["wall_seconds"],
        }
        return {
            "recipe": name,
            "cpu_seconds": record["cpu_seconds"],
            **{key: {"forecast": said[key], "taken": taken[key], "ratio": said[key] / taken[key]} for key in NAMES},
        }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=CHEAP, help="shipped recipes, or files")
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    found = []
    print(f"{'recipe':22}{'':14}{'forecast':>16}{'taken':>16}{'ratio':>8}")
    for name in asked.recipes:
        found.append(compare(name))
        for key in NAMES:
            each = found[-1][key]
            print(f"{name:22}{key:14}{each['forecast']:16,.0f}{each['taken']:16,.0f}{each['ratio']:8.2f}", flush=True)
        said, cpu = found[-1]["seconds"]["forecast"], found[-1]["cpu_seconds"]
        print(f"{name:22}{'cpu_seconds':14}{said:16,.0f}{cpu:16,.0f}{said / cpu:8.2f}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
