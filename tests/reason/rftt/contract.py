"""The row of RFTT in the contract suite: a search by prompts, eight steps of fine-tuning, four of reinforcement."""

from pathlib import Path
from typing import Any

import torch

from burnish.testbeds.ways_model import write_base

METHOD = "rftt"
# Besides the clock: the trainers' mean of the losses of their last session alone.
CLOCKS = ("*_time", "*/train_runtime", "*/train_*_per_second", "*/train_loss", "seconds")

SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "data": {"source": "burnish.testbeds.ways:training", "limit": 12},
    "test": {"source": "burnish.testbeds.ways:test", "limit": 8},
    "test_tokens": 30,
    "test_rollouts": 2,
    "grammar": {"max_depth": 6},
    "warmup": {
        "search": {
            "rollouts": 6, "max_depth": 3, "tokens": 12, "prompts": "ways/prompts", "batch": 64, "trees": 6
        },
        "learning_rate": 2e-3, "warmup_steps": 2, "batch": 4, "accumulate": 2, "steps": 8,
    },
    "rl": {
        "layout": "mcts", "samples": 4, "questions": 2, "micro_batch": 4, "step_tokens": 8, "temperature": 1.0,
        "steps": 4, "learning_rate": 1e-4,
    },
    "keep": 3,
}  # fmt: skip
"""Both phases, more than one wave of trees, accumulation in both trainings. The last step of reinforcement ends no
epoch: a run that is killed after it must make no step more."""


def recipe(folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    write_base(folder / "ways", steps=150, width=32)
    return {"method": METHOD, "model": "ways", **SETTINGS}
