"""One answer out of many, and what many answers are worth: majority, reward-weighted vote, best of n, pass@k. Pure.

These are different claims: a vote needs no reference, best of n needs a scorer that a user has too, and pass@k needs
the right answer, so it says what a perfect chooser would reach and nothing of what a user gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from burnish.core.errors import UserError
from burnish.dialogue.verify import compare_plainly

Vote = Literal["majority", "reward", "verifier"]
Same = Callable[[Sequence[tuple[str, str]]], Sequence[bool]]
"""Whether the answers of each pair are equal; :meth:`burnish.dialogue.verify.Verifier.equal` is one."""


@dataclass(frozen=True)
class Candidate:
    """An answer that was given, under whatever names.

    Attributes:
        answer: as it was first written.
        members: which of the answers equal it, in order.
        weight: what it got in the vote.
    """

    answer: str
    members: tuple[int, ...]
    weight: float


def plainly_same(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Equal text, or plain numbers of one value."""
    return [compare_plainly(*pair) is True for pair in pairs]


def grouped(answers: Sequence[str | None], same: Same = plainly_same) -> list[tuple[int, ...]]:
    """Which answers are equal: groups in the order of their first members; what is no answer is in none.

    Args:
        answers: each as written, or none.
        same: compares a new answer with the first of each group, in one call.
    """
    groups: list[list[int]] = []
    for number, answer in enumerate(answers):
        if answer is None:
            continue
        firsts = [answers[group[0]] or "" for group in groups]
        equal = list(same([(answer, first) for first in firsts])) if firsts else []
        if True in equal:
            groups[equal.index(True)].append(number)
        else:
            groups.append([number])
    return [tuple(group) for group in groups]


def count_votes(
    answers: Sequence[str | None], vote: Vote, scores: Sequence[float] | None = None, same: Same = plainly_same
) -> list[Candidate]:
    """The candidates of a vote, the winner first; of equals the one that was given first. None if nobody answered.

    Args:
        answers: of each path, or none.
        vote: ``majority`` counts paths; ``reward`` adds up their scores; ``verifier`` lets only those vote that share
            the highest score (best of n, ties by majority).
        scores: of each path; ``majority`` needs none.
        same: which answers are equal.

    Raises:
        UserError: a vote by scores without any, or with one that is no number.
    """
    if vote == "majority":
        weights = [1.0] * len(answers)
    else:
        if scores is None:
            raise UserError(f"vote: `{vote}` needs a score for every path; give a scorer, or vote by majority")
        if bad := [score for score in scores if not math.isfinite(score)]:
            raise UserError(f"vote: a score of {bad[0]}; the scorer must give numbers")
        given = [score for score, answer in zip(scores, answers, strict=True) if answer is not None]
        highest = max(given, default=0.0)
        weights = [float(score == highest) for score in scores] if vote == "verifier" else list(scores)
    found = [
        Candidate(answers[group[0]] or "", group, math.fsum(weights[number] for number in group))
        for group in grouped(answers, same)
    ]
    return sorted(found, key=lambda candidate: -candidate.weight)


def best_of_n(scores: Sequence[float]) -> int:
    """Which of n a scorer likes best; of equals the first.

    Raises:
        UserError: there are none.
    """
    if not scores:
        raise UserError("best of n: there is nothing to choose from")
    return max(range(len(scores)), key=lambda number: scores[number])


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that at least one of k samples is right, estimated without bias from more of them.

    1 - C(n - c, k) / C(n, k).

    Args:
        samples: n.
        right: c, how many of these are.
        k: at most n.

    Raises:
        UserError: k is not between 1 and n, or c not between 0 and n.

    >>> pass_at_k(4, 1, 2)
    0.5

    Source: Chen et al. 2021, "Evaluating large language models trained on code", equation 1.
    """
    if not (1 <= k <= samples and 0 <= right <= samples):
        raise UserError(f"pass@k: k is {k} and {right} of {samples} are right; wanted 1 <= k <= n and 0 <= right <= n")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)
