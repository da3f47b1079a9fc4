"""Where the numbers of a question lie in the slots, so that a matrix product needs few rotations and leaves no rubbish.

Slots are dealt out to the questions in turn: slot = position x questions + question. A rotation by a multiple of the
number of questions then turns each question's positions in a circle of their own, and every slot of a sum over the
circle is a true one: nothing that a polynomial could blow up lies in between.

A question's circle of positions is `periods` periods; a period is a window for each group; a window has one place for
each of the group's outputs. Of its inputs a group's window holds `share`, repeated to its end:

    position = (period x groups + group) x window + place,   input = (part x periods + period) x share + place mod share

Output (group, place) is a sum over all positions of its residue, of what lies there and at a few places beside it:
the diagonal method of Halevi and Shoup (CRYPTO 2014), with the sum over periods by doubling. The inputs may come in
several ciphertexts (`parts`): each costs an upload and one product a diagonal, and saves rotations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from burnish.core.errors import UserError


@dataclass(frozen=True)
class Packing:
    """See the module.

    Attributes:
        slots: of a ciphertext; a power of two, as are `questions`, `groups` and `window`.
        questions: answered by one ciphertext.
        parts: ciphertexts that a question is spread over.
        groups: sets of outputs that have inputs of their own.
        window: outputs of a group.
        inputs: of a group.

    Raises:
        UserError: they do not fit into the slots.
    """

    slots: int
    questions: int
    parts: int
    groups: int
    window: int
    inputs: int

    def __post_init__(self) -> None:
        for name in ("slots", "questions", "groups", "window"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise UserError(f"{name}: {value} is no power of two")
        if self.parts < 1 or self.inputs < 1:
            raise UserError(f"parts {self.parts}, inputs {self.inputs}: at least 1 of each")
        if self.periods < 1 or self.share > self.window:
            raise UserError(
                f"{self.groups} x {self.inputs:,} numbers for {self.questions} questions do not fit into "
                f"{self.parts} x {self.slots:,} slots; take fewer prompts, classes or questions, or a larger ring"
            )

    @property
    def positions(self) -> int:
        """Of a question's circle."""
        return self.slots // self.questions

    @property
    def period(self) -> int:
        """Outputs of a question: after so many positions they come again."""
        return self.groups * self.window

    @property
    def periods(self) -> int:
        """Periods in the circle."""
        return self.positions // self.period

    @property
    def share(self) -> int:
        """Inputs of a group that a window holds: the least power of two for which all have a place."""
        least = -(-self.inputs // (self.parts * self.periods))
        return 1 << (least - 1).bit_length()

    @property
    def offsets(self) -> range:
        """How far from an output's positions its inputs lie.

        With one group what stands beyond a window's end is the next window's beginning, and all the windows together
        have each input once at `share` offsets. With several it is another group's, so the way back is needed as well.
        """
        return range(self.share) if self.groups == 1 else range(1 - self.share, self.share)


def pack(packing: Packing, inputs: Float[np.ndarray, "questions groups inputs"]) -> Float[np.ndarray, "parts slots"]:
    """Lay inputs into the slots. Questions fewer than there are lanes leave the others zero.

    Raises:
        UserError: more questions than lanes.
    """
    if len(inputs) > packing.questions:
        raise UserError(f"{len(inputs)} questions: a ciphertext takes {packing.questions}; send several")
    filled = np.zeros((packing.questions, packing.groups, packing.parts * packing.periods * packing.share))
    filled[: len(inputs), : inputs.shape[1], : inputs.shape[2]] = inputs
    group, found = _contents(packing)
    laid = filled[:, group, found]  # [questions, parts, positions]
    return laid.transpose(1, 2, 0).reshape(packing.parts, packing.slots).copy()


def diagonals(
    packing: Packing, matrix: Float[np.ndarray, "groups window inputs"]
) -> Float[np.ndarray, "offsets parts slots"]:
    """The matrix as what each slot's neighbour, so many positions on, is multiplied by before the sum over periods."""
    wide = np.zeros((packing.groups, packing.window, packing.parts * packing.periods * packing.share))
    wide[: matrix.shape[0], : matrix.shape[1], : matrix.shape[2]] = matrix
    group, found = _contents(packing)
    place = np.arange(packing.positions) % packing.window
    rows = []
    for offset in packing.offsets:
        weights = wide[group, place, np.roll(found, -offset, axis=1)]
        if packing.groups > 1:
            within = place % packing.share + offset
            weights = np.where((within >= 0) & (within < packing.share), weights, 0.0)
        rows.append(np.repeat(weights, packing.questions, axis=1))
    return np.stack(rows)


def spread(packing: Packing, outputs: Float[np.ndarray, "groups window"]) -> Float[np.ndarray, " slots"]:
    """A constant for each output, as it stands in every period of every question."""
    wide = np.zeros((packing.groups, packing.window))
    wide[: outputs.shape[0], : outputs.shape[1]] = outputs
    return np.repeat(np.tile(wide.reshape(-1), packing.periods), packing.questions)


def _contents(
    packing: Packing,
) -> tuple[Int64[np.ndarray, " positions"], Int64[np.ndarray, "parts positions"]]:
    """The group of each position, and which of its inputs lies there in each part."""
    position = np.arange(packing.positions)
    group = position // packing.window % packing.groups
    place = position % packing.window % packing.share
    period = np.arange(packing.parts)[:, None] * packing.periods + position // packing.period
    return group, period * packing.share + place
