"""How much of what a model answers it would answer without looking. Knows how to ask; what counts as right is given.

Source: Text-Debiased Hint-GRPO, the figure on text bias: accuracy without the image rises during training as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.calibration.answering import PLAIN, answer_questions
from burnish.reason.calibration.settings import Calibration, Decoding

Judge = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""Texts and reference answers -> 1 for right, 0 for wrong; as :meth:`burnish.dialogue.rewards.Accuracy.judge`."""


def exactly(texts: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Right is the reference answer itself, but for case and blanks around it."""
    return [
        float(text.strip().casefold() == answer.strip().casefold()) for text, answer in zip(texts, answers, strict=True)
    ]


@dataclass(frozen=True)
class TextBias:
    """Shares of questions, 0 to 1.

    Attributes:
        with_image, without_image, wrong_image: answered rightly with the image, without it, with another question's.
        unchanged: same answer after the image was swapped for another question's: the text bias.
        questions: how many were asked.
    """

    with_image: float
    without_image: float
    wrong_image: float
    unchanged: float
    questions: int

    def metrics(self) -> dict[str, float]:
        """For ``run.log`` and trackers."""
        return {f"text_bias/{name}": float(value) for name, value in dataclasses.asdict(self).items()}


def measure_text_bias(
    chat: ChatModel,
    questions: Sequence[Question],
    judge: Judge = exactly,
    calibration: Calibration = PLAIN,
    decoding: Decoding | None = None,
) -> TextBias:
    """Ask every question three times: with its image, without, and with the image of a question of another answer.

    Args:
        chat: an image-text model.
        questions: with images; those without are left out.
        judge: what counts as right.
        calibration: measure calibrated decoding instead of plain.
        decoding: length, sampling, batch size.

    Raises:
        UserError: fewer than two questions with images, or a question that the model cannot take.
    """
    asked = [question for question in questions if question.images]
    if len(asked) < 2:
        raise UserError(f"text bias: needs at least two questions with images to swap, not {len(asked)}")
    swapped = [
        dataclasses.replace(question, images=asked[other].images)
        for question, other in zip(asked, partners([question.answer for question in asked]), strict=True)
    ]
    blind = [dataclasses.replace(question, images=()) for question in asked]
    texts = [
        [answer.text for answer in answer_questions(chat, some, calibration, decoding)]
        for some in (asked, blind, swapped)
    ]
    answers = [question.answer for question in asked]
    with_image, without_image, wrong_image = (float(np.mean(judge(some, answers))) for some in texts)
    # By the judge too: two chains of thought that end in one answer are hardly ever the same text.
    alike = judge(texts[0], texts[2])
    unchanged = np.mean(
        [mine == theirs or same > 0 for mine, theirs, same in zip(texts[0], texts[2], alike, strict=True)]
    )
    return TextBias(with_image, without_image, wrong_image, float(unchanged), len(asked))


def partners(answers: Sequence[str], seed: int = 0) -> list[int]:
    """For each question another one, with another answer wherever there is one; the same choice every time."""
    count = len(answers)
    order = np.random.default_rng(seed).permutation(count).tolist()
    found = [0] * count
    for place, index in enumerate(order):
        others = (order[(place + step) % count] for step in range(1, count))
        found[index] = next((other for other in others if answers[other] != answers[index]), order[(place + 1) % count])
    return found
