"""What a library for CKKS must do here: few verbs, on ciphertexts that nobody looks into.

Two sides that never share an object: a :class:`Client` holds the secret key, an :class:`Evaluator` the public ones.
Knows NumPy and the parameters; knows no library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from burnish.private.encryption.parameters import Parameters

Slots = Float[np.ndarray, " slots"]
Numbers = Float[np.ndarray, " numbers"]
"""At most one a slot; zeros follow."""


@runtime_checkable
class Ciphertext(Protocol):
    """An encrypted vector of real numbers, one a slot. Made and read by one library; to others a thing to hand on."""

    @property
    def level(self) -> int:
        """Multiplications that may still follow one another: rescalings left."""

    @property
    def scale(self) -> float:
        """What the numbers are multiplied by inside."""

    @property
    def parts(self) -> int:
        """Polynomials it has: 2, or 3 after a product that has not been relinearised."""


@runtime_checkable
class Evaluator(Protocol):
    """Computes on ciphertexts with public keys. Every verb gives a new ciphertext and leaves its arguments alone.

    Two ciphertexts of different levels meet at the lower one; scales that differ in the last digits (rescaling divides
    by primes that are not quite powers of two) are brought together exactly. What cannot be done, for lack of a level
    or of a rotation key, raises `BurnishError` that names the step.
    """

    parameters: Parameters

    def lacking(self, rotations: Sequence[int]) -> list[str]:
        """Keys that a circuit with products and these rotations needs and that were not given, each in words."""

    def add(self, left: Any, right: Any) -> Any:
        """Slot by slot."""

    def subtract(self, left: Any, right: Any) -> Any:
        """Slot by slot."""

    def negate(self, cipher: Any) -> Any:
        """Each slot's number with the other sign."""

    def add_plain(self, cipher: Any, values: Numbers | float) -> Any:
        """Numbers that the server knows, added."""

    def multiply_plain(self, cipher: Any, values: Numbers | float) -> Any:
        """Times numbers that the server knows. Takes a level when rescaled."""

    def multiply(self, left: Any, right: Any, *, relinearise: bool = True) -> Any:
        """Slot by slot. Not rescaled; with `relinearise` off it has three parts, which may be added to others."""

    def relinearise(self, cipher: Any) -> Any:
        """Back to two parts."""

    def rescale(self, cipher: Any) -> Any:
        """Divide by the last prime: the scale comes down, and a level is gone."""

    def drop(self, cipher: Any, level: int) -> Any:
        """Down to a level without dividing: what follows costs less."""

    def rotate(self, cipher: Any, steps: int) -> Any:
        """To the left by so many slots, round the end; negative: to the right."""

    def rotate_many(self, cipher: Any, steps: Sequence[int]) -> list[Any]:
        """The same ciphertext rotated several ways, the costly part done once where the library can."""

    def save(self, cipher: Any) -> bytes:
        """As the library writes it."""

    def load(self, data: bytes) -> Any:
        """Read what came over the network: checked, never trusted.

        Raises:
            UserError: not a ciphertext of these parameters.
        """


@runtime_checkable
class Client(Protocol):
    """Holds the secret key. Never leaves the user's process."""

    parameters: Parameters

    def encrypt(self, values: Numbers, level: int | None = None) -> Any:
        """Encrypt at the highest level, or at a lower one, which is cheaper to send and to compute on."""

    def decrypt(self, cipher: Any) -> Slots:
        """What is in the slots, with CKKS's noise."""

    def evaluation_keys(self, rotations: Sequence[int]) -> bytes:
        """Public, relinearisation and these rotation keys, for an evaluator; nothing secret is in them."""

    def save(self, cipher: Any) -> bytes:
        """As the library writes it, to send."""

    def load(self, data: bytes) -> Any:
        """An answer that came back; checked like :meth:`Evaluator.load`."""

    def save_secret(self) -> bytes:
        """The secret key, for the user's own disk."""
