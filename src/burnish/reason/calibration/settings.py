"""What a user may set about calibrated and fused decoding. Knows pydantic only."""

from __future__ import annotations

from pydantic import Field

from burnish.core.recipe import Settings


class Calibration(Settings):
    """How much more the image counts. The defaults are the paper's."""

    gamma: float = Field(default=0.8, ge=0, le=100, allow_inf_nan=False)
    """Strength: logits = image + gamma (image - text). 0 is plain decoding, exactly."""
    plausibility: float | None = Field(default=None, gt=0, le=1)
    """Only tokens with at least this share of the likeliest token's probability, given the image, may be chosen
    (contrastive decoding's cut-off; VCD uses 0.1); none lets every token be chosen, as published."""
    together: bool = True
    """Both branches in one forward pass a token: weights are read once, but the branch without the image keeps as many
    cache entries as the one with it. False runs two passes. Models whose caches cannot be joined always run two."""


class Fusion(Settings):
    """How much a second model has to say. The default is that of SHAPE's release."""

    weight: float = Field(default=0.3, ge=0, le=1, allow_inf_nan=False)
    """Of the second model: logits = (1 - weight) first + weight second. 0 is plain decoding, exactly."""


class Decoding(Settings):
    """How an answer is written, beside calibration. The defaults are the released evaluation's."""

    max_new_tokens: int = Field(default=1024, ge=1)
    """Tokens after which an answer is cut off."""
    temperature: float = Field(default=0.0, ge=0, le=100, allow_inf_nan=False)
    """0 takes the likeliest token; above 0 samples. Applied after calibration."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample from the smallest set of tokens with this share of the probability."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of the sampling."""
    batch: int = Field(default=8, ge=1)
    """Questions answered together."""
    system: str | None = None
    """System turn before each question; none leaves it out."""
