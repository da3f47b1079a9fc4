"""What the image is compared with: the same prompt without it, or with noise over it. Knows chat models and tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question

Contrast = Callable[[ChatModel, Sequence[Question], Mapping[str, Any], str | None], Mapping[str, Any]]
"""Model, questions, their tensors with images, system turn -> the tensors of the second branch."""


def without_images(
    chat: ChatModel, questions: Sequence[Question], _inputs: Mapping[str, Any], system: str | None
) -> Mapping[str, Any]:
    """The same conversations rendered without any image placeholder (Text-Debiased Hint-GRPO)."""
    return chat.encode(chat.render(questions, system, images=False))


def noised(share: float = 0.5, seed: int = 0) -> Contrast:
    """The same prompts with their pixels drowned in noise, as in Visual Contrastive Decoding (Leng et al., 2024).

    Args:
        share: of the signal's variance that is left: ``sqrt(share) x + sqrt(1 - share) noise``.
        seed: of the noise.
    """

    def contrast(
        _chat: ChatModel, _questions: Sequence[Question], inputs: Mapping[str, Any], _system: str | None
    ) -> Mapping[str, Any]:
        if "pixel_values" not in inputs:
            return inputs
        pixels = inputs["pixel_values"]
        noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed)).to(pixels)
        return {**inputs, "pixel_values": share**0.5 * pixels + (1 - share) ** 0.5 * noise}

    return contrast
