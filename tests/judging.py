"""Claims at a single look."""

from collections.abc import Sequence

from burnish.core.looks import Look
from burnish.core.study import Claim, Question


def judged(questions: Sequence[Question]) -> list[Claim]:
    """What one look at 95 % says."""
    return [question.judged(Look()) for question in questions]
