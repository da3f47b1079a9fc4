"""An example of the server's side of the HTTP endpoint: any function over images becomes a suspect that can be audited.

Put a model of another format (a pickle, a framework of your own) behind it, in a process of its own and, if you do not
trust it, in a container: the auditor's process then sees nothing of it but numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from burnish.core.errors import BurnishError
from burnish.core.packages import Need, not_installed
from burnish.prove.suspects.answers import BadAnswer, checked
from burnish.prove.suspects.settings import Answer, SuspectSettings
from burnish.prove.suspects.wire import PATH, Question, Reply, from_png


def serve_answers(answers: Mapping[Answer, Callable[[Any], Any]], title: str = "A suspect") -> Any:
    """A FastAPI application that answers with functions of your own.

    Args:
        answers: for each kind of answer, a function from uint8 images [n, height, width, channels] to labels [n],
            logits [n, classes] or embeddings [n, dim].
        title: shown in the OpenAPI description.

    Returns:
        The application; run it with ``uvicorn module:app``. Its OpenAPI description is at ``/openapi.json``.

    Raises:
        UserError: FastAPI is not installed.
    """
    try:
        import fastapi
    except ModuleNotFoundError:
        raise not_installed("serving a suspect", Need(("fastapi", "uvicorn"), "serve")) from None
    app = fastapi.FastAPI(title=title, version="1")

    def answer(question: Question) -> Reply:
        function = answers.get(question.answer)
        if function is None:
            raise fastapi.HTTPException(422, f"{question.answer}: not given here; ask for {', '.join(answers)}")
        try:
            images = [from_png(text) for text in question.images]
        except ValueError as error:
            raise fastapi.HTTPException(422, f"images: {error}") from None
        if len({image.shape for image in images}) > 1:
            raise fastapi.HTTPException(422, "images: not all of one size")
        try:
            found = checked(function(np.stack(images)), question.answer, len(images))
        except (BadAnswer, BurnishError) as error:
            raise fastapi.HTTPException(500, str(error)) from None
        return Reply.model_validate({question.answer: found.tolist()})

    # A plain function runs in a thread, so that a long forward pass does not hold up the others.
    app.post(PATH, response_model=Reply, response_model_exclude_none=True, summary="Answers to a batch of images")(
        answer
    )
    return app


def serve_model(
    model: str | Path,
    *,
    pooling: Literal["auto", "pooler", "cls", "mean"] = "auto",
    device: str = "cpu",
    batch: int = 64,
) -> Any:
    """A FastAPI application that answers with a Hugging Face image model: what it can of labels, logits, embeddings.

    Args:
        model: folder or hub id; safetensors only.
        pooling: of embeddings.
        device: cpu, cuda or cuda:N.
        batch: images a forward pass.

    Raises:
        UserError: the model cannot be read.
    """
    from burnish.prove.suspects.huggingface import HuggingFace, is_classifier

    settings = SuspectSettings(model=str(model), kind="huggingface", pooling=pooling, device=device, batch=batch)

    def batched(kind: Answer) -> Callable[[Any], np.ndarray]:
        backend = HuggingFace(settings, kind)
        return lambda images: np.concatenate(
            [backend.answer(images[start : start + batch]) for start in range(0, len(images), batch)]
        )

    answers: dict[Answer, Callable[[Any], Any]] = {"embeddings": batched("embeddings")}
    if is_classifier(settings):
        logits = batched("logits")
        answers |= {"logits": logits, "labels": lambda images: logits(images).argmax(1)}
    return serve_answers(answers, title=f"Suspect {model}")
