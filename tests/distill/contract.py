"""The row of SAKD in the contract suite: a VideoMAE of 16 units taught by one of 32, on 24 video files of 8 motions."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from burnish.testbeds.clips import MOTIONS, draw_scenes, render, write_clips
from tests.distill.tiny import video_model

METHOD = "sakd"
CLOCKS = ("*_seconds",)

SETTINGS: dict[str, Any] = {
    "teacher": "teacher",
    "student": "student",
    "device": "cpu",
    "data": {"source": "clips/train"},
    "test": {"source": "clips/test"},
    "clip": {"frames": 4, "size": [16, 16]},
    "augment": {"views": 2, "flip": True, "crop": 0.8},
    "selection": {"share": 0.5},
    "interval": 2,
    "epochs": 8,
    "batch": 4,
    "micro_batch": 2,
    "frozen_batch": 8,
    "learning_rate": 0.05,
    "lr_scheduler": "cosine",
    "keep": 3,
}
"""Four evaluations, the last with exchanged frames; two views; two passes a step."""


def write_world(folder: Path, train: int = 24) -> None:
    """Both models, and video files to train and to test on, below a folder."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("test", 8)):
        labels = np.arange(count) % len(MOTIONS)
        clips = render(draw_scenes(labels, rng, frames=4), rng, side=16)
        write_clips(folder / "clips" / part, clips, labels, [f"{number:03d}" for number in range(count)])
    classes = sorted(MOTIONS)  # as folders are read
    video_model(32, seed=0, labels=classes).save_pretrained(folder / "teacher")
    video_model(16, seed=1, labels=classes, hidden_dropout_prob=0.1).save_pretrained(folder / "student")


def recipe(folder: Path) -> dict[str, Any]:
    write_world(folder)
    return {"method": METHOD, **SETTINGS}
