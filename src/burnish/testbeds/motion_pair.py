"""A pair of video classifiers in the Hugging Face layout, and video files to distil on: for ``sakd/tiny``.

Two VideoMAE of random weights learn the eight motions (:mod:`burnish.testbeds.clips`) from clips that are none of the
files: the teacher until it knows them, the smaller one until it has begun to, as a student that was pre-trained has. On
the torus a clip may be rolled by any way and played backwards (it shows the opposite motion then), so that a thousand
clips are many. Deterministic on CPU.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int64

from burnish.core.parallel import one_thread
from burnish.testbeds.clips import FRAMES, MOTIONS, SIDE, Pixels, coded, draw_scenes, render, write_clips

if TYPE_CHECKING:
    from transformers import VideoMAEForVideoClassification

FILES = {"train": 400, "test": 160}
OWN = 1200
"""Clips that the two learn from before."""
OPPOSITE = (1, 0, 3, 2, 5, 4, 7, 6)
"""What each motion is when it is played backwards."""
CLASSES = tuple(sorted(MOTIONS))
"""As folders are read."""
PAIR = (("teacher", 96, 2, 900), ("student", 48, 2, 700))
"""Width, layers and steps of each."""
MEAN, SPREAD = 0.4, 1.0
"""Of pixels in [0, 1], as both take them."""


def write_pair(work: Path) -> None:
    """``teacher`` and ``student``, model folders, and ``train`` and ``test``, a folder of video files a motion.

    Args:
        work: an existing folder.

    Raises:
        UserError: PyAV is not installed.
    """
    rng = np.random.default_rng(0)
    for part, count in FILES.items():
        labels = np.arange(count) % len(MOTIONS)
        write_clips(work / part, _filmed(labels, rng), labels, [f"{number:04d}" for number in range(count)])
    labels = np.arange(OWN) % len(MOTIONS)
    clips = coded(_filmed(labels, rng))
    with one_thread():
        for name, width, layers, steps in PAIR:
            save_model(train(new_model(width, layers, seed=0), clips, labels, steps, seed=1), work / name)


def new_model(width: int, layers: int, seed: int) -> VideoMAEForVideoClassification:
    """An untrained classifier of 16 tokens, a quarter of the picture by two frames each."""
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    config = VideoMAEConfig(
        image_size=SIDE,
        patch_size=SIDE // 2,
        num_frames=FRAMES,
        tubelet_size=2,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 16,
        intermediate_size=2 * width,
        initializer_range=0.05,
    )
    config.id2label = dict(enumerate(CLASSES))
    config.label2id = {name: number for number, name in enumerate(CLASSES)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VideoMAEForVideoClassification(config)


def train(
    model: VideoMAEForVideoClassification,
    clips: Pixels,
    labels: Int64[np.ndarray, " clips"],
    steps: int,
    seed: int,
    learning_rate: float = 2e-3,
) -> VideoMAEForVideoClassification:
    """AdamW on batches of 32, rolled and in half of the steps played backwards; the rate rises for 50 steps and falls.

    Args:
        model: trained in place.
        clips: RGB.
        labels: place in :data:`~burnish.testbeds.clips.MOTIONS`.
        steps: of the optimizer.
        seed: of batches and ways.
        learning_rate: at its largest.
    """
    pixels = torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 255
    places = np.array([CLASSES.index(name) for name in MOTIONS])
    forth, back = (torch.from_numpy(places[order]) for order in (labels, np.array(OPPOSITE)[labels]))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    model.train()
    for step in range(steps):
        course = min(1.0, (step + 1) / 50) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.param_groups[0]["lr"] = learning_rate * course
        batch = torch.randint(len(labels), (32,), generator=generator)
        down, across, turn = torch.randint(2 * SIDE, (3,), generator=generator).tolist()
        views, truth = pixels[batch].roll((down, across), (3, 4)), forth[batch]
        if turn % 2:
            views, truth = views.flip(1), back[batch]
        loss = torch.nn.functional.cross_entropy(model((views - MEAN) / SPREAD).logits, truth)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def save_model(model: VideoMAEForVideoClassification, folder: Path) -> None:
    """A model folder with its image processor's file."""
    model.save_pretrained(folder)
    side = {"height": SIDE, "width": SIDE}
    content = {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": SIDE},
        "do_center_crop": True,
        "crop_size": side,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN] * 3,
        "image_std": [SPREAD] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(content, indent=1))


def _filmed(labels: Int64[np.ndarray, " clips"], rng: np.random.Generator) -> Pixels:
    return render(draw_scenes(labels, rng), rng)
