"""Averages and copies: linear, Model Stock, NearSwap, passthrough."""

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float32
from torch import Tensor

from burnish.merge.methods.consensus import total
from burnish.merge.methods.registry import implements


@implements("linear", "arXiv:2203.05482")
def linear(
    models: Sequence[Float32[Tensor, "*shape"]], *, weight: Sequence[float], normalize: bool
) -> Float32[Tensor, "*shape"]:
    """sum_m w_m model_m, divided by sum_m w_m if `normalize` (a divisor of 0 becomes 1). Source: arXiv:2203.05482."""
    mixed = total([model * share for model, share in zip(models, weight, strict=True)])
    return mixed / (sum(weight) or 1.0) if normalize else mixed


@implements("passthrough", "mergekit")
def passthrough(
    models: Sequence[Float32[Tensor, "*shape"]], *, scale: Sequence[float | None]
) -> Float32[Tensor, "*shape"]:
    """Return the one model's tensor, times `scale` if set. Used to stack slices of models (frankenmerge)."""
    return models[0] if scale[0] is None else models[0] * scale[0]


@implements("model_stock", "arXiv:2403.19522")
def model_stock(
    base: Float32[Tensor, "*shape"], models: Sequence[Float32[Tensor, "*shape"]], *, filter_wise: bool
) -> Float32[Tensor, "*shape"]:
    """t mean(models) + (1 - t) base with t = k c / (1 + (k - 1) c), c the mean cosine between the k deltas.

    `filter_wise`: one t a row (the last axis). At the singularity 1 + (k - 1) c = 0 the base stays.
    Source: Model Stock, arXiv:2403.19522, equations 4 and 5.
    """
    rows = (-1, base.shape[-1]) if filter_wise and base.dim() else (1, -1)
    deltas = [(model - base).reshape(rows) for model in models]
    norms = [torch.linalg.vector_norm(delta, dim=-1, dtype=torch.float64) for delta in deltas]
    cosines = [
        (torch.linalg.vecdot(deltas[a].double(), deltas[b].double()) / (norms[a] * norms[b]).clamp(min=1e-6)).clamp(
            -1, 1
        )
        for a, b in combinations(range(len(deltas)), 2)
    ]
    cosine = torch.stack(cosines).mean(dim=0).unsqueeze(-1)
    count = len(models)
    denominator = 1 + (count - 1) * cosine
    singular = denominator.abs() < 1e-6
    t = torch.where(singular, 0.0, count * cosine / torch.where(singular, 1.0, denominator)).float()
    average = total(models).reshape(rows) / count
    return (t * average + (1 - t) * base.reshape(rows)).reshape(base.shape)


@implements("nearswap", "huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001")
def nearswap(
    base: Float32[Tensor, "*shape"], models: Sequence[Float32[Tensor, "*shape"]], *, t: float
) -> Float32[Tensor, "*shape"]:
    """w model + (1 - w) base with w = t / |base - model| cut to [0, 1]: close values are swapped, far ones kept."""
    (model,) = models
    share = (t / (base - model).abs().clamp(min=1e-6)).clamp(0, 1)
    return share * model + (1 - share) * base
