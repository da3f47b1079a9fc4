"""Rewards for questions with checkable answers, in the form that TRL calls: lists in, lists of numbers out.

Knows the ``<think>`` and ``<answer>`` tags and the verifier; knows no trainer. Source: Hint-GRPO, released reward
functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from burnish.dialogue.verify import Verifier, compare_plainly

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_FORMAT = re.compile(
    r"\s*<think>(?:(?!</?think>|</?answer>).)*</think>\s*<answer>(?:(?!</?answer>).)*</answer>\s*", re.DOTALL
)

Completion = str | Sequence[dict[str, Any]]


def text_of(completion: Completion) -> str:
    """What the model wrote: plain text, or the contents of its messages joined."""
    if isinstance(completion, str):
        return completion
    return "".join(str(message.get("content") or "") for message in completion)


def answer_in(text: str) -> str | None:
    """The text inside the first ``<answer>`` block, stripped; ``None`` where there is none.

    >>> answer_in("<think>3 + 4</think><answer> 7 </answer>")
    '7'
    """
    found = _ANSWER.search(text)
    return found[1].strip() if found else None


class Accuracy:
    """1 where the completion gives the reference answer, otherwise 0.

    Equal as mathematics (math-verify), or the same text inside ``<answer>`` (the whole completion where it has no
    block).

    Args:
        verifier: compares expressions within a time limit.
        where: ``completion`` looks for the expression in the whole completion, as published; ``answer`` only inside its
            ``<answer>`` block, so that a right number in passing earns nothing, and neither does a completion without
            one.
    """

    __name__ = "accuracy"

    def __init__(self, verifier: Verifier, where: Literal["completion", "answer"] = "completion") -> None:
        self.verifier = verifier
        self.where = where

    def __call__(self, completions: Sequence[Completion], answer: Sequence[str], **_columns: Any) -> list[float]:
        """Rewards of ``completions`` against the column ``answer``, one each.

        Raises:
            BurnishError: math-verify's process does not start.
        """
        return self.judge([text_of(completion) for completion in completions], answer)

    def judge(self, texts: Sequence[str], answers: Sequence[str]) -> list[float]:
        """Rewards of plain texts against reference answers, one each."""
        rewards = [0.0] * len(texts)
        hard: list[tuple[int, tuple[str, str]]] = []
        for index, (text, reference) in enumerate(zip(texts, answers, strict=True)):
            gold = answer_in(reference) or reference.strip()
            block = answer_in(text)
            if compare_plainly(text if block is None else block, gold) and (
                block is not None or self.where != "answer"
            ):
                rewards[index] = 1.0
            elif self.where == "completion":
                hard.append((index, (text, gold)))
            elif block is not None:
                hard.append((index, (block, gold)))
        verdicts = self.verifier.equal([pair for _, pair in hard])
        for (index, _), verdict in zip(hard, verdicts, strict=True):
            rewards[index] = float(verdict)
        return rewards


class Format:
    """1 where the turn is one ``<think>`` block and one ``<answer>`` block and nothing else, otherwise 0.

    The turn is what was put before the completion (the column ``prefix``: a prefilled ``<think>``, a hint) and the
    completion; scored alone, a completion after a prefill could never succeed.
    """

    __name__ = "format"

    def __call__(
        self, completions: Sequence[Completion], prefix: Sequence[str] | None = None, **_columns: Any
    ) -> list[float]:
        """Rewards of ``completions``, one each."""
        before = [""] * len(completions) if prefix is None else prefix
        return [
            float(_FORMAT.fullmatch(start + text_of(completion)) is not None)
            for start, completion in zip(before, completions, strict=True)
        ]
