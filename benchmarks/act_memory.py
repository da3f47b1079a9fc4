"""The team's memory beside the published design, in one run: 64 writers, each appends and reads.

    python benchmarks/act_memory.py [--size small|full] [--json FILE]

Ours is the SQLite log as shipped (WAL, one transaction an event): 64 tasks of one process, then 4 processes of 16
tasks. The peer follows the public code of the paper (Odyssey, Multi-Agent): the team's memory is one JSON file behind a
file lock; a writer loads all of it, appends to its list and writes all of it, indented by four; a reader loads it
without the lock, and goes without if it meets a half-written file (counted as a torn read): 64 threads, then 4
processes of 16 threads. Both store the same observation of about 1 KB, and start with a log of the same length: the
peer's cost grows with it, ours does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from burnish.act.memory.sqlite import SQLiteMemory

WRITERS, PROCESSES = 64, 4
SIZES = {"small": ((0, 500), 1.0), "full": ((0, 1_000, 5_000), 8.0)}
"""Events in the log at the start, and seconds of writing."""
SEEN = {
    "time": 103.25, "sky": "day", "at": [24, 31], "health": 17.0, "hunger": 18.0, "hand": "stone_pickaxe",
    "armour": 0.0,
    "inventory": {f"item_{number}": number for number in range(16)},
    "blocks": {f"block_of_kind_{number}": [number, number + 7] for number in range(20)},
    "goal": {"team_items": {"torch": 8, "shield": 1}, "team_missing": {"shield": 1}},
    "goal_reached": False, "alive": True,
}  # fmt: skip


def name(writer: int) -> str:
    return f"agent_{writer}"


# Ours


async def our_writer(memory: SQLiteMemory, writer: int, until: float) -> int:
    count = 0
    while time.monotonic() < until:
        await memory.append("observe", name(writer), SEEN, time=0.0)
        snapshot = await memory.snapshot()
        assert name(writer) in snapshot.observations
        count += 1
        await asyncio.sleep(0)
    return count


def our_part(path: Path, writers: range, until: float) -> tuple[int, int]:
    async def main() -> int:
        memory = SQLiteMemory(path)
        found = await asyncio.gather(*(our_writer(memory, writer, until) for writer in writers))
        await memory.close()
        return sum(found)

    return asyncio.run(main()), 0


def our_start(path: Path, length: int) -> None:
    async def main() -> None:
        memory = SQLiteMemory(path)
        for number in range(length):
            await memory.append("observe", name(number % WRITERS), SEEN, time=0.0)
        await memory.close()

    asyncio.run(main())


def our_length(path: Path) -> int:
    async def main() -> int:
        memory = SQLiteMemory(path)
        length = (await memory.snapshot()).version
        await memory.close()
        return length

    return asyncio.run(main())


# The published design


def append(path: Path, writer: int) -> None:
    with FileLock(f"{path}.lock"):
        data = json.loads(path.read_text())
        data.setdefault(name(writer), []).append(SEEN)
        with path.open("w") as file:
            json.dump(data, file, indent=4)


def latest(path: Path) -> dict[str, Any] | None:
    try:
        return {who: rows[-1] for who, rows in json.loads(path.read_text()).items()}
    except json.JSONDecodeError:
        return None


def peer_part(path: Path, writers: range, until: float) -> tuple[int, int]:
    counts: list[tuple[int, int]] = []

    def work(writer: int) -> None:
        count = torn = 0
        while time.monotonic() < until:
            append(path, writer)
            if time.monotonic() < until:
                torn += latest(path) is None
            count += 1
        counts.append((count, torn))

    threads = [threading.Thread(target=work, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(count for count, _ in counts), sum(torn for _, torn in counts)


def peer_start(path: Path, length: int) -> None:
    rows = {name(writer): [SEEN] * len(range(writer, length, WRITERS)) for writer in range(min(WRITERS, length))}
    path.write_text(json.dumps(rows, indent=4))


def peer_length(path: Path) -> int:
    return sum(len(rows) for rows in json.loads(path.read_text()).values())


Part = Callable[[Path, range, float], tuple[int, int]]
DESIGNS: dict[str, tuple[Callable[[Path, int], None], Part, Callable[[Path], int]]] = {
    "burnish": (our_start, our_part, our_length),
    "published": (peer_start, peer_part, peer_length),
}


def _send(part: Part, path: Path, writers: range, until: float, found: Any) -> None:
    found.put(part(path, writers, until))


def measure(design: str, length: int, seconds: float, processes: int) -> dict[str, float]:
    """Events a second of one design; checks that no event was lost."""
    start, part, count = DESIGNS[design]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory"
        start(path, length)
        if processes == 1:
            begun = time.monotonic()
            written, torn = part(path, range(WRITERS), begun + seconds)
        else:
            context = multiprocessing.get_context("fork")
            found: Any = context.Queue()
            each = WRITERS // processes
            begun = time.monotonic()
            parts = [range(number * each, (number + 1) * each) for number in range(processes)]
            children = [context.Process(target=_send, args=(part, path, one, begun + seconds, found)) for one in parts]
            for child in children:
                child.start()
            results = [found.get() for _ in children]
            for child in children:
                child.join()
            written, torn = (sum(column) for column in zip(*results, strict=True))
        took = time.monotonic() - begun
        stored = count(path) - length
    return {"per_second": written / took, "torn": torn, "lost": written - stored}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    lengths, seconds = SIZES[options.size]
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}"
    )
    rows = []
    for length in lengths:
        for processes in (1, PROCESSES):
            found = {design: measure(design, length, seconds, processes) for design in DESIGNS}
            ours, theirs = found["burnish"], found["published"]
            rows.append(
                {
                    "events at the start": length,
                    "processes": processes,
                    "burnish": round(ours["per_second"], 1),
                    "published": round(theirs["per_second"], 1),
                    "ratio": round(ours["per_second"] / theirs["per_second"], 1),
                    "events lost": f"{ours['lost']} and {theirs['lost']}",
                    "torn reads": theirs["torn"],
                }
            )
            print("  ".join(f"{key}: {value}" for key, value in rows[-1].items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
