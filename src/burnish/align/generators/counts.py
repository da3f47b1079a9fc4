"""Where a generator's tokens went. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from burnish.align.meters import Counts
from burnish.align.records import Generator


@dataclass(frozen=True)
class TokenCounts(Counts):
    """Tokens of answers and of prompts; ``encoded`` and ``reused`` sum to the length of all prompts.

    Attributes:
        generated: drawn one by one, end marks included.
        encoded: of prompts, read by the language model; places of pictures are among them.
        reused: of prompts, not read again: another prompt of the batch had begun with the same.
        pictures: read by the vision part.
    """

    generated: int = 0
    encoded: int = 0
    reused: int = 0
    pictures: int = 0

    def __sub__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(
            self.generated - other.generated,
            self.encoded - other.encoded,
            self.reused - other.reused,
            self.pictures - other.pictures,
        )


class CountingGenerator(Generator, Protocol):
    """A generator that says where its tokens went."""

    @property
    def counts(self) -> TokenCounts:
        """Tokens since it was made; as an endpoint counts them, 0 where it does not."""
        ...
