"""Questions answered in batches, plain, calibrated or fused. Knows chat models and generation; judges nothing."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel, opened
from burnish.dialogue.rows import Question
from burnish.reason.calibration.contrasts import Contrast, without_images
from burnish.reason.calibration.decoding import Calibrated
from burnish.reason.calibration.fusion import Fused, Partner
from burnish.reason.calibration.settings import Calibration, Decoding
from burnish.reason.calibration.stepping import Stepping

if TYPE_CHECKING:
    from burnish.reason.rftt.inference import Traced

PLAIN = Calibration(gamma=0.0)
NOT_BOTH = "calibrate, with_model: one at a time; leave one of them out"
"""No source says what calibrated logits and a second model's make together, and nothing here has measured it."""


@dataclass(frozen=True)
class Answer:
    """What a model wrote.

    Attributes:
        text: without special tokens, stripped.
        tokens: how many were generated, the end mark included.
        finished: whether the model ended it, or the limit cut it off.
        ids: the tokens.
    """

    text: str
    tokens: int
    finished: bool
    ids: tuple[int, ...] = field(default=(), compare=False)


def answer_questions(
    chat: ChatModel,
    questions: Sequence[Question],
    calibration: Calibration = PLAIN,
    decoding: Decoding | None = None,
    *,
    contrast: Contrast = without_images,
    partner: Partner | None = None,
    streamer: Any = None,
    traced: Traced | None = None,
    constrained: bool = False,
) -> list[Answer]:
    """The model's answers, in order; the same for the same seed and batch size.

    Args:
        chat: the model.
        questions: what to ask; those of a batch may have different lengths and numbers of images.
        calibration: strength 0, the default, is plain decoding.
        decoding: length, sampling, batch size.
        contrast: what the image is compared with.
        partner: a second model whose logits are mixed in.
        streamer: of transformers; gets the tokens of each batch as they come.
        traced: of a model with functional tokens: what is asked can then hold none of them.
        constrained: whether it writes only what their grammar allows.

    Raises:
        UserError: a question that a model cannot take, a picture that cannot be read, or a partner and calibration.
    """
    if partner is not None and calibration.gamma:
        raise UserError(NOT_BOTH)
    decoding = decoding or Decoding()
    config = _generation(chat, decoding)
    found: list[Answer] = []
    devices = [chat.model.device] if chat.model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(decoding.seed)
        for start in range(0, len(questions), decoding.batch):
            batch = questions[start : start + decoding.batch]
            pictures = opened(batch)
            if traced is None:
                inputs = chat.encode(chat.render(batch, decoding.system), pictures)
            else:
                inputs = traced.encode(batch, decoding.system)
            width = inputs["input_ids"].shape[1]
            processors = [traced.processor(width)] if traced is not None and constrained else []
            stepping: Stepping
            if partner is not None:
                stepping = Fused(partner, partner.encode(batch, pictures, decoding.system), streamer)
            else:
                other = contrast(chat, batch, inputs, decoding.system) if calibration.gamma else {}
                stepping = Calibrated(other, calibration, streamer)
            sequences = chat.model.generate(
                **inputs,
                generation_config=config,
                custom_generate=stepping,
                logits_processor=processors,
            )
            found += _read(chat, sequences[:, width:], config)
    return found


def _generation(chat: ChatModel, decoding: Decoding) -> Any:
    """The model's own generation config (its end marks, its repetition penalty) with what the user asks for."""
    config = copy.deepcopy(chat.model.generation_config)
    sampled = decoding.temperature > 0
    config.update(
        max_new_tokens=decoding.max_new_tokens,
        max_length=None,
        num_beams=1,
        num_return_sequences=1,
        do_sample=sampled,
        temperature=decoding.temperature if sampled else 1.0,
        top_p=decoding.top_p if sampled else 1.0,
        top_k=0 if sampled else 50,
        return_dict_in_generate=False,
    )
    if config.eos_token_id is None:
        config.eos_token_id = chat.tokenizer.eos_token_id
    if config.pad_token_id is None:
        ends = config.eos_token_id
        known = chat.tokenizer.pad_token_id
        config.pad_token_id = known if known is not None else ends[0] if isinstance(ends, list) else ends
    return config


def _read(chat: ChatModel, sequences: torch.Tensor, config: Any) -> list[Answer]:
    ends = torch.as_tensor(config.eos_token_id if config.eos_token_id is not None else [], dtype=torch.long)
    ended = torch.isin(sequences, ends.to(sequences.device).flatten())
    lengths = torch.where(ended.any(1), ended.long().argmax(1) + 1, sequences.shape[1]).tolist()
    texts = [
        chat.tokenizer.decode(row[:length], skip_special_tokens=True).strip()
        for row, length in zip(sequences, lengths, strict=True)
    ]
    return [
        Answer(text, length, finished, tuple(row[:length]))
        for text, length, finished, row in zip(texts, lengths, ended.any(1).tolist(), sequences.tolist(), strict=True)
    ]
