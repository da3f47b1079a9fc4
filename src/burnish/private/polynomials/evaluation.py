"""A polynomial of a ciphertext in as few levels as there can be, and few products.

Paterson-Stockmeyer in the Chebyshev basis: p = q T_m + r with m a power of two, again and again, down to combinations
of a few low T_k. The depth of each part is given from above, so a coefficient never costs a level of its own: where the
low T_k would come too late, the split goes on to the bottom. Sums of products wait for one relinearisation.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import numpy as np

from burnish.core.errors import BurnishError
from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.encryption.interface import Evaluator
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.steps import step
from burnish.private.polynomials.records import Polynomial, Sign, levels_of


def evaluate(evaluator: Evaluator, cipher: Any, polynomial: Polynomial, *, lazy: bool = True) -> Any:
    """The polynomial of every slot; ceil(log2(degree + 1)) levels below the ciphertext.

    Args:
        evaluator: that computes.
        cipher: of numbers in [-1, 1].
        polynomial: of degree at least 1.
        lazy: relinearise sums of products once, instead of each product.

    Raises:
        BurnishError: too few levels are left.
    """
    if polynomial.degree < 1:
        raise BurnishError("polynomial: a constant hides nothing")
    if cipher.level < polynomial.levels:
        raise BurnishError(
            f"polynomial: degree {polynomial.degree} takes {polynomial.levels} levels, {cipher.level} left"
        )
    return _Evaluation(evaluator, cipher, _width(polynomial.degree), lazy).of(polynomial)


def evaluate_sign(evaluator: Evaluator, cipher: Any, sign: Sign, *, lazy: bool = True) -> Any:
    """The composite of every slot, stage by stage."""
    for number, stage in enumerate(sign.stages, 1):
        with step(f"stage {number}"):
            cipher = evaluate(evaluator, cipher, stage, lazy=lazy)
    return cipher


class _Evaluation:
    """One polynomial of one ciphertext: the T_k that were needed so far, at the levels where they were needed."""

    def __init__(self, evaluator: Evaluator, cipher: Any, width: int, lazy: bool) -> None:
        self._evaluator, self._width, self._lazy = evaluator, width, lazy
        self._top = cipher.level
        self._smallest = 0.5 / 2.0**evaluator.parameters.scale_bits
        self._kept: dict[tuple[int, int], Any] = {(1, self._top): cipher}

    def of(self, polynomial: Polynomial) -> Any:
        return self._finished(list(polynomial.coefficients), polynomial.levels)

    def _finished(self, coefficients: list[float], depth: int) -> Any:
        terms, constant = self._products(coefficients, depth)
        total = self._evaluator.rescale(self._evaluator.relinearise(terms))
        return self._evaluator.add_plain(total, constant) if constant else total

    def _products(self, coefficients: list[float], depth: int) -> tuple[Any, float]:
        """All but the constant, one multiplication before `depth`: not rescaled, perhaps of three parts."""
        degree, level = self._degree(coefficients), self._top - depth + 1
        if degree < self._width and _depth(degree) < depth:
            return self._combination(coefficients[: degree + 1], level), coefficients[0]
        power = 1 << (degree.bit_length() - 1)
        quotient, rest = _divided(coefficients[: degree + 1], power)
        factor = self._chebyshev(power, level)
        if self._degree(quotient) == 0:
            total = self._evaluator.multiply_plain(factor, quotient[0])
        else:
            product = self._finished(quotient, depth - 1)
            total = self._evaluator.multiply(product, factor, relinearise=not self._lazy)
        if self._degree(rest) == 0:
            return total, rest[0]
        others, constant = self._products(rest, depth)
        return self._evaluator.add(total, others), constant

    def _combination(self, coefficients: list[float], level: int) -> Any:
        total = None
        for k, number in enumerate(coefficients):
            if k and abs(number) > self._smallest:
                term = self._evaluator.multiply_plain(self._chebyshev(k, level), number)
                total = term if total is None else self._evaluator.add(total, term)
        return total

    def _degree(self, coefficients: list[float]) -> int:
        """Of the highest coefficient that the scale can tell from zero."""
        return max((k for k, number in enumerate(coefficients) if abs(number) > self._smallest), default=0)

    def _chebyshev(self, k: int, level: int) -> Any:
        """T_k at a level."""
        if (k, level) not in self._kept:
            at = self._top - _depth(k)
            source = self._kept.get((k, at))
            if source is None:
                source = self._kept[k, at] = self._computed(k, at + 1)
            self._kept[k, level] = self._evaluator.drop(source, level)
        return self._kept[k, level]

    def _computed(self, k: int, level: int) -> Any:
        """T_k from two of half its depth or less: 2 T_a T_b - T_(a - b)."""
        a = k // 2 if k % 2 == 0 else 1 << (k.bit_length() - 1)
        left, right = self._chebyshev(a, level), self._chebyshev(k - a, level)
        product = self._evaluator.rescale(self._evaluator.multiply(left, right))
        double = self._evaluator.add(product, product)
        if 2 * a == k:
            return self._evaluator.add_plain(double, -1.0)
        return self._evaluator.subtract(double, self._chebyshev(abs(2 * a - k), level - 1))


def _depth(k: int) -> int:
    """Levels that T_k takes: ceil(log2(k))."""
    return (k - 1).bit_length() if k > 0 else 0


def _divided(coefficients: list[float], power: int) -> tuple[list[float], list[float]]:
    """p = q T_m + r, by T_k = 2 T_m T_(k - m) - T_(2 m - k) for k > m."""
    degree = len(coefficients) - 1
    quotient, rest = [0.0] * (degree - power + 1), list(coefficients[:power])
    quotient[0] = coefficients[power]
    for k in range(power + 1, degree + 1):
        quotient[k - power] = 2 * coefficients[k]
        rest[2 * power - k] -= coefficients[k]
    return quotient, rest


@cache
def _width(degree: int) -> int:
    """T_k below this are combined with their coefficients; the power of two that makes the fewest products."""
    return min(
        (1 << bits for bits in range(1, levels_of(degree) + 1)), key=lambda width: _relinearised(degree, width)[0]
    )


@cache
def _relinearised(degree: int, width: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Relinearisations in all, and at each depth, of an odd polynomial (or an even one of even degree)."""
    parameters = Parameters(ring=32768, scale_bits=40, levels=levels_of(degree), end_bits=50)
    evaluator = ClearEvaluator(parameters)
    start = [1.0 if k % 2 == degree % 2 else 0.0 for k in range(degree + 1)]
    _Evaluation(evaluator, ClearClient(parameters).encrypt(np.zeros(1)), width, True).of(Polynomial(tuple(start)))
    depths: Counter[int] = Counter()
    for operation, count in evaluator.ledger.counts.items():
        if operation.kind == "relinearise":
            depths[parameters.levels - operation.level] += count
    return sum(depths.values()), tuple(sorted(depths.items()))


def work_of(degree: int) -> tuple[tuple[int, int], ...]:
    """Relinearisations, which are nearly all the cost of a polynomial, at each depth below its input."""
    return _relinearised(degree, _width(degree))[1]
