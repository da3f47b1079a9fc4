"""Which entries of a delta are kept: by magnitude, by chance, or by chance that grows with magnitude. Masks only.

One total order decides between magnitudes: larger first, and of equal ones the lower flat index first, so that a mask
is the same on every machine. A vector may be one tensor or a whole flattened model (global trimming).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from burnish.core.errors import UserError
from burnish.merge.methods.counter import random_uint32
from burnish.merge.methods.scalars import band_counts, chance


def keep_largest(values: Float32[Tensor, "*shape"], count: int) -> Bool[Tensor, "*shape"]:
    """Mask the `count` entries of largest magnitude; of equal ones the lowest flat indices. A NaN is the largest."""
    size = values.numel()
    if count >= size:
        return torch.ones_like(values, dtype=torch.bool)
    if count <= 0:
        return torch.zeros_like(values, dtype=torch.bool)
    # The bit patterns of magnitudes are ordered like the magnitudes, and order NaN as well.
    magnitude = values.abs().flatten().view(torch.int32)
    threshold = magnitude.kthvalue(size - count + 1).values
    above = magnitude > threshold
    tied = magnitude == threshold
    room = count - above.sum()
    counter = torch.int32 if size < 2**31 else torch.int64
    return (above | (tied & (tied.cumsum(0, dtype=counter) <= room))).reshape(values.shape)


def keep_without_outliers(values: Float32[Tensor, "*shape"], density: float, gamma: float) -> Bool[Tensor, "*shape"]:
    """Mask what is left without the largest `gamma` and enough of the smallest entries to leave int(density n).

    Source: Model Breadcrumbs, arXiv:2312.06795, equation 2; the counts are mergekit's.
    """
    if density >= 1:
        return torch.ones_like(values, dtype=torch.bool)
    kept, outliers = band_counts(values.numel(), density, gamma)
    return keep_largest(values, outliers + kept) & ~keep_largest(values, outliers)


def keep_at_random(
    shape: Sequence[int], density: float, *, seed: int, model: int, device: torch.device
) -> Bool[Tensor, "..."]:
    """Mask every entry with probability `density`, independently. Source: DARE, arXiv:2311.03099, section 3.2."""
    size = int(torch.Size(shape).numel())
    # 32 bits of chance against a whole-number threshold: the same comparison in the compiled kernel.
    words = random_uint32(size, seed=seed, model=model, device=device)
    mask: Tensor = words.lt(chance(density)).reshape(tuple(shape))
    return mask


def rank_probabilities(values: Float32[Tensor, "*shape"], density: float, epsilon: float) -> Float64[Tensor, "*shape"]:
    """Keep probabilities that grow linearly with the rank of |value| in its row, from density -/+ epsilon.

    A row is the last axes of the first index; a vector is one row. Source: DELLA, arXiv:2406.11617, section 3.1.

    Raises:
        UserError: a probability would leave (0, 1).
    """
    if density + epsilon >= 1 or density - epsilon <= 0:
        raise UserError(f"epsilon: density {density} +/- epsilon {epsilon} must stay inside (0, 1); lower epsilon")
    rows = values.abs().reshape(-1, values.shape[-1]) if values.dim() > 1 else values.abs().reshape(1, -1)
    # Stable and descending, then reversed: the larger rank goes to the lower index among equal magnitudes.
    order = rows.argsort(dim=-1, descending=True, stable=True).flip(-1)
    ranks = torch.empty_like(order)
    ranks.scatter_(-1, order, torch.arange(rows.shape[-1], device=rows.device).expand_as(order))
    # A row of one entry has no ranks to tell apart; the middle is its fair share.
    steps = rows.shape[-1] - 1
    relative = ranks.double() / steps if steps else torch.full_like(ranks, 0.5, dtype=torch.float64)
    return (density - epsilon + relative * (2 * epsilon)).reshape(values.shape)


def rescaled(
    masked: Float32[Tensor, "*shape"], original: Float32[Tensor, "*shape"], norm: str
) -> Float32[Tensor, "*shape"]:
    """Scale `masked` to the l1, l2 or linf norm of `original`, unless either is (next to) zero."""
    order = {"l1": 1.0, "l2": 2.0, "linf": float("inf")}[norm]
    before: Tensor = torch.linalg.vector_norm(original, order, dtype=torch.float64)
    after: Tensor = torch.linalg.vector_norm(masked, order, dtype=torch.float64)
    if min(before.item(), after.item()) < 1e-7:
        return masked
    return masked * (before / after).item()
