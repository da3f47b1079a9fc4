"""Data-driven averages: Fisher-weighted averaging and RegMean. Their statistics come from `burnish merge stats`.

A tensor for which any model brings no statistics is averaged (with the models' weights).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from burnish.core.errors import UserError
from burnish.merge.methods.average import linear
from burnish.merge.methods.registry import implements


@implements("fisher", "arXiv:2111.09832")
def fisher(
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    floor: float,
    statistics: Sequence[Float[Tensor, "*shape"] | None],
) -> Float32[Tensor, "*shape"]:
    """sum_m w_m F_m model_m / sum_m w_m F_m, F_m the diagonal of model m's Fisher information.

    An F below `floor` times the tensor's mean F over all models is raised to it: where no model has information, the
    result is the average. Source: arXiv:2111.09832, equation 4 (its code has an absolute floor of 1e-6).
    """
    average = linear(models, weight=weight, normalize=True)
    diagonals = [diagonal.float() for diagonal in statistics if diagonal is not None]
    if len(diagonals) < len(models):
        return average
    least = floor * sum(diagonal.double().mean().item() for diagonal in diagonals) / len(diagonals)
    mass = torch.zeros_like(average)
    pull = torch.zeros_like(average)
    for model, share, diagonal in zip(models, weight, diagonals, strict=True):
        precision = diagonal.clamp(min=least) * share
        mass += precision
        # Relative to the average: with equal Fisher information nothing is left to round.
        pull += precision * (model - average)
    return average + torch.where(mass == 0, 0.0, pull / torch.where(mass == 0, 1.0, mass))


@implements("regmean", "arXiv:2212.09849")
def regmean(
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    alpha: float,
    ridge: float,
    input_axis: int | None,
    statistics: Sequence[Float[Tensor, "inputs inputs"] | None],
) -> Float32[Tensor, "*shape"]:
    """The linear layer whose outputs are nearest to every model's own on its own inputs, in the least-squares sense.

    W = (sum_m W_m G_m) (sum_m G_m)^-1 for weights of shape (outputs, inputs), G_m = X_m^T X_m the Gram matrix of model
    m's inputs with its off-diagonal scaled by `alpha`. Solved for the distance to the average with a small ridge, so
    that inputs nobody saw stay averaged. Only matrices have a Gram matrix. Source: arXiv:2212.09849, equation 3.

    Raises:
        UserError: a Gram matrix that does not fit the weight.
    """
    average = linear(models, weight=weight, normalize=True)
    grams = [gram.double() for gram in statistics if gram is not None]
    if len(grams) < len(models) or average.dim() != 2:
        return average
    input_axis = 1 if input_axis is None else input_axis
    inputs = average.shape[input_axis]
    if any(gram.shape != (inputs, inputs) for gram in grams):
        raise UserError(
            f"regmean: a Gram matrix of {grams[0].shape[0]} inputs for a weight of shape {tuple(average.shape)}"
        )
    total_gram = torch.zeros_like(grams[0])
    moment = torch.zeros(average.numel() // inputs, inputs, dtype=torch.float64, device=average.device)
    for model, share, gram in zip(models, weight, grams, strict=True):
        shrunk = (alpha * gram + (1 - alpha) * torch.diag(gram.diagonal())) * share
        distance = (model - average).double()
        total_gram += shrunk
        moment += (distance if input_axis == 1 else distance.T) @ shrunk
    scale = total_gram.diagonal().mean().item()
    if scale == 0:
        return average
    total_gram.diagonal().add_(ridge * scale)
    correction: Tensor = torch.linalg.solve(total_gram, moment, left=False).float()
    return average + (correction if input_axis == 1 else correction.T)
