"""The row of SHAPE in the contract suite: two rounds on scenes, a table of the reference, a probe set."""

from pathlib import Path
from typing import Any

import torch

from burnish.testbeds.scene_model import Spend, train_model

METHOD = "shape"
# Besides the clock: the trainers' mean of the losses of their last session alone.
CLOCKS = ("*_time", "*/train_runtime", "*/train_*_per_second", "*/train_loss", "seconds")

SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "data": {"source": "burnish.testbeds.scenes:training", "limit": 20},
    "vocabulary": "burnish.testbeds.scenes:VOCABULARY",
    "rounds": 2,
    "views": {"views": 3},
    "generator": {"tokens": 24, "records": 5, "temperature": 1.0},
    "pairs": {"winner": "merger", "margin": None},
    "training": {"batch": 4, "micro_batch": 2, "epochs": 2, "learning_rate": 1e-3},
    "probe": {"source": "burnish.testbeds.scenes:probes", "limit": 6, "question": "What is in the picture?",
              "tokens": 24, "each": 1},
    "drift": {"most_precision_lost": None, "require_better_winners": False},
    "keep": 3,
}  # fmt: skip
"""Four shards a round, gradients of two passes, more than one epoch."""


def recipe(folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    chat = train_model(spend=Spend(scenes=256, seeing=20, steps=60, batch=64, rate=4e-3))
    chat.model.save_pretrained(folder / "scenes")
    chat.processor.save_pretrained(folder / "scenes")
    return {"method": METHOD, "model": "scenes", **SETTINGS}
