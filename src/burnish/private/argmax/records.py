"""Where scores and answers lie in the slots, and what is read out of an answer. Knows NumPy only.

Scores are scaled so that every difference of two lies in [-1, 1]: with a public bound on their size, divide by twice
the bound. `eps` is the smallest difference, so scaled, that must be resolved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from burnish.core.errors import UserError

Method = Literal["all_pairs", "folding", "sequential"]


def power_of_two(number: int) -> int:
    """The smallest that is not below a number."""
    return 1 << (number - 1).bit_length()


@dataclass(frozen=True)
class Tournament:
    """Every class against every other, all at once: a square of slots a query, row i for class i, column j for j.

    Attributes:
        classes: that compete; 2 to the width of the widest square.
        slots: of a ciphertext.
        at_least: rows and columns, where the square must be as wide as others.

    Raises:
        UserError: fewer than two classes, or more than a square of the slots has rows.
    """

    classes: int
    slots: int
    at_least: int = 2

    def __post_init__(self) -> None:
        check_classes(self.classes)
        if self.width**2 > self.slots:
            most = 1 << ((self.slots.bit_length() - 1) // 2)
            raise UserError(
                f"classes: {self.classes} need {self.width**2} slots, there are {self.slots}; up to {most} classes fit "
                "in one ciphertext; take a larger ring, or blocks of classes"
            )

    @property
    def width(self) -> int:
        """Rows and columns of a square: the classes, rounded up to a power of two."""
        return max(power_of_two(self.classes), self.at_least)

    @property
    def queries(self) -> int:
        """Squares in a ciphertext: so many queries are answered for the price of one."""
        return self.slots // self.width**2

    @property
    def rotations(self) -> tuple[int, ...]:
        """To the left, that multiplying along the rows takes."""
        return halvings(self.width)

    def place(self, query: int, label: int) -> int:
        """The slot of a class's answer: 1 where it has the largest score, else 0."""
        return (query * self.width + label) * self.width

    def differences(self, scores: Float[np.ndarray, "queries classes"]) -> Float[np.ndarray, " slots"]:
        """v_i - v_j in row i, column j of each query's square; 0 in rows and columns of no class.

        What the heads emit under encryption, here in the clear: for tests and for the reference.
        """
        squares = np.zeros((self.queries, self.width, self.width))
        count = scores.shape[0]
        squares[:count, : self.classes, : self.classes] = scores[:, :, None] - scores[:, None, :]
        slots = np.zeros(self.slots)
        slots[: squares.size] = squares.ravel()
        return slots

    def unopposed(self) -> Float[np.ndarray, " slots"]:
        """1 where no other class stands against row i: on the diagonal, and in columns of no class."""
        square = np.eye(self.width)
        square[:, self.classes :] = 1.0
        square[self.classes :] = 0.0
        return self.tiled(square)

    def answers(self) -> Float[np.ndarray, " slots"]:
        """1 in the slots that hold an answer; all else is nobody's business."""
        square = np.zeros((self.width, self.width))
        square[: self.classes, 0] = 1.0
        return self.tiled(square)

    def tiled(self, square: Float[np.ndarray, "width width"]) -> Float[np.ndarray, " slots"]:
        """The same square for every query."""
        slots = np.zeros(self.slots)
        slots[: self.queries * square.size] = np.tile(square.ravel(), self.queries)
        return slots


def blocks_of(classes: int, slots: int) -> tuple[Tournament, ...]:
    """As few blocks of nearly equal size as classes need; one where they fit in one square."""
    widest = 1 << ((slots.bit_length() - 1) // 2)
    count = -(-classes // widest)
    sizes = [classes // count + (block < classes % count) for block in range(count)]
    return tuple(Tournament(size, slots, power_of_two(max(sizes))) for size in sizes)


@dataclass(frozen=True)
class Row:
    """Scores of a query side by side, and once more behind themselves, as the folding argmax wants them.

    Attributes:
        classes: that compete.
        slots: of a ciphertext.

    Raises:
        UserError: fewer than two classes, or more than half the slots.
    """

    classes: int
    slots: int

    def __post_init__(self) -> None:
        check_classes(self.classes)
        if 2 * self.width > self.slots:
            raise UserError(f"classes: {self.classes}, twice, do not fit into {self.slots} slots")

    @property
    def width(self) -> int:
        """The classes, rounded up to a power of two."""
        return power_of_two(self.classes)

    @property
    def queries(self) -> int:
        """Rows in a ciphertext."""
        return self.slots // (2 * self.width)

    def place(self, query: int, label: int) -> int:
        """The slot of a class's answer."""
        return 2 * query * self.width + label

    def spread(self, scores: Float[np.ndarray, "queries classes"]) -> Float[np.ndarray, " slots"]:
        """The layout of the input: each query's scores twice, filled up with the least score there is, -1/2."""
        rows = np.full((self.queries, self.width), -0.5)
        rows[: scores.shape[0], : self.classes] = scores
        slots = np.full(self.slots, -0.5)
        slots[: 2 * rows.size] = np.concatenate([rows, rows], axis=1).ravel()
        return slots


@dataclass(frozen=True)
class Label:
    """What a client may conclude from an answer.

    Attributes:
        index: the class of the largest score; `None` where that is not certain.
        contenders: classes that may have the largest score; the one class where it is certain.
        resolves: where it is not certain, an eps at which the same scores would be; `None` where the answer does not
            tell, as of an exact tie.
        damaged: the numbers are none that this circuit makes of scores within the bound.
    """

    index: int | None
    contenders: tuple[int, ...]
    resolves: float | None = None
    damaged: bool = False

    @property
    def ambiguous(self) -> bool:
        """Whether no class is certain."""
        return self.index is None


def halvings(width: int) -> tuple[int, ...]:
    """width / 2, width / 4, ..., 1."""
    return tuple(width >> shift for shift in range(1, width.bit_length()))


def check_classes(classes: int) -> None:
    """Raises:
    UserError: nothing competes.
    """
    if classes < 2:
        raise UserError(f"classes: {classes}; with fewer than 2 there is nothing to decide")
