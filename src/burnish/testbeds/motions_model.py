"""A world of motions as files, for `sakd/tiny`: clips as mp4 in class folders, a trained VideoMAE and a smaller one.

Knows transformers' VideoMAE and :mod:`burnish.testbeds.clips`. Deterministic on CPU.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.testbeds.clip_models import Pixels, seeded, teach_labels
from burnish.testbeds.clips import FRAMES, MOTIONS, SIDE, coded, draw_scenes, render, write_clips

TRAINING, TESTS, TEACHERS = 400, 200, 1600
"""Clips: of the student, of its test, and of the teacher, which are others."""
MEAN, STD = 0.3, 0.25
"""Of pixels in [0, 1]: what the models' image processor takes off and divides by."""
STEPS = 1000


def write_world(work: Path) -> None:
    """``clips/train/up/0001.mp4`` and so on, ``clips/test``, ``teacher``, ``student`` (random weights).

    Args:
        work: an existing folder.
    """
    for name, count, seed in (("train", TRAINING, 1), ("test", TESTS, 2)):
        pixels, labels = draw(count, seed)
        write_clips(work / "clips" / name, pixels, labels, [f"{place:04d}" for place in range(count)])
    pixels, labels = draw(TEACHERS, 3)
    teacher: Any = seeded(lambda: new_model(96, 3), 0)
    teach_labels(teacher, as_input(coded(pixels)), labels, STEPS, 1e-3, 0, batch=32)
    student: Any = seeded(lambda: new_model(32, 2), 1)
    for name, model in (("teacher", teacher), ("student", student)):
        model.save_pretrained(work / name)
        (work / name / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=1))


PROCESSOR = {
    "image_processor_type": "VideoMAEImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": SIDE},
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [MEAN] * 3,
    "image_std": [STD] * 3,
}


def draw(count: int, seed: int) -> tuple[Pixels, np.ndarray]:
    """Clips of all motions in turn, not yet coded."""
    rng = np.random.default_rng([seed, 26])
    labels = np.arange(count) % len(MOTIONS)
    return render(draw_scenes(labels, rng), rng), labels


def as_input(pixels: Pixels) -> Float[Tensor, "samples time 3 height width"]:
    """Stored clips as the models take them."""
    return (torch.from_numpy(pixels).permute(0, 1, 4, 2, 3) / 255 - MEAN) / STD


def new_model(hidden: int, layers: int) -> nn.Module:
    """An untrained VideoMAE over 8 frames of 32 px, in patches of 8 px and 2 frames."""
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    config = VideoMAEConfig(
        image_size=SIDE,
        patch_size=8,
        num_frames=FRAMES,
        tubelet_size=2,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        initializer_range=0.05,
        id2label=dict(enumerate(MOTIONS)),
        label2id={name: place for place, name in enumerate(MOTIONS)},
    )
    model: nn.Module = VideoMAEForVideoClassification(config)
    return model
