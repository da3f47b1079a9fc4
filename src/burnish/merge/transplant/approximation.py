"""Vectors as combinations of known ones: found in the donor's space, carried over to the model's. Pure maths."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

# A vector that is this small a part of itself outside the span of others lies in it, as far as float32 tells.
_DEPENDENT = 1e-5
_NEAREST = 1e-6


def pursuit(
    targets: Float[Tensor, "batch width"], points: Float[Tensor, "points width"], count: int
) -> tuple[Int[Tensor, "batch count"], Float[Tensor, "batch count"]]:
    """Orthogonal matching pursuit: `count` points one after the other, each the one whose inner product with what is
    left is largest, and their least-squares coefficients.

    Points keep their lengths, as in the method that this follows. Source: arXiv:2506.06607.

    Args:
        targets: float32.
        points: float32.
        count: points a target, up to the number of points and to the width.

    Returns:
        Which points, and their coefficients.
    """
    batch, width = targets.shape
    chosen = torch.zeros(batch, count, dtype=torch.long, device=targets.device)
    basis = torch.zeros(batch, count, width, device=targets.device)
    triangle = torch.zeros(batch, count, count, device=targets.device)
    left = targets.clone()
    for step in range(count):
        scores = (left @ points.T).abs_()
        scores.scatter_(1, chosen[:, :step], -1.0)
        chosen[:, step] = scores.argmax(dim=1)
        atom = points[chosen[:, step]]
        length = atom.norm(dim=1)
        known = basis[:, :step]
        for _ in range(2):  # once leaves a rounding error as large as what may be left
            along = torch.einsum("bsw,bw->bs", known, atom)
            triangle[:, :step, step] += along
            atom = atom - torch.einsum("bs,bsw->bw", along, known)
        rest = atom.norm(dim=1)
        new = rest > _DEPENDENT * length
        triangle[:, step, step] = torch.where(new, rest, 1.0)
        basis[:, step] = torch.where(new.unsqueeze(1), atom / rest.clamp_min(1e-30).unsqueeze(1), 0.0)
        left -= (left * basis[:, step]).sum(dim=1, keepdim=True) * basis[:, step]
    wanted = torch.einsum("bsw,bw->bs", basis, targets)
    coefficients = torch.linalg.solve_triangular(triangle, wanted.unsqueeze(2), upper=True).squeeze(2)
    return chosen, coefficients


def interpolation(
    targets: Float[Tensor, "batch width"], points: Float[Tensor, "points width"], count: int
) -> tuple[Int[Tensor, "batch count"], Float[Tensor, "batch count"]]:
    """The `count` nearest points, weighted by the inverse of their distance; weights sum to one.

    Source: mergekit's common-token interpolation.

    Returns:
        Which points, nearest first, and their weights.
    """
    distances, chosen = torch.cdist(targets, points, compute_mode="donot_use_mm_for_euclid_dist").topk(
        count, dim=1, largest=False
    )
    weights = 1 / distances.clamp_min(_NEAREST)
    return chosen, weights / weights.sum(dim=1, keepdim=True)
