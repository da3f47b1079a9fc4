"""OpenFHE's objects as numbers and back. Of what a stranger sends, only coefficients are read.

OpenFHE writes whole object graphs, and what reads them trusts their pointers and lengths. So none of that is sent: a
stream holds the coefficients, and the reader makes an object of the same kind itself and puts them into its bytes.
"""

from __future__ import annotations

import re
import struct

import numpy as np
from jaxtyping import UInt64

from burnish.core.errors import BurnishError, UserError

Words = UInt64[np.ndarray, "polynomials ring"]


class Frame:
    """An object as OpenFHE writes it, and where its coefficients are: for each polynomial and prime, their number (8
    bytes), so many words, and the prime.

    Args:
        written: by OpenFHE, in this process.
        ring: coefficients of a polynomial.
        polynomials: how many there must be, each prime counted.

    Attributes:
        primes: of each polynomial.

    Raises:
        BurnishError: OpenFHE writes otherwise than it did.
    """

    def __init__(self, written: bytes, ring: int, polynomials: int) -> None:
        self._written, self._ring = written, ring
        found = [match.start() + 8 for match in re.finditer(re.escape(struct.pack("<Q", ring)), written)]
        ends = [*found, len(written)][1:]
        self._places = [place for place, end in zip(found, ends, strict=True) if end - place >= 8 * ring + 8]
        if len(self._places) != polynomials:
            raise BurnishError(
                f"openfhe: {len(self._places)} polynomials found in what it writes, not {polynomials}; this version "
                "is not understood; take another one"
            )
        after = [written[place + 8 * ring : place + 8 * ring + 8] for place in self._places]
        self.primes = tuple(int.from_bytes(prime, "little") for prime in after)

    def words(self) -> Words:
        """The coefficients."""
        return np.stack([np.frombuffer(self._written, "<u8", self._ring, place) for place in self._places])

    def narrow(self) -> bytes:
        """The coefficients, each in as few whole bytes as its prime has."""
        parts = (
            row.view(np.uint8).reshape(-1, 8)[:, : _width(prime)].tobytes()
            for row, prime in zip(self.words(), self.primes, strict=True)
        )
        return b"".join(parts)

    def filled(self, data: bytes, what: str) -> bytes:
        """The same object with other coefficients, from what :meth:`narrow` made.

        Raises:
            UserError: not so many, or one that is not below its prime; `what` names the object.
        """
        if len(data) != sum(self._ring * _width(prime) for prime in self.primes):
            raise UserError(f"{what}: {len(data)} bytes of coefficients; made for other parameters, or damaged")
        out, start = bytearray(self._written), 0
        for place, prime in zip(self._places, self.primes, strict=True):
            width = _width(prime)
            words = np.zeros((self._ring, 8), dtype=np.uint8)
            words[:, :width] = np.frombuffer(data, np.uint8, self._ring * width, start).reshape(self._ring, width)
            start += self._ring * width
            if int(words.view("<u8").max()) >= prime:
                raise UserError(f"{what}: a coefficient is not below its prime; damaged")
            out[place : place + 8 * self._ring] = words.tobytes()
        return bytes(out)


def _width(prime: int) -> int:
    return -(-prime.bit_length() // 8)
