"""A polynomial and a composite of several, by their Chebyshev coefficients. Knows NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float


def levels_of(degree: int) -> int:
    """Multiplications one after the other that a polynomial needs at least, and no more: ceil(log2(degree + 1))."""
    return degree.bit_length()


@dataclass(frozen=True)
class Polynomial:
    """c_0 + c_1 T_1(x) + c_2 T_2(x) + ..., for x in [-1, 1].

    In this basis the coefficients of a good approximation are small; those of powers reach thousands with alternating
    signs, and noise would be multiplied by them.

    Attributes:
        coefficients: c_0, c_1, ...; the last is not zero.
    """

    coefficients: tuple[float, ...]

    @classmethod
    def from_powers(cls, coefficients: Float[np.ndarray, " count"]) -> Polynomial:
        """Of a_0 + a_1 x + a_2 x^2 + ..."""
        return cls(tuple(np.polynomial.chebyshev.poly2cheb(coefficients).tolist()))

    @property
    def degree(self) -> int:
        """Of the highest power."""
        return len(self.coefficients) - 1

    @property
    def levels(self) -> int:
        """That it takes."""
        return levels_of(self.degree)

    def times(self, factor: float) -> Polynomial:
        """Each value multiplied: for nothing under encryption, where a product of its own would take a level."""
        return Polynomial(tuple(factor * number for number in self.coefficients))

    def __call__(self, x: Float[np.ndarray, " *shape"]) -> Float[np.ndarray, " *shape"]:
        """Its values."""
        return np.asarray(np.polynomial.chebyshev.chebval(x, np.array(self.coefficients)))


@dataclass(frozen=True)
class Sign:
    """Polynomials whose composition is near the sign of x, for eps <= |x| <= 1. All are odd.

    Between -eps and eps the composition rises from about -1 to 1 through 0 and keeps the sign.

    Attributes:
        stages: innermost first; each takes what the one before gives, within [-1, 1].
        eps: the smallest |x| that is resolved.
        error: the largest distance from the sign outside of (-eps, eps).
    """

    stages: tuple[Polynomial, ...]
    eps: float
    error: float

    @property
    def levels(self) -> int:
        """That it takes: the stages' together."""
        return sum(stage.levels for stage in self.stages)

    @property
    def degrees(self) -> tuple[int, ...]:
        """Of the stages, innermost first."""
        return tuple(stage.degree for stage in self.stages)

    def times(self, factor: float) -> Sign:
        """Each value multiplied, in the last stage's coefficients."""
        return replace(self, stages=(*self.stages[:-1], self.stages[-1].times(factor)))

    def within_one(self) -> Sign:
        """Shrunk so that no value is beyond -1 or 1: what a running maximum needs, which must not overshoot."""
        return replace(self.times(1 / (1 + self.error)), error=2 * self.error / (1 + self.error))

    def __call__(self, x: Float[np.ndarray, " *shape"]) -> Float[np.ndarray, " *shape"]:
        """Its values."""
        for stage in self.stages:
            x = stage(x)
        return x


def sign_of(stages: tuple[Polynomial, ...], eps: float) -> Sign:
    """A composite with its error, measured on points that are dense where it bends."""
    points = np.concatenate([np.geomspace(eps, 1, 20_001), np.linspace(eps, 1, 20_001)])
    found = Sign(stages, eps, 0.0)
    return replace(found, error=float(np.abs(found(points) - 1).max()))
