"""The strength of calibration, chosen on held-out questions. Pure but for asking them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.calibration.answering import answer_questions
from burnish.reason.calibration.contrasts import Contrast, without_images
from burnish.reason.calibration.settings import Calibration, Decoding
from burnish.reason.calibration.text_bias import Judge, exactly

GAMMAS = (0.0, 0.4, 0.8, 1.2, 1.6)


@dataclass(frozen=True)
class Choice:
    """A strength, and why.

    Attributes:
        gamma: the strength to use.
        accuracy: of each strength tried.
        gain: accuracy of the best strength less that of plain decoding.
        error: standard error of that difference over the questions, paired.
    """

    gamma: float
    accuracy: dict[float, float]
    gain: float
    error: float


def choose_gamma(
    chat: ChatModel,
    questions: Sequence[Question],
    judge: Judge = exactly,
    gammas: Sequence[float] = GAMMAS,
    calibration: Calibration | None = None,
    decoding: Decoding | None = None,
    *,
    contrast: Contrast = without_images,
) -> Choice:
    """Answer held-out questions at every strength and choose (:func:`choose`).

    The held-out questions must look like those to come: what the text alone predicts differs from place to place, and
    so does the strength that is best.

    Args:
        chat: an image-text model.
        questions: at least two.
        judge: what counts as right.
        gammas: strengths to try; plain decoding is always tried.
        calibration: its other settings.
        decoding: length, sampling, batch size.
        contrast: what the image is compared with.

    Raises:
        UserError: fewer than two questions, or one that the model cannot take.
    """
    if len(questions) < 2:
        raise UserError(f"choosing gamma: needs at least two held-out questions, not {len(questions)}")
    tried = sorted({0.0, *map(float, gammas)})
    answers = [question.answer for question in questions]
    scores = []
    for gamma in tried:
        settings = Calibration.model_validate((calibration or Calibration()).model_dump() | {"gamma": gamma})
        found = answer_questions(chat, questions, settings, decoding, contrast=contrast)
        scores.append([float(score) for score in judge([answer.text for answer in found], answers)])
    return choose(torch.tensor(scores, dtype=torch.float64), tried)


def choose(scores: Float[Tensor, "gammas questions"], gammas: Sequence[float]) -> Choice:
    """The most accurate strength, the smallest of equals; plain decoding unless beaten by more than a standard error.

    Args:
        scores: 1 for right, 0 for wrong, of the same questions at each strength.
        gammas: the strengths, rising; the first is 0.
    """
    means = scores.mean(1)
    best = int(means.argmax())  # the first of equals
    difference = scores[best] - scores[0]
    gain = float(difference.mean())
    error = float(difference.std(correction=1) / scores.shape[1] ** 0.5)
    chosen = gammas[best] if gain > error else 0.0
    return Choice(chosen, dict(zip(gammas, means.tolist(), strict=True)), gain, error)
