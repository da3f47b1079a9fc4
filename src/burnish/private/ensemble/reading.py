"""From a decrypted one-hot to a label, or to "ambiguous" with the eps that would have told. Never silently wrong.

In the place of class i stands the product over its rivals j of w_ij, near 1 where v_i - v_j > eps, near 0 where it is
below -eps, and between them one half at a tie: the comparison's polynomials keep the sign. So a value beyond one half
says that its class beats every other, and the margin asked for here is for noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from burnish.private.polynomials.records import Sign

TOLERANCE = 0.25
"""How far from 1, and from 0, the values of a label may be: the comparison's error and six deviations of noise."""


@dataclass(frozen=True)
class Label:
    """What an answer says.

    Attributes:
        index: of the best class; none where it is ambiguous.
        resolving_eps: with which a service would tell this text's classes apart; none where it is clear, or where no
            comparison explains the answer (a damaged one).
    """

    index: int | None
    resolving_eps: float | None = None

    @property
    def ambiguous(self) -> bool:
        """Whether there is no label."""
        return self.index is None


def read_label(one_hot: Float[np.ndarray, " classes"], sign: Sign, unit: float = 1.0) -> Label:
    """The label in an answer.

    Args:
        one_hot: decrypted.
        sign: the comparison that made it.
        unit: what a difference of 1 in the comparison is in shares of the bound that eps is measured by.
    """
    best = int(np.argmax(one_hot))
    others = np.delete(one_hot, best)
    within = bool(np.isfinite(one_hot).all()) and np.abs(others).max(initial=0.0) <= TOLERANCE
    if within and abs(one_hot[best] - 1) <= TOLERANCE:
        return Label(best)
    near_tie = bool(np.isfinite(one_hot).all()) and one_hot.min() >= -TOLERANCE and one_hot.max() <= 1 + TOLERANCE
    return Label(None, unit * _resolving(float(one_hot[best]), sign) if near_tie else None)


def _resolving(value: float, sign: Sign) -> float:
    """The difference at which the comparison gives what stands for the best class, halved for what noise has added."""
    points = np.geomspace(sign.eps / 2**10, sign.eps, 512)
    reached = np.flatnonzero((1 + sign(points)) / 2 >= min(max(value, 0.5), 1.0))
    return float(points[reached[0] if len(reached) else -1]) / 2
