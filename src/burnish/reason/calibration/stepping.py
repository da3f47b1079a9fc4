"""Generation token by token over branches of our own, as a ``custom_generate`` of transformers.

    model.generate(**inputs, custom_generate=some_stepping, max_new_tokens=64)

What the logits of a step are made of is up to the class below it; sampling, processors, stopping and streaming are the
same for all. Knows transformers' generation interface; knows no question.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from burnish.core.errors import UserError
from burnish.reason.calibration.branches import Branch

Step = Callable[[Tensor], Tensor]
"""Tokens [rows] just written -> logits [rows, vocab] of the next."""


class Stepping(ABC):
    """Decoding whose logits come from more than one branch.

    Sampling, logits processors, stopping criteria and several sequences a prompt work as in ``generate``; beams,
    encoder-decoders and sharded models do not.

    Args:
        streamer: gets each token. ``generate(streamer=...)`` does not hand its own on.
    """

    name: ClassVar[str]
    """What messages call this way of decoding."""

    def __init__(self, streamer: Any = None) -> None:
        self.streamer = streamer

    @abstractmethod
    def start(self, first: Branch, config: Any) -> tuple[Step, Tensor]:
        """Prefill what is needed: how to make a step, and the logits [rows, vocab] of the first token.

        Args:
            first: the branch that ``generate`` prepared, not yet run.
            config: the prepared generation config.
        """

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
            name; its ``logits`` are those of :meth:`start` and its steps.

        Raises:
            UserError: beams, an encoder-decoder, a sharded model, or branches that do not fit.
        """
        self._refuse(model, generation_config, synced_gpus)
        streamer = streamer or self.streamer
        step, logits = self.start(Branch(model, input_ids, model_kwargs), generation_config)
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

    def _refuse(self, model: Any, config: Any, synced_gpus: bool) -> None:
        if config.num_beams > 1:
            raise UserError(f"{self.name}: works with greedy decoding and sampling, not with beams; set num_beams to 1")
        if model.config.is_encoder_decoder:
            raise UserError(f"{self.name}: {type(model).__name__} is an encoder-decoder; it takes decoder-only models")
        if synced_gpus:
            raise UserError(
                f"{self.name}: the model's weights are sharded over processes; load it whole, or with a device map"
            )
