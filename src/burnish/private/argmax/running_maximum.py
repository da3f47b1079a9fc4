"""The two ways before: a maximum that is carried along, and each class compared with it at the end.

`sequential`: against one class after the other, n - 1 comparisons deep (the peers of the paper). `folding`: against
itself, rotated by 1, 2, 4, ..., log2 n deep (SecPE and NEXUS, as their artefact does it: a <- (a + b) / 2 +
(a - b) sgn(a - b) / 2, then 1 + sgn(x - max)). Between comparisons the levels run out, and the ciphertext must be
refreshed: by a bootstrap, which the caller brings and pays for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from burnish.private.argmax.records import Row, halvings
from burnish.private.encryption.interface import Evaluator
from burnish.private.encryption.steps import step
from burnish.private.polynomials.evaluation import evaluate_sign
from burnish.private.polynomials.records import Sign

Refresh = Callable[[Any, int], Any]
"""A ciphertext and a level to the same numbers at that level."""


def comparison_levels(sign: Sign) -> int:
    """Levels that one comparison takes with the product that selects the larger."""
    return sign.levels + 1


def folding(evaluator: Evaluator, scores: Any, layout: Row, sign: Sign, refresh: Refresh) -> Any:
    """1 for the largest score of each row and 0 for the others, in log2 n + 1 comparisons.

    Args:
        evaluator: with keys for rotations by 1, 2, 4, ... below the width.
        scores: `layout.spread`, encrypted.
        layout: where they lie.
        sign: whose error is at most `needed_error("folding", ...)`.
        refresh: called before each comparison that lacks levels.
    """
    largest = scores
    for steps in reversed(halvings(layout.width)):
        largest = _lifted(evaluator, largest, comparison_levels(sign), refresh)
        largest = _larger(evaluator, largest, evaluator.rotate(largest, steps), sign)
    return _compared(evaluator, scores, largest, sign, refresh)


def sequential(evaluator: Evaluator, scores: Any, layout: Row, sign: Sign, refresh: Refresh) -> Any:
    """The same in n comparisons.

    Args:
        evaluator: with the key for a rotation by 1; rivals come by one after the other.
        scores: `layout.spread`, encrypted.
        layout: where they lie.
        sign: whose error is at most `needed_error("sequential", ...)`.
        refresh: called before each comparison that lacks levels.
    """
    rival = largest = evaluator.drop(scores, comparison_levels(sign))
    for _ in range(1, layout.width):
        rival = evaluator.rotate(rival, 1)
        largest = _lifted(evaluator, largest, rival.level, refresh)
        largest = _larger(evaluator, largest, rival, sign)
    return _compared(evaluator, scores, largest, sign, refresh)


def running_rotations(layout: Row, method: str) -> Sequence[int]:
    """Rotations that either way takes."""
    return halvings(layout.width) if method == "folding" else (1,)


def _larger(evaluator: Evaluator, cipher: Any, rival: Any, sign: Sign) -> Any:
    """The larger of two, slot by slot: the mean, and half the difference with its sign."""
    with step("compare"):
        difference = evaluator.subtract(cipher, rival)
        half = evaluate_sign(evaluator, difference, sign.within_one().times(0.5))
        gain = evaluator.multiply(half, evaluator.drop(difference, half.level))
        both = evaluator.drop(evaluator.add(cipher, rival), half.level)
        return evaluator.rescale(evaluator.add(gain, evaluator.multiply_plain(both, 0.5)))


def _compared(evaluator: Evaluator, scores: Any, largest: Any, sign: Sign, refresh: Refresh) -> Any:
    largest = _lifted(evaluator, largest, sign.levels, refresh)
    with step("compare"):
        difference = evaluator.subtract(evaluator.drop(scores, sign.levels), largest)
        return evaluator.add_plain(evaluate_sign(evaluator, difference, sign.within_one()), 1.0)


def _lifted(evaluator: Evaluator, cipher: Any, level: int, refresh: Refresh) -> Any:
    """With the levels that a comparison takes and no more, which it would pay for."""
    if cipher.level < level:
        with step("refresh"):
            return refresh(cipher, level)
    return evaluator.drop(cipher, level)
