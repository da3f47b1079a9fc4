"""Composites of best odd approximations of the sign, computed here.

Source: Lee et al., "Minimax approximation of sign function by composite polynomial for homomorphic comparison" (IEEE
TDSC 2022): each stage is the best approximation of 1 on what the stage before leaves, [1 - e, 1 + e]. Here each stage's
values are divided by 1 + e, so that all stages live on [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from jaxtyping import Float, Int

from burnish.core.errors import BurnishError, UserError
from burnish.private.polynomials.evaluation import work_of
from burnish.private.polynomials.records import Polynomial, Sign, levels_of

DEGREES = (3, 5, 7, 13, 15, 27, 31)
"""What a stage may have when one is chosen. Within the same levels a lower degree saves products in two cases only."""

_ROUNDS = 40


FINEST_EPS = 2.0**-14
"""Below, what the noise of 40-bit scales is multiplied by at a near tie is no longer small."""


@cache
def best_odd(degree: int, low: float) -> tuple[Polynomial, float]:
    """The odd polynomial nearest to 1 on [low, 1], and its largest distance. Remez exchange on T_1, T_3, ...

    The odd Chebyshev polynomials are a Chebyshev system on (0, 1]: the best has an error of equal size and alternating
    sign at one point more than it has coefficients.

    Raises:
        BurnishError: the exchange did not settle.
    """
    count = (degree + 1) // 2
    grid = np.unique(np.concatenate([np.geomspace(low, 1, 2001), np.linspace(low, 1, 2001), _near_ends(low, 1001)]))
    basis = np.cos(np.arange(1, degree + 1, 2)[None, :] * np.arccos(grid)[:, None])
    chosen = np.searchsorted(grid, low + (1 - low) * (1 - np.cos(np.pi * np.arange(count + 1) / count)) / 2)
    chosen = np.minimum(chosen, len(grid) - 1)
    signs = (-1.0) ** np.arange(count + 1)
    for _ in range(_ROUNDS):
        solved = np.linalg.lstsq(np.column_stack([basis[chosen], signs]), np.ones(count + 1), rcond=1e-14)[0]
        errors = basis @ solved[:-1] - 1
        largest = float(np.abs(errors).max())
        settled = largest <= abs(solved[-1]) * (1 + 1e-6) + 1e-14
        peaks = _peaks(errors, count + 1)
        # Where rounding hides an alternation, what was found is as good as doubles can tell.
        if settled or (len(peaks) <= count and largest < 1e-8):
            coefficients = np.zeros(degree + 1)
            coefficients[1::2] = solved[:-1]
            found = Polynomial(tuple(coefficients.tolist()))
            return found, _largest(found, grid, peaks)
        if len(peaks) <= count:
            break
        chosen = peaks
    raise BurnishError(f"minimax: degree {degree} on [{low:.3g}, 1] did not settle")


def _near_ends(low: float, count: int) -> Float[np.ndarray, " count"]:
    return low + (1 - low) * (1 - np.cos(np.pi * np.linspace(0, 1, count))) / 2


def _largest(found: Polynomial, grid: Float[np.ndarray, " points"], peaks: Int[np.ndarray, " peaks"]) -> float:
    """The error between the grid's points as well: the next stage's range stands on it, and is steep at its end."""
    before, after = grid[np.maximum(peaks - 1, 0)], grid[np.minimum(peaks + 1, len(grid) - 1)]
    between = before[:, None] + (after - before)[:, None] * np.linspace(0, 1, 201)
    return float(np.abs(found(between) - 1).max())


def _peaks(errors: Float[np.ndarray, " points"], count: int) -> Int[np.ndarray, " peaks"]:
    """The largest error of each run of one sign; from the ends, the smaller goes while more than `count` are left."""
    edges = np.flatnonzero(np.diff(np.sign(errors))) + 1
    runs = np.split(np.arange(len(errors)), edges)
    peaks = [int(run[np.argmax(np.abs(errors[run]))]) for run in runs]
    while len(peaks) > count:
        peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
    return np.array(peaks, dtype=np.int64)


def minimax(degrees: tuple[int, ...], eps: float) -> Sign:
    """The composite of these degrees, innermost first, for eps <= |x| <= 1.

    Raises:
        UserError: eps is not between 0 and 1, or a degree is not odd.
    """
    check_eps(eps)
    if not degrees or any(degree < 1 or degree % 2 == 0 for degree in degrees):
        raise UserError(f"degrees: {list(degrees)}; each is odd and at least 1")
    stages, low, error = [], eps, 0.0
    for place, degree in enumerate(degrees):
        found, error = best_odd(degree, low)
        last = place == len(degrees) - 1
        stages.append(found if last else found.times(1 / (1 + error)))
        low = (1 - error) / (1 + error)
    return Sign(tuple(stages), eps, error)


def check_eps(eps: float) -> None:
    """Raises:
    UserError: no difference that could be resolved.
    """
    if not FINEST_EPS <= eps < 1:
        raise UserError(
            f"eps: {eps:g}; the smallest difference to resolve lies between {FINEST_EPS:.3g} and 1; 0 would take "
            "infinitely many levels"
        )


@cache
def cheapest(eps: float, error: float, below: int = 0, most: int = 24) -> Sign:
    """The composite that costs least under encryption of all that resolve eps to this error.

    What costs is relinearising, by about the square of the primes left: so the levels that follow count as well.

    Args:
        eps: smallest |x| to resolve.
        error: largest distance from the sign that is allowed.
        below: levels that the circuit needs after the sign.
        most: levels that the sign may take.

    Raises:
        UserError: none does within `most` levels.
    """
    check_eps(eps)
    for limit in range(2, most + 1):
        found = _cheapest_within(eps, error, below, limit)
        if found is not None:
            # One level more may let a cheaper composite in; two cost more than they save.
            best = _cheapest_within(eps, error, below, min(limit + 1, most)) or found
            return minimax(best, eps)
    raise UserError(
        f"eps: {eps:.3g} is not resolved to {error:.3g} within {most} levels; ask for a larger eps, which leaves more "
        "near ties to be called ambiguous"
    )


def _cheapest_within(eps: float, error: float, below: int, limit: int) -> tuple[int, ...] | None:
    priced = [(_cost(degrees, below), degrees) for degrees in _candidates(eps, error, limit)]
    return min(priced)[1] if priced else None


def _cost(degrees: tuple[int, ...], below: int) -> float:
    """Of the relinearisations, each by the square of the primes left; those of the keys count as well."""
    cost, left = 0.0, below + sum(levels_of(degree) for degree in degrees)
    for degree in degrees:
        cost += sum(count * (left - depth + 2) ** 2 for depth, count in work_of(degree))
        left -= levels_of(degree)
    return cost


def _candidates(eps: float, error: float, most: int) -> Iterator[tuple[int, ...]]:
    """Degrees of the stages that reach the error.

    All but the last rise: a steep stage is cheaper where fewer levels are left, and the published optima rise. Where a
    degree reaches the error a higher one is not tried: it would cost more.
    """

    def extend(degrees: tuple[int, ...], low: float, left: int) -> Iterator[tuple[int, ...]]:
        for degree in DEGREES:
            if levels_of(degree) > left:
                return
            found = best_odd(degree, low)[1]
            if found <= error:
                yield (*degrees, degree)
                return
            if not degrees or degree >= degrees[-1]:
                yield from extend((*degrees, degree), (1 - found) / (1 + found), left - levels_of(degree))

    yield from extend((), eps, most)
