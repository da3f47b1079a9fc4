"""Prompts, plans, questions and answers as a unified model's tokens: the same in training, drawing and describing.

    drawing      [prompt] [plan] [noisy picture]
    reflecting   [prompt] [plan] [clean picture]                              heat on the clean patches
    correcting   [prompt] [plan] [clean picture, masked] [noisy picture]      the second picture has a number of its own
    describing   [clean picture] [question and answer]
    reading      [clean picture] [plan]                                       what is there, and where

Each pair of brackets is a segment. A row without a plan leaves its segment out. Knows a tokenizer, no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from burnish.core.errors import UserError
from burnish.generate.plan import Plan, Wording
from burnish.generate.plan_text import to_text

PLAN = "plan"
"""The word that a plan's segment begins with."""
DESCRIBE = "what is in the picture ?"
"""The question whose answer is a caption."""


class Script:
    """What is written in which tokens.

    Args:
        tokenizer: a fast one of transformers, with an end token.
        wording: how plans are written.

    Attributes:
        stop: the token that ends a plan and an answer.
        plan_start: tokens before the plan's first word.

    Raises:
        UserError: the tokenizer has no end token.
    """

    def __init__(self, tokenizer: Any, wording: Wording) -> None:
        if tokenizer.eos_token_id is None:
            raise UserError("tokenizer: has no end token (eos_token); set one")
        self.tokenizer = tokenizer
        self.wording = wording
        self.stop = int(tokenizer.eos_token_id)
        self.plan_start = self._ids(PLAN)
        self._begin = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]

    def prompt(self, text: str) -> list[int]:
        """A prompt's segment.

        Raises:
            UserError: it is empty, or has words of which the tokenizer knows none.
        """
        if not text.strip():
            raise UserError("prompt: asks for nothing; say what the picture shall show")
        return [*self._begin, *self._known(text, "prompt")]

    def plan(self, plan: Plan) -> list[int]:
        """A plan's segment, its stop included.

        Raises:
            PlanError: not valid under the wording.
        """
        return [*self._known(f"{PLAN} {to_text(plan, self.wording)}", "plan"), self.stop]

    def question(self, text: str) -> list[int]:
        """What an answer goes on from, in the same segment.

        Raises:
            UserError: it is empty, or has words of which the tokenizer knows none.
        """
        if not text.strip():
            raise UserError("question: is empty; ask something")
        return self._known(text, "question")

    def answer(self, question: str, answer: str) -> list[int]:
        """What follows the question's tokens, the stop included."""
        return [*self._ids(f"{question} {answer}")[len(self._ids(question)) :], self.stop]

    def text(self, ids: Sequence[int]) -> str:
        """Words of tokens that were written."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def _known(self, text: str, what: str) -> list[int]:
        ids = self._ids(text)
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and unknown in ids:
            word = next((word for word in text.split() if unknown in self._ids(word)), text)
            raise UserError(f"{what}: this model has no word `{word}`; say it in the words it was trained on")
        return ids

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(" ".join(text.split()), add_special_tokens=False)["input_ids"]
        return found


def padded(
    rows: Sequence[Sequence[int]], filler: int
) -> tuple[Int[Tensor, "rows longest"], Bool[Tensor, "rows longest"] | None]:
    """Rows of tokens as one tensor, filled up at the front, and which are real; none where all are.

    Args:
        rows: at least one token in each.
        filler: any token; it is seen by none.
    """
    longest = max(map(len, rows))
    tokens = torch.tensor([[filler] * (longest - len(row)) + list(row) for row in rows])
    if min(map(len, rows)) == longest:
        return tokens, None
    return tokens, torch.tensor([[False] * (longest - len(row)) + [True] * len(row) for row in rows])
