"""Whether an argmax by cuts, as CutMax does it, fits into the levels that there are: counted, no keys made.

    python benchmarks/private_cuts.py [--eps 0.00390625]

A cut centres the scores of a query by their mean, divides them by c times their deviation, adds one and takes an odd
power p: what is ahead runs away from the rest. Levels of a cut: one for the squares, those of an inverse square root of
the variance, one for the product with it, ceil(log2 p) for the power. All that can be counted in its favour is:

- means and sums cost nothing, nor does reading one winner out of what the last cut leaves;
- the inverse square root may err by half. A polynomial r for it makes a sign x r(x^2) two levels deeper, so it takes at
  least as many levels as the best composite sign known here, less two, on the range that the variances of these scores
  have, rounded to a power of two in its favour;
- c, p (the same in each cut) and the number of cuts are the best for the scores looked at: winners eps ahead of k
  rivals, the others at the other end of the bound, for every k. More scores can only take more.

A number beyond 2^10 in a slot is beyond the modulus that is left at the bottom, so the powers may not reach it.
Source: CutMax (arXiv 2509.08383, 2025), of which the abstract and the idea were at hand and not its own parameters.
"""

from __future__ import annotations

import argparse
import math
from functools import cache

import numpy as np

from burnish.private.argmax.all_pairs import all_pairs_levels
from burnish.private.argmax.reading import needed_error
from burnish.private.encryption.parameters import most_levels
from burnish.private.polynomials.minimax import cheapest

CLASSES = (4, 16, 64, 128)
POWERS = (3, 5, 7, 9, 13, 15, 21, 31)
SHIFTS = tuple(2.0 ** (k / 2) for k in range(-2, 9))
MOST_CUTS = 16
LARGEST = 2.0**10
SHARE = 3.0
"""How many times the largest rival a winner has to be in the end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eps", type=float, default=2.0**-8)
    given = parser.parse_args()
    had = most_levels(32768, 35, 45)
    for classes in CLASSES:
        levels, cuts, power, shift = fewest(classes, given.eps)
        sign = cheapest(given.eps, needed_error("all_pairs", classes, given.eps))
        print(
            f"n = {classes:3d}, eps {given.eps:.4g}: {cuts} cuts of power {power} and c {shift:.2g}, at least {levels} "
            f"levels; all pairs take {all_pairs_levels(classes, sign)}; ring 32,768 has {had} of 35 bits",
            flush=True,
        )


def fewest(classes: int, eps: float) -> tuple[int, int, int, float]:
    """Levels, cuts, power and c of the choice that takes the fewest levels."""
    found = [(*counted(classes, eps, power, shift), power, shift) for power in POWERS for shift in SHIFTS]
    return min(each for each in found if each[1])


def counted(classes: int, eps: float, power: int, shift: float) -> tuple[int, int]:
    """Levels and cuts until every winner stands out; no cuts where that does not come, or a number runs away."""
    scores, levels = hardest(classes, eps), 0
    for cut in range(1, MOST_CUTS + 1):
        deviation = scores.std(1, keepdims=True)
        levels += 2 + inverse_levels(float(deviation.min() / deviation.max())) + math.ceil(math.log2(power))
        moved = (scores - scores.mean(1, keepdims=True)) / (shift * deviation) + 1
        scores = moved**power
        if np.abs(scores).max() > LARGEST:
            return 0, 0
        if (scores[:, 0] > SHARE * np.abs(scores[:, 1:]).max(1)).all():
            return levels, cut
    return 0, 0


def hardest(classes: int, eps: float) -> np.ndarray:
    """A row for each number of rivals: the winner, those eps behind it, and the rest as far away as there can be."""
    rivals = np.arange(1, classes)
    return np.where(np.arange(classes) <= rivals[:, None], 0.5 - eps, -0.5) + eps * (np.arange(classes) == 0)


def inverse_levels(ratio: float) -> int:
    """At least so many for 1 / sqrt(x) where sqrt(x) lies between this and one."""
    if ratio > 0.5:
        return 1
    return max(1, sign_levels(math.floor(-math.log2(ratio))) - 2)


@cache
def sign_levels(bits: int) -> int:
    return cheapest(2.0**-bits, 0.5).levels


if __name__ == "__main__":
    main()
