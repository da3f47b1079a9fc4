"""Numbers as they go into slots: checked once, for every back end."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from burnish.core.errors import UserError
from burnish.private.encryption.parameters import Parameters


def as_slots(parameters: Parameters, values: Float[np.ndarray, " *shape"] | float) -> Float[np.ndarray, " slots"]:
    """A number a slot: one number goes into all of them, too few are followed by zeros.

    Raises:
        UserError: more numbers than slots, one that is not finite, or one too large for the lowest prime.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim > 1 or numbers.size > parameters.slots:
        raise UserError(f"slots: {numbers.shape} numbers; a ciphertext holds {parameters.slots} in one row")
    if not np.isfinite(numbers).all():
        raise UserError("slots: a number is not finite; look where it comes from")
    bound = 2.0 ** (parameters.end_bits - parameters.scale_bits - 1)
    if numbers.size and np.abs(numbers).max() >= bound:
        raise UserError(f"slots: a number of {np.abs(numbers).max():.3g}; scale them below {bound:g}")
    if numbers.ndim == 0:
        return np.full(parameters.slots, float(numbers))
    return np.concatenate([numbers, np.zeros(parameters.slots - numbers.size)])
