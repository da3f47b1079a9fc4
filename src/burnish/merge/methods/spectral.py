"""Merging in the singular bases of the task matrices: task singular vectors and isotropic merging.

Both speak of matrices; any other tensor gets the plain mean of the weighted deltas.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from burnish.merge.methods.consensus import total
from burnish.merge.methods.registry import implements


@implements("tsv", "arXiv:2412.00081")
def tsv(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    lambda_: float,
) -> Float32[Tensor, "*shape"]:
    """base + lambda U S V^T: each of T task matrices cut to 1/T of its rank, their singular vectors decorrelated.

    U and V are the orthogonal matrices nearest to the concatenated left and right singular vectors (Procrustes), S the
    concatenated singular values. Source: TSV-Merge, arXiv:2412.00081, section 4 and algorithm 1.
    """
    deltas = [(model - base) * share for model, share in zip(models, weight, strict=True)]
    if base.dim() != 2:
        return base + total(deltas) / len(deltas) * lambda_
    rank = max(1, min(base.shape) // len(deltas))
    parts = [torch.linalg.svd(delta, full_matrices=False) for delta in deltas]
    left = torch.cat([u[:, :rank] for u, _, _ in parts], dim=1)
    values = torch.cat([s[:rank] for _, s, _ in parts])
    right = torch.cat([vh[:rank] for _, _, vh in parts], dim=0)
    return base + (_nearest_orthogonal(left) * values) @ _nearest_orthogonal(right) * lambda_


@implements("iso_c", "arXiv:2502.04959")
def iso_c(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    lambda_: float,
) -> Float32[Tensor, "*shape"]:
    """base + lambda s U V^T, with U, V the singular vectors of the summed deltas and s the mean of their singular
    values.

    The spectrum is made flat, so that no task's directions are drowned. Source: Iso-C, arXiv:2502.04959, section 4.2.
    """
    summed = total([(model - base) * share for model, share in zip(models, weight, strict=True)])
    if base.dim() != 2:
        return base + summed / len(models) * lambda_
    u, s, vh = torch.linalg.svd(summed, full_matrices=False)
    flat: Tensor = (u @ vh) * (s.mean() * lambda_)
    return base + flat


def _nearest_orthogonal(matrix: Float32[Tensor, "rows columns"]) -> Float32[Tensor, "rows columns"]:
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    nearest: Tensor = u @ vh
    return nearest
