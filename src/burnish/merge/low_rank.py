"""The best low-rank form of a matrix, and what is lost by it. Pure maths over tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Rows or columns that are widened to float64 at a time.
_BLOCK = 4096


@dataclass(frozen=True)
class LowRank:
    """`b @ a`, near a matrix.

    Attributes:
        a: float32 (rank, in).
        b: float32 (out, rank).
        lost: squared Frobenius norm of what `b @ a` lacks, measured on the rounded factors.
        whole: squared Frobenius norm of the matrix.
    """

    a: Float[Tensor, "rank in"]
    b: Float[Tensor, "out rank"]
    lost: float
    whole: float

    @property
    def error(self) -> float:
        """Relative Frobenius norm of what is lost: 0 for nothing, 1 for everything."""
        return (self.lost / self.whole) ** 0.5 if self.whole else 0.0


def factorized(matrix: Float[Tensor, "out in"], rank: int | None, energy: float | None) -> LowRank:
    """The truncated singular value decomposition, its singular values shared evenly between both factors.

    It comes from the eigenvectors of the Gram matrix of the shorter side in float64: the longer side, which may be a
    vocabulary, is never decomposed. Singular values below 1e-7 of the largest are taken for zero. Source: Eckart and
    Young, 1936.

    Args:
        matrix: float32, finite.
        rank: the highest rank; none: no limit.
        energy: the share, above 0 and up to 1, of the sum of squared singular values to keep; the lowest such rank is
            taken, up to `rank`. None: the rank alone decides.
    """
    rows, columns = matrix.shape
    tall = rows > columns
    narrow = matrix.T if tall else matrix
    gram = torch.zeros(len(narrow), len(narrow), dtype=torch.float64, device=matrix.device)
    for start in range(0, narrow.shape[1], _BLOCK):
        wide = narrow[:, start : start + _BLOCK].double()
        gram += wide @ wide.T
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    count = int((values > 1e-14 * values[0]).sum()) if len(values) and values[0] > 0 else 0
    if energy is not None and count:
        kept = values[:count].cumsum(0) / values[:count].sum()
        # The last place is 1 up to rounding; a share that it does not quite reach asks for all.
        count = min(int((kept < energy).sum()) + 1, count)
    # PEFT knows no rank 0: a matrix of zeros is a product of zeros.
    count = max(1, min(count, rank or count))
    chosen, root = vectors[:, :count], values[:count].sqrt().sqrt()
    near = chosen * root
    far = torch.empty(count, narrow.shape[1], dtype=torch.float32, device=matrix.device)
    scaled = torch.where(root > 0, 1 / root, 0.0).unsqueeze(1) * chosen.T
    for start in range(0, narrow.shape[1], _BLOCK):
        far[:, start : start + _BLOCK] = scaled @ narrow[:, start : start + _BLOCK].double()
    a, b = (near.float().T, far.T) if tall else (far, near.float())
    a, b = a.contiguous(), b.contiguous()
    lost = whole = 0.0
    for start in range(0, rows, _BLOCK):
        some = matrix[start : start + _BLOCK]
        lost += float((some - b[start : start + _BLOCK] @ a).double().square().sum())
        whole += float(some.double().square().sum())
    return LowRank(a, b, lost, whole)
