"""The composites of Cheon et al. (Asiacrypt 2020, "Efficient homomorphic comparison methods with optimal complexity").

Simple and published: the yardstick for minimax composites, and what other encrypted argmaxes are built of.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from burnish.core.errors import UserError
from burnish.private.polynomials.records import Polynomial, Sign, sign_of

_G = {
    1: (2126, -1359),
    2: (3334, -6108, 3796),
    3: (4589, -16577, 25614, -12860),
    4: (5850, -34974, 97015, -113492, 46623),
}
"""Coefficients of x, x^3, ... in units of 1 / 1024. Source: section 4.1 there."""


@cache
def f(n: int) -> Polynomial:
    """Flat at -1 and 1: sum over i <= n of binomial(2 i, i) / 4^i x (1 - x^2)^i. Degree 2 n + 1."""
    total = np.polynomial.Polynomial([0.0])
    x = np.polynomial.Polynomial([0.0, 1.0])
    for i in range(n + 1):
        total = total + math.comb(2 * i, i) / 4**i * x * (1 - x**2) ** i
    return Polynomial.from_powers(total.coef)


@cache
def g(n: int) -> Polynomial:
    """Steep at 0, at the price of ripples. n is 1 to 4; degree 2 n + 1."""
    powers = np.zeros(2 * n + 2)
    powers[1::2] = np.array(_G[n]) / 1024
    return Polynomial.from_powers(powers)


def cheon(eps: float, error: float, n: int = 3, most: int = 24) -> Sign:
    """The shortest composite of g's and then f's that resolves eps to this error.

    Raises:
        UserError: more than `most` polynomials would be needed.
    """
    for count in range(1, most + 1):
        tried = [sign_of((g(n),) * steep + (f(n),) * (count - steep), eps) for steep in range(count + 1)]
        best = min(tried, key=lambda sign: sign.error)
        if best.error <= error:
            return best
    raise UserError(f"eps: {eps:.3g} to an error of {error:.3g} needs more than {most} polynomials; ask for less")
