"""Second half of the Hint-GRPO study: does calibration help a model that answers without looking, and what does it cost?

One seed is a LLaVA trained from scratch in a world where the text is enough in nine scenes of ten; all it answers comes out as
plain numbers. Counter-examples (the room's usual thing is absent) and usual scenes are asked apart, so that the accuracy of
any mixture follows. Every contrast gets the same strengths; what a strength would be chosen by has questions of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from burnish.core.parallel import one_thread
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.calibration.answering import PLAIN, answer_questions
from burnish.reason.calibration.contrasts import Contrast, noised, without_images
from burnish.reason.calibration.gamma_search import choose_gamma
from burnish.reason.calibration.settings import Calibration, Decoding
from burnish.reason.calibration.text_bias import exactly, measure_text_bias
from burnish.testbeds.shortcut import HELD_OUT, SHAPE_THINGS, Things, ask, emoji_things, scenes, usual_thing
from burnish.testbeds.shortcut_model import Spend, train_model

PUBLISHED = 0.8
TRAINED = 0.1
"""Share of counter-examples in training, and so in distribution."""
SHIFTED = 0.3
"""Share of counter-examples in the mixture: three times as many as in training."""
ONE_WORD = Decoding(max_new_tokens=2, batch=128)
KINDS = ("counter", "usual")


@dataclass(frozen=True)
class BiasPlan:
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
    plan: BiasPlan


def bias_cell(job: BiasJob) -> dict[str, Any]:
    """Train one model and ask it everything: plain numbers, JSON as they stand.

    Keys: ``seed``, ``gammas``; ``accuracy`` {method: {kind: [one a gamma]}} for methods ``calibrated`` and ``noised`` (VCD);
    ``vcd`` {kind: accuracy} as published (strength 1, cut-off .1); ``sampled`` {temperature: {kind: accuracy}}; ``follows``
    [one a gamma], the share of counter-examples answered with the room's usual thing; ``meter`` {plain | calibrated: shares};
    ``chosen`` (strength from held-out questions of the shifted mixture, and what it gives); ``seconds`` of CPU time.
    """
    plan = job.plan
    started = time.process_time()
    with one_thread():
        things = emoji_things() if plan.emoji else SHAPE_THINGS
        chat = train_model(job.seed, plan.spend, things)
        trained = time.process_time()
        asked = {
            kind: _questions(plan, things, usual, HELD_OUT + 10 * job.seed + number)
            for number, (kind, usual) in enumerate(zip(KINDS, (0.0, 1.0), strict=True))
        }
        accuracy: dict[str, dict[str, list[float]]] = {}
        follows: list[float] = []
        for method, contrast in (("calibrated", without_images), ("noised", noised(plan.left, job.seed))):
            accuracy[method] = {kind: [] for kind in KINDS}
            for gamma in plan.gammas:
                for kind, questions in asked.items():
                    texts = _texts(chat, questions, Calibration(gamma=gamma), ONE_WORD, contrast)
                    accuracy[method][kind].append(_right(texts, questions))
                    if (method, kind) == ("calibrated", "counter"):
                        lured = [text == usual_thing(q, things) for text, q in zip(texts, questions, strict=True)]
                        follows.append(float(np.mean(lured)))
        vcd = Calibration(gamma=1.0, plausibility=0.1)
        drowned = noised(plan.left, job.seed)
        sampled = {
            f"{temperature:g}": {
                kind: _right(_texts(chat, questions, PLAIN, _sampling(temperature, job.seed)), questions)
                for kind, questions in asked.items()
            }
            for temperature in plan.temperatures
        }
        half = plan.questions // 2
        mixed = _questions(plan, things, 1 - SHIFTED, HELD_OUT + 10 * job.seed + 5)[:half]
        fresh = _questions(plan, things, 1 - TRAINED, HELD_OUT + 10 * job.seed + 6)[:half]
        choice = choose_gamma(chat, mixed, gammas=plan.gammas, decoding=ONE_WORD)
        place = plan.gammas.index(choice.gamma)
        return {
            "seed": job.seed,
            "gammas": list(plan.gammas),
            "accuracy": accuracy,
            "vcd": {
                kind: _right(_texts(chat, questions, vcd, ONE_WORD, drowned), questions)
                for kind, questions in asked.items()
            },
            "sampled": sampled,
            "follows": follows,
            "meter": {
                name: measure_text_bias(chat, fresh, calibration=calibration, decoding=ONE_WORD).metrics()
                for name, calibration in (("plain", PLAIN), ("calibrated", Calibration(gamma=PUBLISHED)))
            },
            "chosen": {"gamma": choice.gamma, **{kind: accuracy["calibrated"][kind][place] for kind in KINDS}},
            "seconds": {"training": trained - started, "asking": time.process_time() - trained},
        }


def mixture(cell: dict[str, Any], share: float, method: str = "calibrated") -> list[float]:
    """Accuracy at each strength where ``share`` of the questions are counter-examples."""
    counter, usual = (cell["accuracy"][method][kind] for kind in KINDS)
    return [share * mine + (1 - share) * other for mine, other in zip(counter, usual, strict=True)]


def mixed(values: dict[str, float], share: float) -> float:
    """The same for one pair of accuracies."""
    return share * values["counter"] + (1 - share) * values["usual"]


def _questions(plan: BiasPlan, things: Things, usual: float, seed: int) -> list[Question]:
    return ask(scenes(plan.questions, seed, usual, things, plan.spend.noise), things)


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
