"""What the prefix cache and the memo save in a layer-wise search: the same search with and without, in one process.

    python benchmarks/rmm_search.py [--budget 80] [--json FILE]

The floor is the same search with `cache_mb: 0`. Both must find the same architecture; only the work may differ. The
experts are those of `burnish model vit-experts`, on one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from burnish.merge.rmm.problem import load_problem
from burnish.merge.rmm.recipe import SearchRecipe
from burnish.merge.rmm.session import Session
from burnish.testbeds.models import prepare_model

ARMS = {
    "greedy over blocks": {"search": "greedy", "actions": "blocks"},
    "PPO over blocks, warm": {
        "search": "ppo",
        "actions": "blocks",
        "ppo": {"warm_start": 0.7, "skip_and_back": False, "epochs": 10},
    },
    "RMM as published": {"search": "rmm_published", "actions": "blocks", "objective": "score"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=80, help="architectures proposed in each search")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = prepare_model("vit-experts")
    where = {
        "base": str(folder / "models/base"),
        "experts": [str(folder / f"models/expert-{letter}") for letter in "ab"],
        "tasks": [
            {"name": letter, **{part: str(folder / f"data/{letter}-{part}.npz") for part in ("validation", "test")}}
            for letter in "ab"
        ],
    }
    rows = []
    for name, arm in ARMS.items():
        found, seconds = [], []
        for cache in (512, 0):
            recipe = SearchRecipe(**where, **arm, budget=options.budget, tuning_budget=6, cache_mb=cache)
            session = Session(recipe, load_problem(recipe), np.random.default_rng(0))
            start = time.process_time()
            found.append(session.run())
            seconds.append(time.process_time() - start)
        cached, plain = found
        assert cached.architecture == plain.architecture, "a cache may not change what is found"
        rows.append(
            {
                "search": name,
                "blocks run": cached.blocks_run,
                "blocks without cache": plain.blocks_run,
                "saved": f"{1 - cached.blocks_run / plain.blocks_run:.0%}",
                "architectures": f"{cached.evaluated} of {options.budget} proposals",
                "CPU seconds": f"{seconds[0]:.1f} against {seconds[1]:.1f} ({seconds[1] / seconds[0]:.2f}x)",
            }
        )
        print("  ".join(f"{key}: {value}" for key, value in rows[-1].items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
