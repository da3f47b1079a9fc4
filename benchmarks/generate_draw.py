"""Drawing with prompt and plan read once, against reading them again at every step.

    python benchmarks/generate_draw.py [--json FILE]

  cached    the product: prefix read once, every step computes noisy patches alone; both branches of guidance are noisy
            blocks of one row behind one prefix
  again     the whole row (prompt, plan, noisy patches) at every step; both branches in one batch, the plain way
Same weights, noise, steps and guidance; the pictures must be equal. Also one branch instead of two, and writing a plan
with the cache. A single small scene is bound by the calls, not by the tokens: it is shown, and no claim is made of it.
One thread, CPU seconds; the ways take turns, the median of ratios within a round is given.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor

from burnish.generate.codecs.pixel import PixelCodec
from burnish.generate.drawing import Guidance, drawing
from burnish.generate.flow import euler, schedule
from burnish.generate.initial import from_scratch
from burnish.generate.interleaving import read_text, write
from burnish.generate.model import UnifiedModel
from burnish.generate.records import Batch, Layout, Segment
from burnish.generate.settings import ModelSettings

AT_LEAST = 2.0
STEPS, ROUNDS, WEIGHT = 20, 7, 2.5
CASES = {  # prompt, plan, rows; the picture has 16 patches
    "one scene": (10, 16, 1),
    "scenes": (10, 16, 32),
    "long plan": (32, 160, 4),
}


def cached(model: UnifiedModel, prompt: Tensor, plan: Tensor, noise: Tensor, weight: float = WEIGHT) -> Tensor:
    cache = read_text(model, read_text(model, None, prompt), plan)
    *_, last = drawing(model, cache, noise, steps=STEPS, guidance=Guidance(weight), prompt=(0,), plan=(1,))
    return last.noisy


@torch.no_grad()
def again(model: UnifiedModel, prompt: Tensor, plan: Tensor, noise: Tensor) -> Tensor:
    rows, patches, dim = noise.shape
    text = torch.cat([prompt, plan], 1).repeat(2, 1)
    layout = Layout((Segment("text", prompt.shape[1]), Segment("text", plan.shape[1]), Segment("noisy", patches, 0)))
    hidden = torch.zeros(2 * rows, 1, 3, dtype=torch.bool)
    hidden[rows:, :, :2] = True
    state, empty = noise, torch.zeros(2 * rows, 0, patches, dim)
    for now, then in pairwise(schedule(STEPS, 6.0)):
        batch = Batch(layout, text, empty, state.repeat(2, 1, 1)[:, None], torch.full((2 * rows, 1), now), None, hidden)
        with_all, without = model(batch).estimates[:, 0].chunk(2)
        state = euler(state, without + WEIGHT * (with_all - without), now, then)
    return state


def timed(step: Callable[[], Any]) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


def measured(model: UnifiedModel, prompts: int, plans: int, rows: int) -> dict[str, Any]:
    prompt, plan = torch.randint(0, 64, (rows, prompts)), torch.randint(0, 64, (rows, plans))
    noise = torch.randn(rows, 16, 192)

    def ours(weight: float = WEIGHT) -> Tensor:
        return cached(model, prompt, plan, noise, weight)

    def plain() -> Tensor:
        return again(model, prompt, plan, noise)

    difference = (ours() - plain()).abs().max().item()
    assert difference < 1e-4, difference
    found = [(timed(ours), timed(plain)) for _ in range(ROUNDS)]
    ratio = median(slow / fast for fast, slow in found)
    single = median(timed(lambda: ours(1.0)) for _ in range(ROUNDS))
    return {
        "prompt, plan, rows": (prompts, plans, rows),
        "cached_ms": round(1000 * median(fast for fast, _ in found), 1),
        "again_ms": round(1000 * median(slow for _, slow in found), 1),
        "times_faster": round(ratio, 2),
        "largest_difference": difference,
        "cached_ms_without_guidance": round(1000 * single, 1),
        "holds": ratio >= AT_LEAST,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = from_scratch(ModelSettings(), PixelCodec((32, 32), 8), vocabulary=64).eval()
    report: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    for name, case in CASES.items():
        report[name] = measured(model, *case)
        print(name, json.dumps(report[name]), flush=True)
    prompt = torch.randint(0, 64, (8, 10))
    report["writing"] = {
        "ms_a_token": round(1000 * timed(lambda: write(model, None, prompt, 99, 64)) / 64, 2),
        "rows": 8,
    }
    print("writing", json.dumps(report["writing"]))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
