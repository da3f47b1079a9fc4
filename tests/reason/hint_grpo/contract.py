"""The row of Hint-GRPO in the contract suite: ten steps of a model of 32 units on chains of arithmetic."""

from pathlib import Path
from typing import Any

import torch

from burnish.testbeds.arithmetic import make_tokenizer, train_base

METHOD = "hint_grpo"
# Besides the clock: the trainer's mean of the losses of its last session alone.
CLOCKS = ("*_time", "train_runtime", "train_*_per_second", "train_loss", "seconds")


SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "data": {"source": "burnish.testbeds.arithmetic:training", "limit": 12},
    "test": {"source": "burnish.testbeds.arithmetic:test", "limit": 32},
    "system": None,
    "hints": {"levels": 3, "guard": False},
    "judge": "answer",
    "questions": 4,
    "micro_batch": 8,
    "updates": 2,
    "dynamic_sampling": 1,
    "completion_tokens": 14,
    "temperature": 1.0,
    "steps": 10,
    "learning_rate": 1e-3,
    "keep": 3,
}
"""Ten steps in which every batch of completions is used twice, over more than one epoch, with refilled batches."""


def recipe(folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    train_base(steps=120, width=32).save_pretrained(folder / "model")
    make_tokenizer().save_pretrained(folder / "model")
    return {"method": METHOD, "model": "model", **SETTINGS}
