"""Second half of the Hint-GRPO study: does calibration help a model that answers without looking, and what does it
cost?

One seed is a LLaVA trained from scratch in a world where the text is enough in nine scenes of ten; its answers come out
as plain numbers. Counter-examples (the room's usual thing is absent) and usual scenes are asked apart, so that the
accuracy of any mixture follows. Every contrast gets the same strengths; what a strength would be chosen by has
questions of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from burnish.core.parallel import one_thread
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.calibration.answering import PLAIN, answer_questions
from burnish.reason.calibration.contrasts import Contrast, noised, without_images
from burnish.reason.calibration.gamma_search import choose_gamma
from burnish.reason.calibration.settings import Calibration, Decoding
from burnish.reason.calibration.text_bias import exactly, measure_text_bias
from burnish.studies.hint_grpo.records import KINDS, BiasCell, BiasSeconds, Chosen
from burnish.testbeds.shortcut import HELD_OUT, SHAPE_THINGS, Things, ask, emoji_things, scenes, usual_thing
from burnish.testbeds.shortcut_model import Spend, train_model

PUBLISHED = 0.8
TRAINED = 0.1
"""Share of counter-examples in training, and so in distribution."""
SHIFTED = 0.3
"""Share of counter-examples in the mixture: three times as many as in training."""
ONE_WORD = Decoding(max_new_tokens=2, batch=128)


@dataclass(frozen=True)
class BiasDesign:
    """What one size spends on a seed.

    Attributes:
        spend: of the training.
        emoji: scenes of real emoji instead of shapes.
        questions: asked of each kind.
        gammas: strengths, plain decoding first.
        temperatures: of sampled plain decoding, the baseline that only reshapes the distribution.
        left: share of the signal's variance that the noised picture keeps.
    """

    spend: Spend = field(default_factory=Spend)
    emoji: bool = False
    questions: int = 384
    gammas: tuple[float, ...] = (0.0, 0.4, 0.8, 1.2, 1.6)
    temperatures: tuple[float, ...] = (0.5, 1.0)
    left: float = 0.1


class BiasJob(NamedTuple):
    """One item for the executor."""

    seed: int
    design: BiasDesign


def bias_cell(job: BiasJob) -> BiasCell:
    """Train one model and ask it everything."""
    design, seed = job.design, job.seed
    started = time.process_time()
    with one_thread():
        things = emoji_things() if design.emoji else SHAPE_THINGS
        chat = train_model(seed, design.spend, things)
        trained = time.process_time()
        asked = {
            kind: _questions(design, things, usual, HELD_OUT + 10 * seed + number)
            for number, (kind, usual) in enumerate(zip(KINDS, (0.0, 1.0), strict=True))
        }
        accuracy: dict[str, dict[str, tuple[float, ...]]] = {}
        follows: tuple[float, ...] = ()
        for method, contrast in (("calibrated", without_images), ("noised", noised(design.left, seed))):
            texts: dict[str, list[list[str]]] = {kind: [] for kind in KINDS}
            for gamma in design.gammas:
                for kind, questions in asked.items():
                    texts[kind].append(_texts(chat, questions, Calibration(gamma=gamma), ONE_WORD, contrast))
            accuracy[method] = {kind: tuple(_right(one, asked[kind]) for one in each) for kind, each in texts.items()}
            if method == "calibrated":
                follows = tuple(_lured(one, asked["counter"], things) for one in texts["counter"])
        vcd, drowned = Calibration(gamma=1.0, plausibility=0.1), noised(design.left, seed)
        sampled = {
            f"{temperature:g}": {
                kind: _right(_texts(chat, questions, PLAIN, _sampling(temperature, seed)), questions)
                for kind, questions in asked.items()
            }
            for temperature in design.temperatures
        }
        half = design.questions // 2
        shifted = _questions(design, things, 1 - SHIFTED, HELD_OUT + 10 * seed + 5)[:half]
        fresh = _questions(design, things, 1 - TRAINED, HELD_OUT + 10 * seed + 6)[:half]
        gamma = choose_gamma(chat, shifted, gammas=design.gammas, decoding=ONE_WORD).gamma
        place = design.gammas.index(gamma)
        return BiasCell(
            seed=seed,
            gammas=design.gammas,
            accuracy=accuracy,
            vcd={
                kind: _right(_texts(chat, questions, vcd, ONE_WORD, drowned), questions)
                for kind, questions in asked.items()
            },
            sampled=sampled,
            follows=follows,
            meter={
                name: measure_text_bias(chat, fresh, calibration=calibration, decoding=ONE_WORD).metrics()
                for name, calibration in (("plain", PLAIN), ("calibrated", Calibration(gamma=PUBLISHED)))
            },
            chosen=Chosen(gamma=gamma, **{kind: accuracy["calibrated"][kind][place] for kind in KINDS}),
            seconds=BiasSeconds(training=trained - started, asking=time.process_time() - trained),
        )


def _lured(texts: Sequence[str], questions: Sequence[Question], things: Things) -> float:
    """Share of answers that name the room's usual thing."""
    return float(np.mean([text == usual_thing(q, things) for text, q in zip(texts, questions, strict=True)]))


def _questions(design: BiasDesign, things: Things, usual: float, seed: int) -> list[Question]:
    return ask(scenes(design.questions, seed, usual, things, design.spend.noise), things)


def _texts(
    chat: ChatModel,
    questions: Sequence[Question],
    calibration: Calibration,
    decoding: Decoding,
    contrast: Contrast = without_images,
) -> list[str]:
    return [answer.text for answer in answer_questions(chat, questions, calibration, decoding, contrast=contrast)]


def _right(texts: Sequence[str], questions: Sequence[Question]) -> float:
    return float(np.mean(exactly(texts, [question.answer for question in questions])))


def _sampling(temperature: float, seed: int) -> Decoding:
    return ONE_WORD.model_copy(update={"temperature": temperature, "seed": seed})
