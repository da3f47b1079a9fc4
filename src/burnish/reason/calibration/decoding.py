"""Generation with and without the image in step, as a ``custom_generate`` of transformers.

    model.generate(**with_image, custom_generate=Calibrated(without_image), max_new_tokens=64)

A callable rather than a logits processor that runs the second branch inside: it sees raw logits before every processor
(transformers puts a user's own processors after the repetition penalty), and it can run both branches in one pass,
which reads the weights once; ``benchmarks/reason_calibration.py`` measures both. Knows transformers; knows no question.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from burnish.core.errors import UserError
from burnish.reason.calibration.branches import Branch, join, prepare
from burnish.reason.calibration.logits import calibrate
from burnish.reason.calibration.settings import Calibration
from burnish.reason.calibration.stepping import Step, Stepping


class Calibrated(Stepping):
    """Decoding calibrated against the same prompts without their images; what works is what :class:`Stepping` does.

    Args:
        without: a processor's tensors of the same prompts rendered without images, in the same order. Any other
            contrast goes as well: with noised images this is VCD.
        calibration: strength, cut-off, one pass or two; the defaults are the paper's.
        streamer: gets each token. ``generate(streamer=...)`` does not hand its own on.
    """

    name = "calibration"

    def __init__(
        self, without: Mapping[str, Any], calibration: Calibration | None = None, streamer: Any = None
    ) -> None:
        super().__init__(streamer)
        self.without = without
        self.calibration = calibration or Calibration()

    def start(self, first: Branch, config: Any) -> tuple[Step, Tensor]:
        """See :class:`Stepping`; the logits are the calibrated ones.

        Raises:
            UserError: other rows than ``without`` has.
        """
        gamma, plausibility = self.calibration.gamma, self.calibration.plausibility
        if gamma == 0:
            return first.step, first.prefill()
        blind = prepare(first.model, self.without, config, config.max_length - first.ids.shape[1])
        if len(blind.ids) != len(first.ids):
            raise UserError(
                f"calibration: {len(first.ids)} prompts with images and {len(blind.ids)} without; give the same ones"
            )
        logits = calibrate(first.prefill(), blind.prefill(), gamma, plausibility)
        both = join(first, blind) if self.calibration.together else None

        def in_one_pass(tokens: Tensor) -> Tensor:
            assert both is not None
            image, text = both.step(torch.cat([tokens, tokens])).chunk(2)
            return calibrate(image, text, gamma, plausibility)

        def in_two_passes(tokens: Tensor) -> Tensor:
            return calibrate(first.step(tokens), blind.step(tokens), gamma, plausibility)

        return (in_two_passes if both is None else in_one_pass), logits
