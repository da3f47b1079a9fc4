"""Tiny classifiers and clips for tests: a VideoMAE of one layer over 4 frames of 16 px, a ViT over pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, ViTConfig, ViTForImageClassification

from burnish.distill.models import Classifier, classifier_of
from burnish.distill.recipe import SakdRecipe
from burnish.distill.records import Clips

LABELS = ("up", "down", "round")


def names(config: Any, labels: Sequence[str]) -> Any:
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: number for number, name in enumerate(labels)}
    return config


def video_model(hidden: int = 16, seed: int = 0, labels: Sequence[str] = LABELS, **settings: Any) -> Any:
    config = VideoMAEConfig(
        image_size=16,
        patch_size=8,
        num_frames=4,
        tubelet_size=2,
        hidden_size=hidden,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        **settings,
    )
    torch.manual_seed(seed)
    return VideoMAEForVideoClassification(names(config, labels))


def picture_model(hidden: int = 16, seed: int = 0, labels: Sequence[str] = LABELS, **settings: Any) -> Any:
    config = ViTConfig(
        image_size=16,
        patch_size=8,
        hidden_size=hidden,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        **settings,
    )
    torch.manual_seed(seed)
    return ViTForImageClassification(names(config, labels))


def classifier(model: Any) -> Classifier:
    return classifier_of(model)


def some_clips(count: int = 23, frames: int = 4, seed: int = 0, side: int = 16) -> Clips:
    """Noise whose brightness tells the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(LABELS)
    pixels = rng.integers(0, 128, (count, frames, side, side, 3)) + 60 * labels[:, None, None, None, None]
    return Clips(pixels.clip(0, 255).astype(np.uint8), labels.astype(np.int64), tuple(f"s{i}" for i in range(count)))


def small_recipe(**settings: Any) -> SakdRecipe:
    return SakdRecipe(**{
        "teacher": "teacher",
        "student": "student",
        "data": {"source": "clips"},
        "clip": {"frames": 4, "size": (16, 16)},
        "device": "cpu",
        "epochs": 4,
        "interval": 2,
        "batch": 4,
        "frozen_batch": 7,
        "learning_rate": 0.05,
        "selection": {"share": 0.5},
        **settings,
    })  # fmt: skip
