"""Logits calibrated against what the text alone makes likely, and logits of two models mixed. Pure tensors.

Source: Text-Debiased Hint-GRPO, equation of the calibrated logits; cut-off: contrastive decoding (Li et al., 2023), as
in VCD. The mix: SHAPE's release.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def calibrate(
    image: Float[Tensor, "*batch vocab"],
    text: Float[Tensor, "*batch vocab"],
    gamma: float,
    plausibility: float | None = None,
) -> Float[Tensor, "*batch vocab"]:
    """``image + gamma (image - text)`` in float32; minus infinity for tokens implausible given the image.

    Up to a constant a row this is classifier-free guidance of scale ``1 + gamma`` on log-probabilities: adding a
    constant to either input changes no probability. Tokens that one branch rules out (minus infinity) keep the image
    branch's logit.

    >>> calibrate(torch.tensor([2.0, 1.0, 0.0]), torch.tensor([3.0, 0.0, 0.0]), 0.8)
    tensor([1.2000, 1.8000, 0.0000])

    Args:
        image: raw next-token logits given image and text.
        text: raw next-token logits given the same text alone.
        gamma: strength; 0 gives ``image`` back, bit for bit.
        plausibility: share of the likeliest token's probability, given the image, below which a token is cut off.
    """
    image = image.float()
    if gamma == 0:
        return image
    text = text.float()
    calibrated = torch.where(image.isinf() | text.isinf(), image, image + gamma * (image - text))
    if plausibility is None:
        return calibrated
    floor = image.amax(-1, keepdim=True) + math.log(plausibility)
    return calibrated.masked_fill(image < floor, -math.inf)


def fuse(
    base: Float[Tensor, "*batch vocab"], other: Float[Tensor, "*batch vocab"], weight: float
) -> Float[Tensor, "*batch vocab"]:
    """``(1 - weight) base + weight other`` in float32: the logits of two models over one vocabulary, mixed.

    Adding a constant to either input changes no probability, so that mixing logits is mixing log-probabilities: a
    weighted geometric mean of the two models' probabilities. A token that a model with any weight rules out (minus
    infinity) stays ruled out.

    >>> fuse(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 3.0]), 0.3)
    tensor([1.4000, 0.9000])

    Args:
        base: raw next-token logits of one model.
        other: of the other, for the same tokens.
        weight: of the other, in [0, 1]; 0 gives ``base`` back, bit for bit, and 1 ``other``.
    """
    if weight in (0, 1):  # nothing times minus infinity is no number
        return (other if weight else base).float()
    return (1 - weight) * base.float() + weight * other.float()
