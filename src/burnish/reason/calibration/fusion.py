"""Two models write one answer: at every token their logits are mixed. As a ``custom_generate`` of transformers.

Each model reads the prompt in its own chat template and keeps a cache of its own; a token costs one forward pass of
each, and what is written goes to both. They must mean the same by the same token id, which is checked token by token.

Source: SHAPE's release, which mixes 0.7 of a model with 0.3 of a smaller one that was tuned by DPO. It decodes one
token a question, moves both models between devices for each, and compares no vocabularies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel, Pictures
from burnish.dialogue.rows import Question
from burnish.reason.calibration.branches import Branch, prepare
from burnish.reason.calibration.logits import fuse
from burnish.reason.calibration.stepping import Step, Stepping


@dataclass(frozen=True)
class Partner:
    """A second model that has a say in what another writes; of :func:`pair_up`.

    Attributes:
        chat: the second model. One that takes no images answers from the words alone.
        weight: how much it has to say, in [0, 1].
        shared: [shared] ids of the tokens that both models know; no other can be written.
    """

    chat: ChatModel
    weight: float
    shared: Int[Tensor, " shared"]

    def encode(self, questions: Sequence[Question], pictures: Pictures, system: str | None) -> dict[str, Any]:
        """Tensors of the same questions in the second model's own template.

        Raises:
            UserError: it cannot render or take them.
        """
        sees = self.chat.takes_images
        return self.chat.encode(self.chat.render(questions, system, images=sees), pictures if sees else None)


def pair_up(base: ChatModel, other: ChatModel, weight: float) -> Partner:
    """Give a model a partner, if the two fit.

    Their vocabularies must be the same, token by token and id by id. Only special tokens may be known to one of them
    alone, such as the mark of an image that a text model has no use for; these are never written.

    Args:
        base: the model that is asked.
        other: the second one.
        weight: of the second one.

    Raises:
        UserError: they differ in vocabulary (the first difference is named), stand on different devices, the second is
            an encoder-decoder, or does not know how the first ends an answer.
    """
    if other.model.config.is_encoder_decoder:
        raise UserError(f"fusion: {other.name} is an encoder-decoder; it takes decoder-only models")
    if base.model.device != other.model.device:
        raise UserError(
            f"fusion: {base.name} is on {base.model.device} and {other.name} on {other.model.device}; load both on one "
            "device, logits are mixed at every token"
        )
    mine, theirs = _tokens(base), _tokens(other)
    special = _special(base, theirs.values()) | _special(other, mine.values())
    for number in sorted(mine.keys() | theirs.keys()):
        names = mine.get(number), theirs.get(number)
        if names[0] != names[1] and not {name for name in names if name is not None} <= special:
            first, second = ("none" if name is None else repr(name) for name in names)
            raise UserError(
                f"fusion: token {number} is {first} in {base.name} and {second} in {other.name}; their logits can only "
                "be mixed if both have one vocabulary: choose a model with the same tokenizer"
            )
    widths = [len(each.model.get_input_embeddings().weight) for each in (base, other)]
    shared = {number for number, name in mine.items() if theirs.get(number) == name and number < min(widths)}
    for end in _ends(base):
        if end not in shared:
            raise UserError(
                f"fusion: {base.name} ends an answer with {mine.get(end, end)!r}, which {other.name} does not know; "
                "choose a model with the same tokenizer"
            )
    return Partner(other, weight, torch.tensor(sorted(shared), device=base.model.device))


class Fused(Stepping):
    """Decoding with the mixed logits of two models; what works is what :class:`Stepping` does.

    Args:
        partner: the second model, its weight and the tokens that both know.
        inputs: of :meth:`Partner.encode`: the same prompts in the same order.
        streamer: gets each token.
    """

    name = "fusion"

    def __init__(self, partner: Partner, inputs: Mapping[str, Any], streamer: Any = None) -> None:
        super().__init__(streamer)
        self.partner = partner
        self.inputs = inputs

    def start(self, first: Branch, config: Any) -> tuple[Step, Tensor]:
        """See :class:`Stepping`; the logits are the mixed ones.

        Raises:
            UserError: other rows than ``inputs`` has.
        """
        if self.partner.weight == 0:
            return first.step, first.prefill()
        new_tokens = config.max_length - first.ids.shape[1]
        second = prepare(self.partner.chat.model, self.inputs, config, new_tokens)
        if len(second.ids) != len(first.ids):
            raise UserError(
                f"fusion: {len(first.ids)} prompts for one model and {len(second.ids)} for the other; give the same"
            )

        def step(tokens: Tensor) -> Tensor:
            return self._mix(first.step(tokens), second.step(tokens))

        return step, self._mix(first.prefill(), second.prefill())

    def _mix(self, base: Tensor, other: Tensor) -> Tensor:
        shared = self.partner.shared
        mixed = torch.full_like(base, -torch.inf)
        mixed[:, shared] = fuse(base[:, shared], other[:, shared], self.partner.weight)
        return mixed


def _tokens(chat: ChatModel) -> dict[int, str]:
    return {number: token for token, number in chat.tokenizer.get_vocab().items()}


def _special(chat: ChatModel, others: Iterable[str]) -> set[str]:
    """A model's special tokens that are no tokens of the other."""
    added = chat.tokenizer.added_tokens_decoder.values()
    own = {str(token) for token in added if token.special} | set(chat.tokenizer.all_special_tokens)
    return own - set(others)


def _ends(chat: ChatModel) -> list[int]:
    ends = chat.model.generation_config.eos_token_id
    if ends is None:
        ends = chat.tokenizer.eos_token_id
    return ends if isinstance(ends, list) else [] if ends is None else [ends]
