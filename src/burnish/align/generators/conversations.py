"""Asks as conversations of OpenAI's interface, pictures inside as data. Knows Pillow."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from burnish.align.records import Ask


def conversation(ask: Ask, system: str | None = None) -> list[dict[str, Any]]:
    """The turns of an ask: the picture before the text, as every prompt here has it."""
    shown: list[dict[str, Any]] = []
    if ask.image is not None:
        shown.append({"type": "image_url", "image_url": {"url": data_address(ask.image)}})
    content = [*shown, {"type": "text", "text": ask.question}] if shown else ask.question
    turns: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
    return [*turns, {"role": "user", "content": content}]


def data_address(image: Image.Image) -> str:
    """A picture as an address that holds it; PNG, so that the model sees the very view."""
    packed = io.BytesIO()
    image.convert("RGB").save(packed, "png", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"
