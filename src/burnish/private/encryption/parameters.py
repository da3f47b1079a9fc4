"""How large a ciphertext is and how often it may be multiplied. Only what is secure at 128 bits can be made.

Knows the table of the Homomorphic Encryption Standard; knows no library.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from burnish.core.errors import UserError

STANDARD = {8192: 218, 16384: 438, 32768: 881}
"""Bits that the modulus may have, by ring, for 128 bits of security against classical attacks and a ternary secret.
Source: Albrecht et al., Homomorphic Encryption Security Standard (2018), table 1."""

HEADROOM = 5
"""Bits that the lowest prime has above the scale, at least: slots hold numbers up to half of 2 to that power."""

SWITCH_BITS = 60
"""Bits of the prime that only switches keys: the most there are. The noise of a switch falls with it."""

FINEST, COARSEST = 60, 25
"""Bits of a scale: no prime has more than 60, and below 25 rounding drowns the numbers at these rings."""


@dataclass(frozen=True)
class Parameters:
    """What client and server must agree on before a byte is sent.

    The modulus is a product of primes: one of `end_bits` at the bottom, one of `scale_bits` for each level, and one of
    60 bits that only switches keys. A bottom of 45 to 50 bits leaves room for levels, and rotations are less noisy
    than with one of 60.

    Attributes:
        ring: degree of the polynomials, N. A ciphertext holds N / 2 numbers.
        scale_bits: numbers are stored in multiples of 2 to minus this.
        levels: multiplications that may follow one another.
        end_bits: of the prime at the bottom.

    Raises:
        UserError: not 128-bit secure, or no CKKS at all.
    """

    ring: int
    scale_bits: int
    levels: int
    end_bits: int = 60

    def __post_init__(self) -> None:
        if self.ring not in STANDARD:
            known = ", ".join(str(ring) for ring in STANDARD)
            raise UserError(f"ring: {self.ring} is not in the standard's table; take one of {known}")
        if not COARSEST <= self.scale_bits <= FINEST - HEADROOM:
            raise UserError(f"scale_bits: {self.scale_bits}; take {COARSEST} to {FINEST - HEADROOM}")
        if not self.scale_bits + HEADROOM <= self.end_bits <= FINEST:
            raise UserError(
                f"end_bits: {self.end_bits}; numbers need {HEADROOM} bits above the scale's {self.scale_bits}, "
                f"and a prime has at most {FINEST}"
            )
        if self.levels < 1:
            raise UserError(f"levels: {self.levels}; a ciphertext that cannot be multiplied computes nothing; take 1")
        if self.modulus_bits > STANDARD[self.ring]:
            raise UserError(
                f"levels: {self.levels} of {self.scale_bits} bits make a modulus of {self.modulus_bits} bits; ring "
                f"{self.ring} is 128-bit secure up to {STANDARD[self.ring]}; take fewer levels or the next ring"
            )

    @property
    def slots(self) -> int:
        """Numbers in a ciphertext."""
        return self.ring // 2

    @property
    def modulus_bits(self) -> int:
        """Bits of all the primes together, with the one that switches keys."""
        return self.end_bits + self.levels * self.scale_bits + SWITCH_BITS

    @property
    def prime_bits(self) -> tuple[int, ...]:
        """Bits of each prime, lowest first."""
        return (self.end_bits, *[self.scale_bits] * self.levels, SWITCH_BITS)

    @property
    def digest(self) -> str:
        """Sixteen characters that differ where the parameters do; sent with every message."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def ciphertext_bytes(self, level: int, parts: int = 2) -> int:
        """Of a ciphertext in memory: a word for each coefficient, prime and part."""
        return parts * self.ring * (level + 1) * 8

    @property
    def key_bytes(self) -> int:
        """Of one key in memory, for relinearising or for one rotation: a pair of polynomials for each prime."""
        return (self.levels + 1) * 2 * self.ring * (self.levels + 2) * 8

    def sent_bytes(self, level: int) -> int:
        """About what a fresh ciphertext takes on the wire: a seed for one part, the other with whole bytes a prime."""
        return self.ring * sum(-(-bits // 8) for bits in self.prime_bits[: level + 1])

    @property
    def sent_key_bytes(self) -> int:
        """About what a key takes on the wire, likewise."""
        return (self.levels + 1) * self.ring * sum(-(-bits // 8) for bits in self.prime_bits)

    def to_json(self) -> str:
        """Stable text, for files and for the digest."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Parameters:
        """Read what :meth:`to_json` wrote, from a file or from a stranger.

        Raises:
            UserError: something else, or parameters that are refused.
        """
        try:
            found = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            found = None
        names = {"ring", "scale_bits", "levels", "end_bits"}
        whole = isinstance(found, dict) and set(found) == names
        if not whole or any(type(number) is not int for number in found.values()):
            raise UserError(f"parameters: {text[:60]!r} is no set of parameters; need {', '.join(sorted(names))}")
        return cls(**found)


def most_levels(ring: int, scale_bits: int, end_bits: int) -> int:
    """Levels that a ring has room for at 128 bits."""
    return (STANDARD[ring] - end_bits - SWITCH_BITS) // scale_bits
