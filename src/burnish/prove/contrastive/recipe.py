"""What a user may set for training an encoder without labels. Knows no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from burnish.core.recipe import Settings

Objective = Literal["simclr", "byol", "simsiam", "moco_v3", "dino"]


class ViewSettings(Settings):
    """One kind of random view. Defaults: DOV4CL's global views."""

    scale: tuple[float, float] = (0.4, 1.0)
    """Share of the area that a crop keeps, from, to."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width over height of a crop, from, to."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    """Strengths of brightness, contrast, saturation and hue."""
    jitter_probability: float = Field(default=0.8, ge=0, le=1)
    """Probability of a colour jitter."""
    grayscale: float = Field(default=0.2, ge=0, le=1)
    """Probability of losing all colour."""

    @model_validator(mode="after")
    def _in_order(self) -> ViewSettings:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale: two shares of the area, 0 < from <= to <= 1, got {list(self.scale)}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio: two positive numbers, from <= to, got {list(self.ratio)}")
        if min(self.jitter) < 0 or max(self.jitter[:3]) > 1 or self.jitter[3] > 0.5:
            raise ValueError(f"jitter: strengths in [0, 1], hue in [0, .5], got {list(self.jitter)}")
        return self


class TrainSettings(Settings):
    """One encoder from scratch. Sources: the five papers; sizes for small images."""

    objective: Objective = "simclr"
    """The method that learns without labels."""
    backbone: str = "resnet"
    """`resnet` or `vit` (tiny ones for small images), or a folder or hub id whose config is taken; its weights are
    not.
    """
    epochs: int = Field(default=800, ge=1)
    """Passes over the images (800 in DOV4CL)."""
    batch: int = Field(default=256, ge=2)
    """Images a step; no more than there are."""
    views: int = Field(default=2, ge=2)
    """Views of each image a step."""
    lr: float = Field(default=1e-3, gt=0)
    """Of AdamW, falling to 0 by a cosine."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Of AdamW."""
    hidden: int = Field(default=256, ge=1)
    """Width of the projector's hidden layer."""
    projection: int = Field(default=64, ge=2)
    """Numbers the projector gives; DINO's prototypes."""
    temperature: float = Field(default=0.2, gt=0)
    """SimCLR, MoCo v3; DINO's student."""
    teacher_temperature: float = Field(default=0.05, gt=0)
    """DINO's teacher."""
    momentum: float = Field(default=0.99, ge=0, lt=1)
    """BYOL, MoCo v3, DINO: of the slow copy; rises to 1."""
    view: ViewSettings = Field(default=ViewSettings(scale=(0.2, 1.0)))
    """The random views; SimCLR keeps a fifth of the area or more."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, mps."""
