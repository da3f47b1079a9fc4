"""The one function behind every task-vector method: task arithmetic, TIES, DARE, DELLA, Model Breadcrumbs.

base + lambda * mix(weight_m * keep_m(model_m - base)),  per tensor. What a method keeps (sparsify.py) and whether it
mixes by a plain sum or by TIES' sum over the entries that agree with the elected sign (consensus.py) stand in its row
of family.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float32
from torch import Tensor

from burnish.merge.methods.consensus import agreeing_mean, agreeing_sum, elect_signs, total
from burnish.merge.methods.counter import random_uint32
from burnish.merge.methods.family import FAMILY, Keep, TaskVectorMethod
from burnish.merge.methods.method import FUNCTIONS
from burnish.merge.methods.scalars import chance, kept_by_density
from burnish.merge.methods.sparsify import (
    keep_at_random,
    keep_largest,
    keep_without_outliers,
    rank_probabilities,
    rescaled,
)


def task_vector_merge(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    method: TaskVectorMethod,
    weight: Sequence[float],
    normalize: bool,
    lambda_: float,
    density: Sequence[float] = (),
    gamma: Sequence[float] = (),
    epsilon: Sequence[float] = (),
    rescale: bool = False,
    rescale_norm: str = "l1",
    seed: int = 0,
) -> Float32[Tensor, "*shape"]:
    """Merge one tensor as the row `method` says.

    Args:
        base: what deltas are taken from and added to.
        models: the fine-tuned tensors.
        method: the row.
        weight: factor of each model's sparsified delta.
        normalize: divide by the sum of the weights (with an election: of those that agree, entry by entry).
        lambda_: factor of the merged delta.
        density: share of each delta that is kept; unused by `keep: all`, as are the parameters below.
        gamma: share of each delta's largest entries that is dropped (`band`).
        epsilon: half the range of the keep probabilities (`ranked`).
        rescale: make up for what was dropped.
        rescale_norm: what `rescale` restores: `probability`, `l1`, `l2`, `linf`.
        seed: of the random masks.
    """
    keep = _KEEP[method.keep]
    shares = _Shares(density, gamma, epsilon, rescale_norm if rescale else None, seed)
    deltas = [keep(model - base, index, shares) * weight[index] for index, model in enumerate(models)]
    if method.elect:
        signs = elect_signs(deltas)
        mixed = agreeing_mean(deltas, signs, weight) if normalize else agreeing_sum(deltas, signs)
    else:
        mixed = total(deltas)
        if normalize:
            divisor = sum(weight)
            mixed /= 1.0 if abs(divisor) < 1e-8 else divisor
    return base + mixed * lambda_


@dataclass(frozen=True)
class _Shares:
    """How much of each model's delta is kept, and what `rescale` restores (`None`: nothing)."""

    density: Sequence[float]
    gamma: Sequence[float]
    epsilon: Sequence[float]
    norm: str | None
    seed: int


def _all(delta: Tensor, _model: int, _shares: _Shares) -> Tensor:
    return delta


def _largest(delta: Tensor, model: int, shares: _Shares) -> Tensor:
    density = shares.density[model]
    mask = keep_largest(delta, kept_by_density(delta.numel(), density))
    return _masked(delta, mask, shares.norm if density < 1 else None)


def _band(delta: Tensor, model: int, shares: _Shares) -> Tensor:
    density = shares.density[model]
    mask = keep_without_outliers(delta, density, shares.gamma[model])
    return _masked(delta, mask, shares.norm if density < 1 else None)


def _random(delta: Tensor, model: int, shares: _Shares) -> Tensor:
    density = shares.density[model]
    if density >= 1:
        return delta
    mask = keep_at_random(delta.shape, density, seed=shares.seed, model=model, device=delta.device)
    if shares.norm == "probability" and chance(density):
        return _masked(delta, mask, None) * (1 / density)
    return _masked(delta, mask, None if shares.norm == "probability" else shares.norm)


def _ranked(delta: Tensor, model: int, shares: _Shares) -> Tensor:
    density = shares.density[model]
    if density >= 1:
        return delta
    if density <= 0:
        return torch.zeros_like(delta)
    probabilities = rank_probabilities(delta, density, shares.epsilon[model])
    words = random_uint32(delta.numel(), seed=shares.seed, model=model, device=delta.device).reshape(delta.shape)
    mask = words.double() < probabilities * 2**32
    if shares.norm == "probability":
        return _masked(delta, mask, None) / probabilities.float()
    return _masked(delta, mask, shares.norm)


def _masked(delta: Tensor, mask: Tensor, norm: str | None) -> Tensor:
    kept = torch.where(mask, delta, 0.0)
    return kept if norm is None else rescaled(kept, delta, norm)


_KEEP: dict[Keep, Callable[[Tensor, int, _Shares], Tensor]] = {
    "all": _all,
    "largest": _largest,
    "band": _band,
    "random": _random,
    "ranked": _ranked,
}
FUNCTIONS.update({row.name: partial(task_vector_merge, method=row) for row in FAMILY})
