"""Rewards for questions with checkable answers, in the form that TRL calls: lists in, lists of numbers out.

Knows the ``<think>`` and ``<answer>`` tags and the verifier; knows no trainer. Source: Hint-GRPO, released reward
functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from burnish.dialogue.answers import as_latex, compare_plainly
from burnish.dialogue.verify import Verifier

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
    _, opened, rest = text.partition("<answer>")
    inside, closed, _ = rest.partition("</answer>")
    return inside.strip() if opened and closed else None


class Accuracy:
    """1 where the completion gives the reference answer, otherwise 0.

    The text inside ``<answer>`` is compared first: as text, choice, number with unit, then as mathematics
    (math-verify). An empty reference is given by nothing.

    Args:
        verifier: compares expressions within a time limit.
        where: ``completion`` looks for the answer in the whole completion, as published (of several boxes in the
            last), where there is no such text or it says nothing that could be compared; ``answer`` only inside its
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
        golds = [reference_in(answer) for answer in answers]
        blocks = [answer_in(text) for text in texts]
        right = self._equal([(block, gold) for block, gold in zip(blocks, golds, strict=True)])
        if self.where == "completion":
            # A block that says something has decided: an answer beside it would be a second guess for nothing.
            searched = [
                None if found or (block and _decides(block, gold)) else text
                for text, block, gold, found in zip(texts, blocks, golds, right, strict=True)
            ]
            anywhere = self._equal(list(zip(searched, golds, strict=True)))
            right = [one or other for one, other in zip(right, anywhere, strict=True)]
        return [float(each) for each in right]

    def _equal(self, pairs: Sequence[tuple[str | None, str]]) -> list[bool]:
        """Whether each pair is equal; what is no answer is equal to nothing."""
        verdicts = iter(self.verifier.equal([(text, gold) for text, gold in pairs if text is not None]))
        return [text is not None and next(verdicts) for text, _ in pairs]


def _decides(block: str, gold: str) -> bool:
    """Whether an answer block commits itself: it is one expression, makes a choice, or has a number or LaTeX in it."""
    return (
        as_latex(block) is not None
        or re.search(r"\d|\\|\$", block) is not None
        or compare_plainly(block, gold) is not None
    )


def reference_in(answer: str) -> str:
    """The reference itself, out of its block if it has one."""
    block = answer_in(answer)
    return answer.strip() if block is None else block


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
