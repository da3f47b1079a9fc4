"""From decrypted slots to a label: the right one, or "ambiguous"; never a wrong one.

Why. In (0, eps) a sign polynomial S keeps its sign. So a class j whose score is not the largest loses to the winner by
w = (1 + S(v_j - v_i)) / 2 <= 1/2, its product is at most that, and never reaches 3/4. Where every difference of the
winner is at least eps, each factor of its product is 1 - error / 2 or more, and `needed_error` makes that 7/8 in all.
In between no slot reaches 3/4. The same holds of 1 + S(v_j - max), which is at least 1 for the winner always: there a
label needs all others below 1/4.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from burnish.private.argmax.records import Label, Method, Row, Tournament
from burnish.private.polynomials.records import Sign

CERTAIN = 0.75
"""A class is named where its slot is above this and every other below 1 minus this. Noise may take 1/8 of a slot."""

_BEYOND = 0.5
"""A slot this far outside [0, 1] was not made of scores within the bound."""


def needed_error(method: Method, classes: int, eps: float) -> float:
    """The largest error of the sign polynomial at which the contract holds.

    All pairs: the winner's product of n - 1 factors stays above 7/8. The others shrink the running maximum a little at
    each comparison, and it must not sink by eps: log2 n comparisons, or n - 1.
    """
    if method == "all_pairs":
        return 1 / (4 * classes)
    return eps / (4 * (math.ceil(math.log2(classes)) if method == "folding" else classes - 1))


def read_label(slots: Float[np.ndarray, " slots"], layout: Tournament | Row, sign: Sign, query: int = 0) -> Label:
    """What one query's answer says.

    Args:
        slots: decrypted.
        layout: of the circuit that made it.
        sign: that was used, for the eps that would resolve a near tie.
        query: which of the queries in the ciphertext.
    """
    places = [layout.place(query, label) for label in range(layout.classes)]
    return read_values(slots[places], layout, sign)


def read_values(values: Float[np.ndarray, " classes"], layout: Tournament | Row, sign: Sign) -> Label:
    """What the numbers of a query's classes say.

    Args:
        values: near 1 for the largest score and near 0 for the others, where it is certain.
        layout: of the circuit that made them.
        sign: that was used.
    """
    everyone = tuple(range(len(values)))
    if not np.isfinite(values).all() or values.min() < -_BEYOND or values.max() > 1 + _BEYOND:
        return Label(None, everyone, damaged=True)
    first = int(np.argmax(values))
    others = np.delete(values, first)
    if values[first] > CERTAIN and others.max() < 1 - CERTAIN:
        return Label(first, (first,))
    # A tie of many leaves each product near 0, where noise ranks them.
    tried = np.flatnonzero(values > min(1 - CERTAIN, values[first]) / 4) if values[first] > 2.0**-5 else everyone
    if isinstance(layout, Row):
        gap = _gap(sign, -(float(others.max()) - 1))
    else:
        gap = _gap(sign, 2 * float(values[first]) - 1)
    return Label(None, tuple(int(label) for label in tried), resolves=gap)


def _gap(sign: Sign, value: float) -> float | None:
    """The difference at which the sign polynomial has this value, where it tells one: rounded down to a power of two.

    The winner's product is at most the factor of its nearest rival, so its difference is at least this.
    """
    if value < 2.0**-6:  # noise could have made it
        return None
    points = np.geomspace(sign.eps * 2.0**-12, sign.eps, 4096)
    below = points[sign(points) <= value]
    return 2.0 ** math.floor(math.log2(below[-1])) if len(below) else None
