"""One question from the outside: settings checked, model loaded, the answer written as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from pydantic import ValidationError

from burnish.core.errors import UserError
from burnish.core.recipe import Settings, explain
from burnish.dialogue.models import ChatModel, load_chat_model
from burnish.dialogue.rows import Question
from burnish.reason.calibration.answering import NOT_BOTH, answer_questions
from burnish.reason.calibration.fusion import Partner, pair_up
from burnish.reason.calibration.settings import Calibration, Decoding, Fusion

Group = TypeVar("Group", bound=Settings)
ARGUMENTS = {"gamma": "calibrate"}
"""What :func:`burnish.reason.answer` calls a setting, where its name differs."""


def ask(
    model: str | Path | ChatModel,
    question: str,
    images: Sequence[str | Path | Image.Image],
    *,
    calibration: dict[str, Any],
    decoding: dict[str, Any],
    with_model: str | Path | ChatModel | None,
    weight: float | None,
    device: str | None,
    constrained: bool,
    write: Callable[[str], Any] | None,
) -> dict[str, Any]:
    """See :func:`burnish.reason.answer`."""
    settings, how = _checked(Calibration, calibration), _checked(Decoding, decoding)
    if not question.strip():
        raise UserError("question: is empty; write what to ask")
    fusion = _checked(Fusion, {} if weight is None else {"weight": weight})
    if weight is not None and with_model is None:
        raise UserError("weight: is a second model's, and there is none; name it by with_model")
    if settings.gamma and with_model is not None:
        raise UserError(NOT_BOTH)  # before the models are loaded
    if settings.gamma and not images:
        raise UserError("calibrate: compares the model with and without the picture; give one")
    pictures = tuple(image if isinstance(image, Image.Image) else Path(image) for image in images)
    for picture in pictures:
        if isinstance(picture, Path) and not picture.is_file():
            raise UserError(f"{picture}: no such picture; give the path of a file")  # before the model is loaded
    chat = _loaded(model, device)
    from burnish.reason.rftt.inference import find_traced

    traced = find_traced(chat)
    if constrained and traced is None:
        raise UserError(f"constrained: {chat.name} has no functional tokens whose grammar it could keep to")
    partner: Partner | None = None
    if with_model is not None:
        if traced is not None:
            raise UserError(f"with_model: {chat.name} writes functional tokens, which it does not share; ask it alone")
        partner = pair_up(chat, _loaded(with_model, device), fusion.weight)
    started = time.perf_counter()
    streamer = None if write is None else _streamer(chat, write)
    asked = Question(question, "", images=pictures, row="the question")
    (found,) = answer_questions(
        chat, [asked], settings, how, partner=partner, streamer=streamer, traced=traced, constrained=constrained
    )
    steps = {} if traced is None else {"steps": traced.steps(found.ids)}
    mixed = {} if partner is None else {"with_model": partner.chat.name, "weight": partner.weight}
    return {
        "answer": found.text,
        "tokens": found.tokens,
        "finished": found.finished,
        "calibrate": settings.gamma,
        "model": chat.name,
        "seconds": round(time.perf_counter() - started, 3),
        **mixed,
        **steps,
    }


def _checked(group: type[Group], given: dict[str, Any]) -> Group:
    try:
        return group.model_validate(given)
    except ValidationError as error:

        def where(path: tuple[str | int, ...]) -> str:
            return ARGUMENTS.get(str(path[0]), group.__name__.lower())

        raise UserError(explain(error, group, where)) from None


def _loaded(model: str | Path | ChatModel, device: str | None) -> ChatModel:
    return model if isinstance(model, ChatModel) else load_chat_model(model, device=_device(device))


def _device(name: str | None) -> str:
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device: {name}: not here ({' '.join(str(error).split())[:120]})") from None
    return name


def _streamer(chat: ChatModel, write: Callable[[str], Any]) -> Any:
    """Hands text on as soon as it cannot change any more (a word whose last token has come)."""
    from transformers import TextStreamer

    class Written(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002 - given by keyword
            if text:
                write(text)

    # What generate hands over first, the prompt, does not reach a streamer of a Stepping's own.
    return Written(chat.tokenizer, skip_prompt=False, skip_special_tokens=True)
