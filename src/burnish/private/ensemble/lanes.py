"""Where classes meet and answers lie, of questions that share the slots in turn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from burnish.private.argmax.records import Tournament, halvings
from burnish.private.ensemble.packing import Packing, spread


@dataclass(frozen=True)
class Lanes(Tournament):
    """The squares of :class:`Tournament`, a period of the packing each: of all periods the first one is told.

    Attributes:
        packing: how the questions lie.
        stride: positions between two columns.
        only_first: pairs meet in the first group only; what stands in the others is no comparison, and nothing is added
            to it.
    """

    packing: Packing = field(kw_only=True)
    stride: int = 1
    only_first: bool = False

    @property
    def queries(self) -> int:
        """Lanes."""
        return self.packing.questions

    @property
    def rotations(self) -> tuple[int, ...]:
        """To the left, that multiplying along the rows takes."""
        return tuple(steps * self.stride * self.packing.questions for steps in halvings(self.width))

    def place(self, query: int, label: int) -> int:
        """The slot of a class's answer."""
        return label * self.width * self.stride * self.packing.questions + query

    def answers(self) -> Float[np.ndarray, " slots"]:
        """1 in the slots that hold an answer."""
        found = np.zeros(self.slots)
        for label in range(self.classes):
            first = self.place(0, label)
            found[first : first + self.packing.questions] = 1.0
        return found

    def tiled(self, square: Float[np.ndarray, "width width"]) -> Float[np.ndarray, " slots"]:
        """The same square wherever classes meet."""
        wide = np.zeros((self.packing.groups, self.width, self.width, self.stride))
        wide[: 1 if self.only_first else None, ..., 0] = square
        return spread(self.packing, wide.reshape(self.packing.groups, -1))
