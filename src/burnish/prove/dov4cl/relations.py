"""How steady a model's embeddings are under views: of one image (unary) and of pairs of images (binary). Pure torch.

Embeddings come as unit vectors, [images, views, dim], global and local views apart; M global and N local ones. Three
groupings of views (global-global, local-local, global-local) are averaged each and then added. Source: DOV4CL, section
4.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Globals = Float[Tensor, "images m dim"]
Locals = Float[Tensor, "images n dim"]
ROWS = 1 << 24
"""Cosines held at once: 64 MB."""


def unit(embeddings: Float[Tensor, "*shape dim"]) -> Float[Tensor, "*shape dim"]:
    """Embeddings scaled to length 1, so that their products are cosines."""
    return F.normalize(embeddings, dim=-1)


def unary(globals_: Globals, locals_: Locals, *, clamp: bool = False) -> Float[Tensor, "images 3"]:
    """Mean cosine between views of the same image, per image: global-global, local-local, global-local.

    Args:
        globals_: unit vectors of M >= 2 global views.
        locals_: unit vectors of N >= 2 local views.
        clamp: cut cosines to [0, 1] first, as the published code does.
    """
    m, views = globals_.shape[1], torch.cat([globals_, locals_], 1)
    cosines = views @ views.mT
    if clamp:
        cosines = cosines.clamp(0, 1)
    return torch.stack(
        [_off_diagonal(cosines[:, :m, :m]), _off_diagonal(cosines[:, m:, m:]), cosines[:, :m, m:].mean((1, 2))], 1
    )


def binary(globals_: Globals, locals_: Locals, *, clamp: bool = False) -> Float[Tensor, "3 images images"]:
    """Mean absolute change of each pair's cosine between two views, for every pair of images and each grouping.

    With E_u the matrix of cosines between images in view u, the mean over pairs of views (u, v) of |E_u - E_v|. Its sum
    over pairs of images divided by k (k - 1) is the paper's d, averaged over the grouping: see :func:`spread`.

    Args:
        globals_: unit vectors of M >= 2 global views.
        locals_: unit vectors of N >= 2 local views.
        clamp: cut cosines to [0, 1] first, as the published code does.
    """
    k, m, n = len(globals_), globals_.shape[1], locals_.shape[1]
    views = torch.cat([globals_, locals_], 1).transpose(0, 1)
    result = views.new_empty(3, k, k)
    step = max(1, ROWS // (k * (m + n)))
    for start in range(0, k, step):
        cosines = views[:, start : start + step] @ views.mT
        if clamp:
            cosines = cosines.clamp(0, 1)
        within_globals, within_locals, all_pairs = (
            _sum_of_gaps(cosines[:m]),
            _sum_of_gaps(cosines[m:]),
            _sum_of_gaps(cosines),
        )
        result[0, start : start + step] = within_globals / (m * (m - 1) / 2)
        result[1, start : start + step] = within_locals / (n * (n - 1) / 2)
        result[2, start : start + step] = (all_pairs - within_globals - within_locals) / (m * n)
    return result


def spread(pairs: Float[Tensor, "*groupings images images"]) -> Float[Tensor, "*groupings"]:
    """The paper's d of a set: the mean over ordered pairs of different images."""
    return _off_diagonal(pairs)


def amplified_sum(differences: Float[Tensor, "*sets 3"], a: float) -> Float[Tensor, "*sets"]:
    """Sum over groupings, each multiplied by ``a`` where it is positive (DOV4CL, equations 5 and 8)."""
    return torch.where(differences > 0, a * differences, differences).sum(-1)


def _sum_of_gaps(values: Float[Tensor, "views rows images"]) -> Float[Tensor, "rows images"]:
    """Sum of |x_u - x_v| over pairs of views, by sorting: the r-th smallest of V counts 2r - V - 1 times."""
    views = len(values)
    counts = 2 * torch.arange(1, views + 1, device=values.device, dtype=values.dtype) - views - 1
    ordered = values.sort(dim=0).values
    return torch.einsum("v,v...->...", counts, ordered)


def _off_diagonal(square: Tensor) -> Tensor:
    """Mean of the entries off the diagonal of the last two axes."""
    k = square.shape[-1]
    return (square.sum((-2, -1)) - square.diagonal(dim1=-2, dim2=-1).sum(-1)) / (k * (k - 1))
