"""Where task vectors disagree in sign, who wins: TIES' election and its disjoint merge. Source: arXiv:2306.01708,
section 4.

Works on one tensor's deltas or on whole flattened models alike; trimmed entries are zeros and side with nobody.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float32
from torch import Tensor


def elect_signs(deltas: Sequence[Float32[Tensor, "*shape"]]) -> Float32[Tensor, "*shape"]:
    """Return the sign (+1 or -1) with the larger total mass per entry; a zero sum counts as +."""
    return torch.where(total(deltas) >= 0, 1.0, -1.0)


def agrees(delta: Float32[Tensor, "*shape"], signs: Float32[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
    """Mask the entries of `delta` that are not zero and have the elected sign."""
    return delta.sign() == signs


def agreeing_sum(
    deltas: Sequence[Float32[Tensor, "*shape"]], signs: Float32[Tensor, "*shape"]
) -> Float32[Tensor, "*shape"]:
    """Sum the entries that have the elected sign."""
    return total([delta * agrees(delta, signs) for delta in deltas])


def agreeing_mean(
    deltas: Sequence[Float32[Tensor, "*shape"]],
    signs: Float32[Tensor, "*shape"],
    weight: Sequence[float] | None = None,
) -> Float32[Tensor, "*shape"]:
    """Divide the agreeing sum of (already weighted) deltas by the weights that agree; a divisor of 0 becomes 1."""
    weight = [1.0] * len(deltas) if weight is None else weight
    divisor = total([agrees(delta, signs) * share for delta, share in zip(deltas, weight, strict=True)])
    return agreeing_sum(deltas, signs) / torch.where(divisor == 0, 1.0, divisor)


def total(terms: Sequence[Float32[Tensor, "*shape"]]) -> Float32[Tensor, "*shape"]:
    """Add in the given order, so that the kernels can round in the same places."""
    result = terms[0].clone()
    for term in terms[1:]:
        result += term
    return result
