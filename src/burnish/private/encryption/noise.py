"""The error that each operation of CKKS adds to the slots, drawn. Knows the parameters, no ciphertext.

The average-case analysis of Costache et al., "On the precision loss in approximate homomorphic encryption" (2022):
the error of a coefficient is Gaussian; a slot's is the sum of N of them on the unit circle, its real part half of that
in variance.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from burnish.private.encryption.parameters import SWITCH_BITS, Parameters

_ERROR = 3.2  # standard deviation of the encryption error, as the standard has it
_TERNARY = 2 / 3  # variance of a coefficient of the secret


class Noise:
    """Draws errors a slot; the same parameters and seed give the same errors.

    Args:
        parameters: ring and scale.
        seed: of the generator.
    """

    def __init__(self, parameters: Parameters, seed: int = 0) -> None:
        self._ring, self._slots = parameters.ring, parameters.slots
        self._scale = 2.0**parameters.scale_bits
        # A key switch meets digits between 0 and a prime, not around 0: their mean is a polynomial of equal
        # coefficients, q / 2 (1 + X + ...), which is large at the few roots near 1, those of the first slots.
        primes = 2.0 ** (np.array(parameters.prime_bits[:-1]) - SWITCH_BITS)
        self._digits = float(np.sum(primes**2))
        turn, angles = 1, np.empty(parameters.slots)
        for slot in range(parameters.slots):
            angles[slot], turn = turn, turn * 3 % (2 * parameters.ring)
        self._near_one = 1 / (2 * np.sin(angles * math.pi / (2 * parameters.ring)))
        self._rng = np.random.default_rng([seed, *parameters.prime_bits, parameters.ring])

    def fresh(self) -> Float[np.ndarray, " slots"]:
        """Of an encryption under the secret key."""
        return self._drawn(math.hypot(_ERROR, math.sqrt(1 / 12)), self._scale)

    def rounding(self) -> Float[np.ndarray, " slots"]:
        """Of a rescaling: both parts are rounded, and the second meets the secret."""
        return self._drawn(math.sqrt((1 + _TERNARY * self._ring) / 12), self._scale)

    def key_switch(self, scale: float) -> Float[np.ndarray, " slots"]:
        """Of relinearising or rotating. What falls on few slots is taken at two deviations: one draw says little."""
        variance = self._digits * self._ring * _ERROR**2 / 12 + (1 + _TERNARY * self._ring) / 12
        few = _ERROR * math.sqrt(self._digits * self._ring / 2) * self._near_one / scale
        signs = 2.0 * self._rng.integers(0, 2, self._slots) - 1.0
        return self._drawn(math.sqrt(variance), scale) + 2.0 * few * signs

    def encoding(self, vector: bool) -> Float[np.ndarray, " slots"]:
        """Of writing numbers as a polynomial; one number in all slots is a constant and rounds once."""
        if vector:
            return self._drawn(math.sqrt(1 / 12), self._scale)
        return np.full(self._slots, self._rng.uniform(-0.5, 0.5) / self._scale)

    def wrapped(self, largest: float) -> Float[np.ndarray, " slots"]:
        """What is left of numbers too large for the modulus."""
        return self._rng.uniform(-largest, largest, self._slots)

    def _drawn(self, deviation: float, scale: float) -> Float[np.ndarray, " slots"]:
        return self._rng.normal(0.0, deviation * math.sqrt(self._ring / 2) / scale, self._slots)
