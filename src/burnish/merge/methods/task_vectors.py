"""Methods that add sparsified, weighted task vectors to a base: task arithmetic, TIES, DARE, DELLA, Model Breadcrumbs.

All are  base + lambda * mix(weight_m * sparsify_m(model_m - base)),  per tensor; they differ in `sparsify` (sparsify.py) and
in whether `mix` is a plain sum or TIES' sum over the entries that agree with the elected sign (consensus.py).
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from burnish.merge.methods.consensus import agreeing_mean, agreeing_sum, elect_signs, total
from burnish.merge.methods.counter import random_uint32
from burnish.merge.methods.registry import merge_method
from burnish.merge.methods.scalars import chance, kept_by_density
from burnish.merge.methods.sparsify import (
    keep_at_random,
    keep_largest,
    keep_without_outliers,
    rank_probabilities,
    rescaled,
)

_Sparsify = Callable[[Tensor, int], Tensor]


@merge_method("task_arithmetic", "arXiv:2212.04089")
def task_arithmetic(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    normalize: bool,
    lambda_: float,
) -> Float32[Tensor, "*shape"]:
    """base + lambda sum_m w_m (model_m - base). Source: arXiv:2212.04089, section 2."""
    return _add_sum(base, models, lambda delta, _: delta, weight, normalize, lambda_)


@merge_method("ties", "arXiv:2306.01708")
def ties(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    density: Sequence[float],
    normalize: bool,
    lambda_: float,
    rescale: bool,
    rescale_norm: str,
) -> Float32[Tensor, "*shape"]:
    """Trim each delta to its largest entries, elect signs, merge what agrees. Source: arXiv:2306.01708, algorithm 1."""
    sparsify = _by_magnitude(density, rescale_norm if rescale else None)
    return _add_agreeing(base, models, sparsify, weight, normalize, lambda_)


@merge_method("breadcrumbs", "arXiv:2312.06795")
def breadcrumbs(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    density: Sequence[float],
    gamma: Sequence[float],
    normalize: bool,
    lambda_: float,
    rescale: bool,
    rescale_norm: str,
) -> Float32[Tensor, "*shape"]:
    """Drop each delta's outliers and its small entries, then task arithmetic. Source: arXiv:2312.06795, eq. 2 and 3."""
    sparsify = _without_outliers(density, gamma, rescale_norm if rescale else None)
    return _add_sum(base, models, sparsify, weight, normalize, lambda_)


@merge_method("breadcrumbs_ties", "arXiv:2312.06795")
def breadcrumbs_ties(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    density: Sequence[float],
    gamma: Sequence[float],
    normalize: bool,
    lambda_: float,
    rescale: bool,
    rescale_norm: str,
) -> Float32[Tensor, "*shape"]:
    """`breadcrumbs`' masks with TIES' sign election. Source: arXiv:2312.06795 and 2306.01708."""
    sparsify = _without_outliers(density, gamma, rescale_norm if rescale else None)
    return _add_agreeing(base, models, sparsify, weight, normalize, lambda_)


@merge_method("dare_linear", "arXiv:2311.03099")
def dare_linear(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    density: Sequence[float],
    normalize: bool,
    lambda_: float,
    rescale: bool,
    rescale_norm: str,
    seed: int,
) -> Float32[Tensor, "*shape"]:
    """Drop entries at random, divide the kept ones by `density`, then task arithmetic. Source: arXiv:2311.03099, eq. 2."""
    sparsify = _at_random(density, rescale_norm if rescale else None, seed)
    return _add_sum(base, models, sparsify, weight, normalize, lambda_)


@merge_method("dare_ties", "arXiv:2311.03099")
def dare_ties(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    density: Sequence[float],
    normalize: bool,
    lambda_: float,
    rescale: bool,
    rescale_norm: str,
    seed: int,
) -> Float32[Tensor, "*shape"]:
    """`dare_linear`'s random masks with TIES' sign election. Source: arXiv:2311.03099 and 2306.01708."""
    sparsify = _at_random(density, rescale_norm if rescale else None, seed)
    return _add_agreeing(base, models, sparsify, weight, normalize, lambda_)


@merge_method("della", "arXiv:2406.11617")
def della(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    density: Sequence[float],
    epsilon: Sequence[float],
    normalize: bool,
    lambda_: float,
    rescale: bool,
    rescale_norm: str,
    seed: int,
) -> Float32[Tensor, "*shape"]:
    """Drop at random, small entries more often, then TIES' election. Source: arXiv:2406.11617, section 3."""
    sparsify = _by_rank(density, epsilon, rescale_norm if rescale else None, seed)
    return _add_agreeing(base, models, sparsify, weight, normalize, lambda_)


@merge_method("della_linear", "arXiv:2406.11617")
def della_linear(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    density: Sequence[float],
    epsilon: Sequence[float],
    normalize: bool,
    lambda_: float,
    rescale: bool,
    rescale_norm: str,
    seed: int,
) -> Float32[Tensor, "*shape"]:
    """`della`'s masks with task arithmetic's sum. Source: arXiv:2406.11617, section 3, without the election."""
    sparsify = _by_rank(density, epsilon, rescale_norm if rescale else None, seed)
    return _add_sum(base, models, sparsify, weight, normalize, lambda_)


def _by_magnitude(density: Sequence[float], norm: str | None) -> _Sparsify:
    def sparsify(delta: Tensor, model: int) -> Tensor:
        mask = keep_largest(delta, kept_by_density(delta.numel(), density[model]))
        return _masked(delta, mask, norm if density[model] < 1 else None)

    return sparsify


def _without_outliers(density: Sequence[float], gamma: Sequence[float], norm: str | None) -> _Sparsify:
    def sparsify(delta: Tensor, model: int) -> Tensor:
        mask = keep_without_outliers(delta, density[model], gamma[model])
        return _masked(delta, mask, norm if density[model] < 1 else None)

    return sparsify


def _at_random(density: Sequence[float], norm: str | None, seed: int) -> _Sparsify:
    def sparsify(delta: Tensor, model: int) -> Tensor:
        if density[model] >= 1:
            return delta
        mask = keep_at_random(delta.shape, density[model], seed=seed, model=model, device=delta.device)
        if norm == "probability" and chance(density[model]):
            return _masked(delta, mask, None) * (1 / density[model])
        return _masked(delta, mask, None if norm == "probability" else norm)

    return sparsify


def _by_rank(density: Sequence[float], epsilon: Sequence[float], norm: str | None, seed: int) -> _Sparsify:
    def sparsify(delta: Tensor, model: int) -> Tensor:
        if density[model] >= 1:
            return delta
        if density[model] <= 0:
            return torch.zeros_like(delta)
        probabilities = rank_probabilities(delta, density[model], epsilon[model])
        words = random_uint32(delta.numel(), seed=seed, model=model, device=delta.device).reshape(delta.shape)
        mask = words.double() < probabilities * 2**32
        if norm == "probability":
            return _masked(delta, mask, None) / probabilities.float()
        return _masked(delta, mask, norm)

    return sparsify


def _masked(delta: Tensor, mask: Tensor, norm: str | None) -> Tensor:
    kept = torch.where(mask, delta, 0.0)
    return kept if norm is None else rescaled(kept, delta, norm)


def _weighted(base: Tensor, models: Sequence[Tensor], sparsify: _Sparsify, weight: Sequence[float]) -> list[Tensor]:
    return [sparsify(model - base, index) * weight[index] for index, model in enumerate(models)]


def _add_sum(
    base: Tensor,
    models: Sequence[Tensor],
    sparsify: _Sparsify,
    weight: Sequence[float],
    normalize: bool,
    lambda_: float,
) -> Tensor:
    mixed = total(_weighted(base, models, sparsify, weight))
    if normalize:
        divisor = sum(weight)
        mixed /= 1.0 if abs(divisor) < 1e-8 else divisor
    return base + mixed * lambda_


def _add_agreeing(
    base: Tensor,
    models: Sequence[Tensor],
    sparsify: _Sparsify,
    weight: Sequence[float],
    normalize: bool,
    lambda_: float,
) -> Tensor:
    deltas = _weighted(base, models, sparsify, weight)
    signs = elect_signs(deltas)
    mixed = agreeing_mean(deltas, signs, weight) if normalize else agreeing_sum(deltas, signs)
    return base + mixed * lambda_
