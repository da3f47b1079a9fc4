"""Every pair compared at once: one comparison deep, whatever the number of classes.

With the differences v_i - v_j of all pairs in the slots, one sign polynomial decides them all; the product along row i
is 1 where class i loses to none. Published by Mazzone et al., "Efficient ranking, order statistics, and sorting under
CKKS" (USENIX Security 2025); what is added here is that the differences may come straight out of a plaintext head,
without the levels and rotations that spreading encrypted scores takes, and what the answer lets the client conclude.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.private.argmax.records import Tournament, halvings
from burnish.private.encryption.interface import Evaluator, Slots
from burnish.private.encryption.steps import step
from burnish.private.polynomials.evaluation import evaluate_sign
from burnish.private.polynomials.records import Sign


def all_pairs_levels(classes: int, sign: Sign) -> int:
    """Levels from the differences to the answer: the sign, the product along the rows, the mask."""
    return sign.levels + (classes - 1).bit_length() + 1


def all_pairs_from_differences(evaluator: Evaluator, differences: Any, layout: Tournament, sign: Sign) -> Any:
    """One-hot of the largest score, in column 0 of each query's square; zero in every other slot.

    Nothing here can see a difference beyond [-1, 1]. There the polynomials leave the sign and swing to the other: a
    little beyond, the answer may be another class and look certain; far beyond, numbers come that are called damaged.
    Whoever makes the differences has to keep them within; the heads do, for every vector of unit length.

    Args:
        evaluator: with keys for `layout.rotations`.
        differences: `layout.differences` of the scores, encrypted; levels that are not needed are dropped.
        layout: where they lie.
        sign: whose error is at most `needed_error("all_pairs", ...)`.

    Raises:
        BurnishError: fewer levels left than `all_pairs_levels`.
    """
    needed = all_pairs_levels(layout.classes, sign)
    products = _row_products(evaluator, differences, layout, sign, needed, layout.unopposed())
    return _masked(evaluator, products, layout)


def all_pairs_of_blocks(
    evaluator: Evaluator, differences: Sequence[Sequence[Any]], layouts: Sequence[Tournament], sign: Sign
) -> list[Any]:
    """The same for more classes than a ciphertext has room for: blocks of classes, each against each.

    No block's winner is selected first, which would take a second comparison: the products of a row's blocks are
    multiplied. So it is one comparison deep still, by log2 of the blocks deeper, and takes as many signs as there are
    pairs of blocks.

    Args:
        evaluator: as above.
        differences: in row I and column J, those of the classes of block I from those of block J.
        layouts: of each block, all of one width; the last may have fewer classes.
        sign: as above, for all the classes together.

    Returns:
        A ciphertext a block, each with the one-hot of its classes.
    """
    needed = all_pairs_levels(layouts[0].width, sign) + (len(layouts) - 1).bit_length()
    answers = []
    for i, row in enumerate(differences):
        with step(f"block {i}"):
            products = [
                _row_products(evaluator, cipher, layouts[i], sign, needed, _absent(layouts, i, j))
                for j, cipher in enumerate(row)
            ]
            while len(products) > 1:
                pairs = [
                    evaluator.rescale(evaluator.multiply(left, right))
                    for left, right in zip(products[::2], products[1::2], strict=False)
                ]
                products = pairs + products[2 * len(pairs) :]
            answers.append(_masked(evaluator, products[0], layouts[i]))
    return answers


def _absent(layouts: Sequence[Tournament], i: int, j: int) -> Float[np.ndarray, " slots"]:
    """Where no class of block j stands against a row of block i."""
    if i == j:
        return layouts[i].unopposed()
    square = np.zeros((layouts[i].width, layouts[i].width))
    square[:, layouts[j].classes :] = 1.0
    return layouts[i].tiled(square)


def _row_products(
    evaluator: Evaluator, differences: Any, layout: Tournament, sign: Sign, needed: int, unopposed: Slots
) -> Any:
    if differences.level > needed:
        with step("drop"):
            differences = evaluator.drop(differences, needed)
    with step("sign"):
        wins = evaluate_sign(evaluator, differences, sign.times(0.5))
        wins = evaluator.add_plain(wins, 0.5 + 0.5 * unopposed)
    with step("product"):
        for steps in layout.rotations:
            wins = evaluator.rescale(evaluator.multiply(wins, evaluator.rotate(wins, steps)))
    return wins


def _masked(evaluator: Evaluator, products: Any, layout: Tournament) -> Any:
    """Other columns hold products of parts of a row, which would tell how all classes rank: the client gets zeros."""
    with step("mask"):
        products = evaluator.drop(products, 1)
        return evaluator.rescale(evaluator.multiply_plain(products, layout.answers()))


SPREAD_LEVELS = 2
"""That :func:`differences_from_scores` takes."""


def spread_rotations(layout: Tournament) -> tuple[int, ...]:
    """Rotations that :func:`differences_from_scores` takes."""
    steps = halvings(layout.width)
    return (*steps, *(-step for step in steps), *(-step * layout.width for step in steps))


def differences_from_scores(evaluator: Evaluator, scores: Any, layout: Tournament) -> Any:
    """All differences of scores that come encrypted, side by side: what a head that emits them saves.

    Args:
        evaluator: with keys for `spread_rotations`.
        scores: `scores_in_rows`, encrypted.
        layout: where the differences go.
    """
    width, steps = layout.width, halvings(layout.width)
    first = np.zeros((width, width))
    first[:, 0] = 1.0
    with step("spread"):
        columns = _with_copies(evaluator, scores, [-width * s for s in steps])
        diagonal = evaluator.rescale(evaluator.multiply_plain(columns, layout.tiled(np.eye(width))))
        gathered = _with_copies(evaluator, diagonal, steps)
        rows = evaluator.rescale(evaluator.multiply_plain(gathered, layout.tiled(first)))
        return evaluator.subtract(_with_copies(evaluator, rows, [-s for s in steps]), columns)


def scores_in_rows(layout: Tournament, scores: Float[np.ndarray, "queries classes"]) -> Float[np.ndarray, " slots"]:
    """Each query's scores in the first row of its square, zeros in the rest."""
    squares = np.zeros((layout.queries, layout.width, layout.width))
    squares[: scores.shape[0], 0, : layout.classes] = scores
    slots = np.zeros(layout.slots)
    slots[: squares.size] = squares.ravel()
    return slots


def _with_copies(evaluator: Evaluator, cipher: Any, steps: Sequence[int]) -> Any:
    """Added to itself rotated, step after step: 2 to the number of steps copies."""
    for number in steps:
        cipher = evaluator.add(cipher, evaluator.rotate(cipher, number))
    return cipher
