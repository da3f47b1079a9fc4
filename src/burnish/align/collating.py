"""Batches of pairs for a preference trainer: chosen halves above rejected ones, pictures read late and once a pair.

TRL's own collator tokenises answers by themselves, leaves the beginning-of-sequence token of a processor out that
generation sees, and prepares each picture twice. Knows chat models and tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import flush_left

from burnish.align.pair_table import PairRow
from burnish.core.errors import UserError
from burnish.dialogue.input_check import check_inputs
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import MOST_PIXELS, open_picture

KINDS = ("mm_token_type_ids", "token_type_ids")  # which tokens are an image's, where a model wants to be told


@dataclass(frozen=True)
class PairCollator:
    """Makes the tensors of a batch, on the CPU.

    Attributes:
        chat: whose processor prepares prompts and pictures.
        root: the table's folder, from which relative paths of pictures start.
        most_pixels: larger pictures are shrunk to this many.
    """

    chat: ChatModel
    root: Path
    most_pixels: int = MOST_PIXELS

    def __call__(self, rows: Sequence[PairRow]) -> dict[str, Tensor]:
        """Tensors of 2 x len(rows) sequences, padded on the right; whatever the processor adds for images goes along.

        Returns:
            ``input_ids``, ``attention_mask`` and ``completion_mask`` [2 batch, length] (1 on the tokens of an answer,
            its end among them), the images' tensors of the batch twice over, and of rows that have them
            ``ref_chosen_logps`` and ``ref_rejected_logps`` [batch].

        Raises:
            UserError: a picture that cannot be read; the row is named.
        """
        found = self.chat.encode([row["prompt"] for row in rows], [[self._open(row)] for row in rows], device="cpu")
        twice = {name: torch.cat([value, value]) for name, value in found.items()}
        answers = [row["chosen_ids"] for row in rows] + [row["rejected_ids"] for row in rows]
        batch = with_answers(self.chat, twice, answers)
        if "ref_chosen_logps" in rows[0]:
            batch["ref_chosen_logps"] = torch.tensor([row["ref_chosen_logps"] for row in rows])
            batch["ref_rejected_logps"] = torch.tensor([row["ref_rejected_logps"] for row in rows])
        return batch

    def _open(self, row: PairRow) -> Any:
        return open_picture(self.root / row["picture"], row["where"], self.most_pixels)

    def check(self, batch: Mapping[str, Tensor], rows: Sequence[PairRow]) -> None:
        """Compare a batch with what each prompt gives when it is encoded alone: before the first step.

        Raises:
            UserError: a prompt is cut or changed, or a picture would not be seen as it is; the row is named.
        """
        left_out = (*KINDS, "completion_mask", "ref_chosen_logps", "ref_rejected_logps")
        inputs = {name: value.to(self.chat.model.device) for name, value in batch.items() if name not in left_out}
        inputs["attention_mask"] = inputs["attention_mask"] * (1 - batch["completion_mask"].to(self.chat.model.device))
        names, texts, pictures = (
            [row["where"] for row in rows] * 2,
            [row["prompt"] for row in rows] * 2,
            [[self._open(row)] for row in rows] * 2,
        )
        learnt = batch["completion_mask"].sum(1).tolist()
        answers = [row["chosen_ids"] for row in rows] + [row["rejected_ids"] for row in rows]
        for name, count, answer in zip(names, learnt, answers, strict=True):
            if count != len(answer):
                raise UserError(f"{name}: {count} tokens of its answer are learnt, of {len(answer)}")
        check_inputs(self.chat, inputs, texts, pictures, names)


def with_answers(chat: ChatModel, encoded: Mapping[str, Tensor], answers: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Encoded prompts with an answer after each, padded on the right.

    Args:
        chat: whose padding is used.
        encoded: of :meth:`burnish.dialogue.models.ChatModel.encode`, on the CPU.
        answers: tokens of each.

    Returns:
        What was encoded, ``input_ids`` and ``attention_mask`` [batch, length] longer, and ``completion_mask`` [batch,
        length], 1 on the tokens of an answer.
    """
    tokenizer = chat.tokenizer
    padding = int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
    width = max(len(answer) for answer in answers)
    tail = torch.tensor([[*answer, *[padding] * (width - len(answer))] for answer in answers])
    learnt = torch.tensor([[1] * len(answer) + [0] * (width - len(answer)) for answer in answers])
    longer = {
        "input_ids": torch.cat([encoded["input_ids"], tail], dim=1),
        "completion_mask": torch.cat([torch.zeros_like(encoded["attention_mask"]), learnt], dim=1),
        **{name: torch.cat([encoded[name], torch.zeros_like(tail)], dim=1) for name in KINDS if name in encoded},
    }
    mask, *others = flush_left(torch.cat([encoded["attention_mask"], learnt], dim=1), *longer.values())
    return {**encoded, "attention_mask": mask, **dict(zip(longer, others, strict=True))}
