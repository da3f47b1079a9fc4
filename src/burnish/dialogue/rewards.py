"""Rewards for questions with checkable answers, in the form that TRL calls: lists in, lists of numbers out.

Knows the ``<think>`` and ``<answer>`` tags and the verifier; knows no trainer. Source: Hint-GRPO, released reward
functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from burnish.dialogue.answers import as_latex
from burnish.dialogue.verify import Verifier

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

    The text inside ``<answer>`` is compared first: as text, choice, number with unit, then as mathematics
    (math-verify). An empty reference is given by nothing.

    Args:
        verifier: compares expressions within a time limit.
        where: ``completion`` looks for the answer in the whole completion, as published (of several boxes in the
            last), where there is no such text or it is prose; ``answer`` only inside its ``<answer>`` block, so that a
            right number in passing earns nothing, and neither does a completion without one.
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
            # A block that holds one expression has decided: what else was thought on the way is no answer.
            searched = [
                text if not found and (block is None or as_latex(block) is None) else None
                for text, block, found in zip(texts, blocks, right, strict=True)
            ]
            anywhere = self._equal(list(zip(searched, golds, strict=True)))
            right = [one or other for one, other in zip(right, anywhere, strict=True)]
        return [float(each) for each in right]

    def _equal(self, pairs: Sequence[tuple[str | None, str]]) -> list[bool]:
        """Whether each pair is equal; what is no answer is equal to nothing."""
        verdicts = iter(self.verifier.equal([(text, gold) for text, gold in pairs if text is not None]))
        return [text is not None and next(verdicts) for text, _ in pairs]


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
