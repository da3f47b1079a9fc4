"""Views, embeddings and statistics of an ownership audit: batched, against a plain loop over one image at a time.

    python benchmarks/prove_views.py [--images 128] [--side 32] [--repeats 5] [--json FILE]

Both make the same views of the same pictures with the same encoder (a tiny ResNet) and the same two relationships. The
batched side is what an audit runs: its views, its way of asking a local checkpoint, its statistics. The loop makes and
shows one view at a time and compares two views at a time, as a script would. Both prepare pictures with the
checkpoint's own image processor. Medians over as many repeats of each, in turn, in one process, on one thread; what
counts is the ratio. Also: queries and bytes of an audit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from burnish.prove.contrastive.augment import random_views
from burnish.prove.contrastive.backbones import new_encoder, save_encoder
from burnish.prove.dov4cl import relations
from burnish.prove.dov4cl.recipe import PipelineSettings
from burnish.prove.dov4cl.views import KINDS, make_views, numbers, view_size
from burnish.prove.suspects.huggingface import HuggingFace
from burnish.prove.suspects.settings import SuspectSettings

VIEWS = PipelineSettings()
BATCH = 256
"""Of an audit's shadows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=128, help="pictures")
    parser.add_argument("--side", type=int, default=32, help="their side in pixels, RGB")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (options.images, options.side, options.side, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        save_encoder(new_encoder("resnet", 3, options.side), Path(folder) / "encoder", 3, options.side, "")
        suspect = HuggingFace(SuspectSettings(model=str(Path(folder) / "encoder")), "embeddings")
    rows, total = [], {"batched": 0.0, "loop": 0.0}
    made: dict[str, Any] = {}
    steps: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        ("views", lambda: batched_views(pixels), lambda: looped_views(pixels)),
        (
            "embeddings",
            lambda: batched_embeddings(suspect, made["views"]),
            lambda: looped_embeddings(suspect, made["views"]),
        ),
        ("statistics", lambda: batched_statistics(made["embeddings"]), lambda: looped_statistics(made["embeddings"])),
    ]
    with torch.inference_mode():
        for name, batched, loop in steps:
            (fast, made[name]), (slow, other) = timed(batched, loop, options.repeats)
            for one, two in zip(made[name], other, strict=True):
                # views may differ by the rounding of one level
                np.testing.assert_allclose(one, two, atol=1 if name == "views" else 1e-4)
            total["batched"] += fast
            total["loop"] += slow
            rows.append({"step": name, "batched s": fast, "loop s": slow, "times faster": slow / fast})
    rows.append(
        {
            "step": "all",
            "batched s": total["batched"],
            "loop s": total["loop"],
            "times faster": total["loop"] / total["batched"],
        }
    )
    for row in rows:
        print(f"{row['step']:<11} {row['batched s']:8.3f} s  loop {row['loop s']:8.3f} s  {row['times faster']:6.1f}x")
    queries = options.images * (VIEWS.global_views + VIEWS.local_views)
    size = sum(each.nbytes for each in made["views"])
    print(f"{queries / total['batched']:,.0f} views a second, all in; loop {queries / total['loop']:,.0f}")
    print(f"an audit of {options.images} pictures: {queries:,} queries, {size / 1e6:.2f} MB of views to each model")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "queries": queries, "bytes": size}, indent=1))


def timed(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> list[tuple[float, Any]]:
    """Median seconds of each after one run that is not counted, and the results; in turn, so that noise hits both."""
    results, spent = [first(), second()], [[], []]  # type: tuple[list[Any], list[list[float]]]
    for _ in range(repeats):
        for place, work in enumerate((first, second)):
            start = time.perf_counter()
            results[place] = work()
            spent[place].append(time.perf_counter() - start)
    return [(statistics.median(times), result) for times, result in zip(spent, results, strict=True)]


def batched_views(pixels: np.ndarray) -> list[np.ndarray]:
    index = np.arange(len(pixels))
    return [make_views(pixels, index, VIEWS, kind, 0) for kind in KINDS]  # type: ignore[arg-type]


def looped_views(pixels: np.ndarray) -> list[np.ndarray]:
    found = []
    for number, kind in enumerate(KINDS):
        count = getattr(VIEWS, f"{kind}_views")
        size = view_size(VIEWS, kind, *pixels.shape[1:3])  # type: ignore[arg-type]
        rows = []
        for place, picture in enumerate(pixels):
            image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
            drawn = torch.from_numpy(numbers(0, number, 0, np.array([place]), count))[0]
            views = [random_views(image, drawn[v : v + 1], getattr(VIEWS, f"{kind}_view"), size) for v in range(count)]
            rows.append([(view[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy() for view in views])
        found.append(np.array(rows))
    return found


def batched_embeddings(suspect: HuggingFace, views: list[np.ndarray]) -> list[np.ndarray]:
    found = []
    for kind in views:
        pixels = kind.reshape(-1, *kind.shape[2:])
        parts = [suspect.answer(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
        found.append(np.concatenate(parts).reshape(*kind.shape[:2], -1))
    return found


def looped_embeddings(suspect: HuggingFace, views: list[np.ndarray]) -> list[np.ndarray]:
    return [np.array([[suspect.answer(view[None])[0] for view in image] for image in kind]) for kind in views]


def batched_statistics(embeddings: list[np.ndarray]) -> list[np.ndarray]:
    wide, small = (relations.unit(torch.from_numpy(kind)) for kind in embeddings)
    return [
        relations.unary(wide, small).mean(0).numpy(),
        relations.spread(relations.binary(wide, small)).numpy(),
    ]


def looped_statistics(embeddings: list[np.ndarray]) -> list[np.ndarray]:
    views = F.normalize(torch.cat([torch.from_numpy(kind) for kind in embeddings], 1), dim=-1).numpy()
    k, m, count = len(views), embeddings[0].shape[1], views.shape[1]
    groups: list[list[tuple[int, int]]] = [[], [], []]
    for u, v in itertools.combinations(range(count), 2):
        groups[0 if v < m else 1 if u >= m else 2].append((u, v))
    unary, binary = [], []
    for pairs in groups:
        unary.append(np.mean([views[i, u] @ views[i, v] for i in range(k) for u, v in pairs]))
        gaps = 0.0
        for u, v in pairs:
            first, second = views[:, u] @ views[:, u].T, views[:, v] @ views[:, v].T
            gaps += np.abs(first - second).sum() / (k * (k - 1))
        binary.append(gaps / len(pairs))
    return [np.array(unary), np.array(binary)]


if __name__ == "__main__":
    main()
