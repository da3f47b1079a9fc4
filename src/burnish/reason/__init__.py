"""Teach a (multimodal) language model to reason: Hint-GRPO, and decoding calibrated against text bias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["answer"]


def answer(
    model: str | Path | Any,
    question: str,
    images: Sequence[Any] = (),
    *,
    calibrate: float = 0.0,
    plausibility: float | None = None,
    max_new_tokens: int = 1024,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    system: str | None = None,
    device: str | None = None,
    write: Callable[[str], Any] | None = None,
) -> dict[str, Any]:
    """Ask a language model one question, with pictures or without, decoding plainly or calibrated against text bias.

    Examples:
        >>> answer("tiny-llava", "what is on the left ?", ["tiny-llava/scene.png"], calibrate=0.8, device="cpu")
        {'answer': ..., 'tokens': ..., 'finished': True, 'calibrate': 0.8, 'model': 'tiny-llava', 'seconds': ...}

    Args:
        model: a folder, a hub id (``base+adapter`` too), or a loaded :class:`burnish.dialogue.models.ChatModel`.
        question: the text.
        images: paths or opened pictures, shown before the text.
        calibrate: strength of the calibration; 0 is plain decoding, the paper's is 0.8.
        plausibility: cut off tokens with less than this share of the likeliest one's probability, given the image.
        max_new_tokens: where an answer is cut off.
        temperature: 0 takes the likeliest token; above 0 samples.
        top_p: sample from the smallest set of tokens with this share of the probability.
        seed: of the sampling.
        system: a system turn.
        device: where a model that is loaded here runs: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; none takes a GPU if
            there is one.
        write: gets the answer piece by piece as it is written.

    Returns:
        Plain data: ``answer``, ``tokens``, ``finished`` (false if it was cut off), ``calibrate``, ``model``,
            ``seconds`` (the model's loading left out).

    Raises:
        UserError: a model or picture that cannot be read, pictures for a text-only model, calibration without a
            picture, or a setting out of range.
    """
    from burnish.reason.calibration.inference import ask

    return ask(
        model,
        question,
        images,
        calibration={"gamma": calibrate, "plausibility": plausibility},
        decoding={
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "system": system,
        },
        device=device,
        write=write,
    )
