"""The model's own summary of the answers on a picture's views: a prompt in words alone. Pure.

Hallucinations that all views share survive it and the model may add others: what it wrote is judged by the gate.
"""

from __future__ import annotations

from collections.abc import Sequence

from burnish.align.gate import Candidates, Drop, form_pair
from burnish.align.reading import Vocabulary, normal_words
from burnish.align.settings import PairSettings


def summary_prompt(template: str, question: str, answers: Sequence[str]) -> str:
    """The prompt that asks for a summary.

    >>> print(summary_prompt("Q: {question} ({count})\\n{answers}", "What is there?", ["A dog.", "", "A {cat}."]))
    Q: What is there? (2)
    Answer 1: A dog.
    Answer 2: A {cat}.

    Args:
        template: with ``{count}``, ``{question}`` and ``{answers}``; other braces stay as they are.
        question: the instruction.
        answers: of the views; those without a word are left out.
    """
    told = [answer for answer in answers if normal_words(answer)]
    listed = "\n".join(f"Answer {number}: {answer}" for number, answer in enumerate(told, 1))
    # the model's words come last: what looks like a field in them must stay
    head, _, tail = template.partition("{answers}")
    filled = [part.replace("{count}", str(len(told))).replace("{question}", question) for part in (head, tail)]
    return listed.join(filled)


def wants_summary(case: Candidates, vocabulary: Vocabulary, settings: PairSettings) -> bool:
    """Whether a summary is all that a record lacks: the settings ask for one, and its answers are worth one."""
    if settings.winner != "summary":
        return False
    found = form_pair(case, vocabulary, settings)
    return isinstance(found, Drop) and found.reason == "no summary"
