"""Generation with and without the image in step, as a ``custom_generate`` of transformers.

    model.generate(**with_image, custom_generate=Calibrated(without_image), max_new_tokens=64)

A callable rather than a logits processor that runs the second branch inside: it sees raw logits before every processor
(transformers puts a user's own processors after the repetition penalty), and it can run both branches in one pass,
which reads the weights once; ``benchmarks/reason_calibration.py`` measures both. Knows transformers; knows no question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from burnish.core.errors import UserError
from burnish.reason.calibration.branches import Branch, join, prepare
from burnish.reason.calibration.logits import calibrate
from burnish.reason.calibration.settings import Calibration


class Calibrated:
    """Decoding calibrated against the same prompts without their images.

    Sampling, logits processors, stopping criteria and several sequences a prompt work as in ``generate``; beams and
    sharded models do not.

    Args:
        without: a processor's tensors of the same prompts rendered without images, in the same order. Any other
            contrast goes as well: with noised images this is VCD.
        calibration: strength, cut-off, one pass or two; the defaults are the paper's.
        streamer: gets each token. ``generate(streamer=...)`` does not hand its own on.
    """

    def __init__(
        self, without: Mapping[str, Any], calibration: Calibration | None = None, streamer: Any = None
    ) -> None:
        self.without = without
        self.calibration = calibration or Calibration()
        self.streamer = streamer

    @torch.no_grad()
    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        synced_gpus: bool = False,
        streamer: Any = None,
        **model_kwargs: Any,
    ) -> Any:
        """What ``generate`` calls after it has prepared everything.

        Returns:
            Prompt and answer tokens [rows, length], or with ``return_dict_in_generate`` transformers' output of that
            name; its ``logits`` are the calibrated ones.

        Raises:
            UserError: beams, an encoder-decoder, a sharded model, or other rows than ``without`` has.
        """
        _refuse(model, generation_config, synced_gpus)
        streamer = streamer or self.streamer
        step, logits = self._start(Branch(model, input_ids, model_kwargs), generation_config)
        pad = generation_config._pad_token_tensor
        ends = any(hasattr(criterion, "eos_token_id") for criterion in stopping_criteria)
        unfinished = torch.ones(len(input_ids), dtype=torch.long, device=input_ids.device)
        kept: dict[str, list[Tensor]] = {"scores": [], "logits": []}
        while True:
            scores = logits_processor(input_ids, logits)
            for name, values in (("scores", scores), ("logits", logits)):
                if generation_config.return_dict_in_generate and getattr(generation_config, f"output_{name}"):
                    kept[name].append(values)
            if generation_config.do_sample:
                tokens = torch.multinomial(scores.softmax(-1), num_samples=1).squeeze(1)
            else:
                tokens = scores.argmax(-1)
            if ends:
                tokens = tokens * unfinished + pad.to(tokens.device) * (1 - unfinished)
            input_ids = torch.cat([input_ids, tokens[:, None]], dim=-1)
            if streamer is not None:
                streamer.put(tokens.cpu())
            unfinished = unfinished & ~stopping_criteria(input_ids, None)
            if not unfinished.any():
                break
            logits = step(tokens)
        if streamer is not None:
            streamer.end()
        if not generation_config.return_dict_in_generate:
            return input_ids
        from transformers.generation import GenerateDecoderOnlyOutput

        return GenerateDecoderOnlyOutput(sequences=input_ids, **{name: tuple(kept[name]) or None for name in kept})

    def _start(self, seeing: Branch, config: Any) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """Prefill what is needed: how to make a step, and the first logits."""
        gamma, plausibility = self.calibration.gamma, self.calibration.plausibility
        if gamma == 0:
            return seeing.step, seeing.prefill()
        blind = prepare(seeing.model, self.without, config, config.max_length - seeing.ids.shape[1])
        if len(blind.ids) != len(seeing.ids):
            raise UserError(
                f"calibration: {len(seeing.ids)} prompts with images and {len(blind.ids)} without; give the same ones"
            )
        first = calibrate(seeing.prefill(), blind.prefill(), gamma, plausibility)
        both = join(seeing, blind) if self.calibration.together else None

        def in_one_pass(tokens: Tensor) -> Tensor:
            assert both is not None
            image, text = both.step(torch.cat([tokens, tokens])).chunk(2)
            return calibrate(image, text, gamma, plausibility)

        def in_two_passes(tokens: Tensor) -> Tensor:
            return calibrate(seeing.step(tokens), blind.step(tokens), gamma, plausibility)

        return (in_two_passes if both is None else in_one_pass), first


def _refuse(model: Any, config: Any, synced_gpus: bool) -> None:
    if config.num_beams > 1:
        raise UserError("calibration: works with greedy decoding and sampling, not with beams; set num_beams to 1")
    if model.config.is_encoder_decoder:
        raise UserError(
            f"calibration: {type(model).__name__} is an encoder-decoder; decoder-only models can be calibrated"
        )
    if synced_gpus:
        raise UserError(
            "calibration: the model's weights are sharded over processes; load it whole, or with a device map"
        )
