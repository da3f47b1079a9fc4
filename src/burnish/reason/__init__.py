"""Teach a (multimodal) language model to reason: Hint-GRPO, RFTT, and decoding calibrated against text bias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

__all__ = ["answer", "search"]


def answer(
    model: str | Path | Any,
    question: str,
    images: Sequence[Any] = (),
    *,
    calibrate: float = 0.0,
    plausibility: float | None = None,
    with_model: str | Path | Any | None = None,
    weight: float | None = None,
    max_new_tokens: int = 1024,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    system: str | None = None,
    device: str | None = None,
    constrained: bool = False,
    write: Callable[[str], Any] | None = None,
) -> dict[str, Any]:
    """Ask a language model one question, with pictures or without.

    It decodes plainly, calibrated against text bias, or with a second model that has a say in every token.

    Examples:
        >>> answer("tiny-llava", "what is on the left ?", ["tiny-llava/scene.png"], calibrate=0.8, device="cpu")
        {'answer': ..., 'tokens': ..., 'finished': True, 'calibrate': 0.8, 'model': 'tiny-llava', 'seconds': ...}

    Args:
        model: a folder, a hub id (``base+adapter`` too), or a loaded :class:`burnish.dialogue.models.ChatModel`.
        question: the text.
        images: paths or opened pictures, shown before the text.
        calibrate: strength of the calibration; 0 is plain decoding, the paper's is 0.8.
        plausibility: cut off tokens with less than this share of the likeliest one's probability, given the image.
        with_model: a second model with the same vocabulary, whose logits are mixed in; named or loaded as ``model`` is.
            One that takes no pictures reads the words alone.
        weight: of the second model, in [0, 1]; none is 0.3, as in SHAPE's release.
        max_new_tokens: where an answer is cut off.
        temperature: 0 takes the likeliest token; above 0 samples.
        top_p: sample from the smallest set of tokens with this share of the probability.
        seed: of the sampling.
        system: a system turn.
        device: where a model that is loaded here runs: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; none takes a GPU if
            there is one.
        constrained: a model that has functional tokens writes only what their grammar allows.
        write: gets the answer piece by piece as it is written.

    Returns:
        Plain data: ``answer``, ``tokens``, ``finished`` (false if it was cut off), ``calibrate``, ``model``,
            ``seconds`` (the model's loading left out); with a second model its name and ``weight``; of a model with
            functional tokens the ``steps`` too, each an action and its text.

    Raises:
        UserError: a model or picture that cannot be read, pictures for a text-only model, calibration without a
            picture, two models that do not fit, or a setting out of range.
    """
    from burnish.reason.calibration.inference import ask

    return ask(
        model,
        question,
        images,
        calibration={"gamma": calibrate, "plausibility": plausibility},
        with_model=with_model,
        weight=weight,
        decoding={
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "system": system,
        },
        device=device,
        constrained=constrained,
        write=write,
    )


def search(
    model: str | Path | Any,
    question: str,
    *,
    rollouts: int = 8,
    vote: Literal["majority", "reward", "verifier"] = "majority",
    prm: str | None = None,
    max_depth: int = 18,
    step_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    system: str | None = None,
    device: str | None = None,
    grammar: str | None = None,
    engine: Literal["auto", "reuse", "reencode", "continuous"] = "auto",
    cache: int = 4 << 30,
) -> dict[str, Any]:
    """Ask a model that has functional tokens one question, and let it search for the answer.

    Examples:
        >>> search("runs/rftt-tiny/artifacts/model", "7 0 5 1", rollouts=4, device="cpu")
        {'answer': ..., 'chosen_by': ..., 'candidates': ..., 'steps': ..., 'tokens': ..., 'tree': ...}

    Args:
        model: a folder or hub id, or a loaded :class:`burnish.dialogue.models.ChatModel`.
        question: the text.
        rollouts: walks from the question to an end; 1 at temperature 0 is greedy decoding within the grammar.
        vote: by the ``majority`` of the distinct paths, by the sum of their process scores (``reward``), or the path
            that the process reward model likes best (``verifier``: best of n).
        prm: a process reward model, ``module:function`` or an http(s) address; the last two votes need one.
        max_depth: steps of a walk.
        step_tokens: cap of every step's text; none takes the grammar's.
        temperature: of the text inside a step.
        seed: of the draws.
        system: a system turn.
        device: where a model that is loaded here runs; none takes a GPU if there is one.
        grammar: the model's own, ``module:OBJECT``; none looks for the paper's functional tokens.
        engine: keeps prefixes where the model's layers allow it (``auto``), or one of the others by name.
        cache: bytes of keys and values kept between calls of the model.

    Returns:
        Plain data: ``answer`` (none where no path gave one), ``chosen_by``, ``candidates`` with their weights, the
            ``steps`` of the path that won, ``tokens`` generated, read and reused, ``seconds``, and the whole ``tree``.

    Raises:
        UserError: a model without functional tokens, a vote without a process reward model, or a setting out of range.

    Source: RFTT, inference with more rollouts; how answers are chosen is not published, so the choice is named.
    """
    from burnish.reason.rftt.inference import ask_by_search

    return ask_by_search(
        model,
        question,
        rollouts=rollouts,
        vote=vote,
        prm=prm,
        max_depth=max_depth,
        step_tokens=step_tokens,
        temperature=temperature,
        seed=seed,
        system=system,
        device=device,
        grammar=grammar,
        kind=engine,
        cache=cache,
    )
