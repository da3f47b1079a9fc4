"""Text bias measured while a model is trained, at every so many steps. Knows transformers' callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from transformers import TrainerCallback

from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.calibration.settings import Decoding
from burnish.reason.calibration.text_bias import Judge, exactly, measure_text_bias


class TextBiasProbe(TrainerCallback):
    """Measures text bias on fixed questions as training goes on.

    A rising accuracy says little if that without the image rises alongside.

    Args:
        chat: the model that is trained, with its processor.
        questions: held out, with images.
        log: gets the step and the metrics (``run.log``).
        every: steps from one measurement to the next.
        judge: what counts as right.
        decoding: length, sampling, batch size.
    """

    def __init__(
        self,
        chat: ChatModel,
        questions: Sequence[Question],
        log: Callable[[int, dict[str, float]], None],
        every: int,
        judge: Judge = exactly,
        decoding: Decoding | None = None,
    ) -> None:
        self.chat, self.questions, self.log, self.every = chat, questions, log, every
        self.judge, self.decoding = judge, decoding

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        """Measure when due."""
        if state.global_step % self.every:
            return
        training = self.chat.model.training
        self.chat.model.eval()
        try:
            found = measure_text_bias(self.chat, self.questions, self.judge, decoding=self.decoding)
        finally:
            self.chat.model.train(training)
        self.log(state.global_step, found.metrics())
