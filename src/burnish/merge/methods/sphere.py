"""Interpolation on the sphere: SLERP, NuSLERP, Multi-SLERP and the Karcher mean.

Angles are computed in float64: the arc cosine near 1 would otherwise lose half of its digits.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from burnish.core.errors import UserError
from burnish.merge.methods.consensus import total
from burnish.merge.methods.registry import implements
from burnish.merge.methods.scalars import slerp_coefficients


@implements("slerp", "Shoemake 1985")
def slerp(
    base: Float32[Tensor, "*shape"], models: Sequence[Float32[Tensor, "*shape"]], *, t: float
) -> Float32[Tensor, "*shape"]:
    """(sin((1-t) theta) base + sin(t theta) model) / sin(theta), theta the angle between the two as vectors.

    Nearly colinear vectors (|cos theta| > .9995) are interpolated linearly. Source: Shoemake, SIGGRAPH 1985, section
    3.3.
    """
    (model,) = models
    squares = [_norm(tensor) ** 2 for tensor in (base, model)]
    dot = torch.dot(base.flatten().double(), model.flatten().double()).item()
    of_base, of_model = slerp_coefficients(dot, squares[0], squares[1], t)
    return base * of_base + model * of_model


@implements("nuslerp", "mergekit")
def nuslerp(
    base: Float32[Tensor, "*shape"] | None,
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    nuslerp_row_wise: bool,
    nuslerp_flatten: bool,
) -> Float32[Tensor, "*shape"]:
    """SLERP of two models (of their deltas, with a base) at t = w_2 / (w_1 + w_2); a zero weight sum means t = 1/2.

    `nuslerp_flatten`: the tensor is one vector; else every vector along the last axis (the first with
    `nuslerp_row_wise`) turns by its own angle.
    """
    t = 0.5 if abs(sum(weight)) < 1e-6 else weight[1] / sum(weight)
    pair = [model if base is None else model - base for model in models]
    if nuslerp_flatten:
        vectors = [tensor.reshape(1, -1) for tensor in pair]
    elif nuslerp_row_wise and pair[0].dim() > 1:
        vectors = [tensor.transpose(0, -1) for tensor in pair]
    else:
        vectors = [tensor if tensor.dim() else tensor.reshape(1) for tensor in pair]
    turned = _slerp_rows(vectors[0], vectors[1], t)
    if nuslerp_row_wise and not nuslerp_flatten and pair[0].dim() > 1:
        turned = turned.transpose(0, -1)
    turned = turned.reshape(pair[0].shape)
    return turned if base is None else base + turned


def _slerp_rows(
    a: Float32[Tensor, "*rows length"], b: Float32[Tensor, "*rows length"], t: float
) -> Float32[Tensor, "*rows length"]:
    norms = [torch.linalg.vector_norm(row, dim=-1, dtype=torch.float64).clamp(min=1e-7) for row in (a, b)]
    cosine = (torch.linalg.vecdot(a.double(), b.double()) / (norms[0] * norms[1])).clamp(-1, 1).unsqueeze(-1)
    # Below this the two sines are too small to divide by; the spherical and the straight line agree there to 1e-7.
    colinear = 1 - cosine.square() <= 1e-7
    theta = torch.where(colinear, 1.0, cosine).acos()
    theta = torch.where(colinear, 1.0, theta)
    of_a = torch.where(colinear, 1 - t, ((1 - t) * theta).sin() / theta.sin()).float()
    of_b = torch.where(colinear, t, (t * theta).sin() / theta.sin()).float()
    result: Tensor = of_a * a + of_b * b
    return result


@implements("multislerp", "goddard.blog/posts/multislerp-wow-what-a-cool-idea")
def multislerp(
    base: Float32[Tensor, "*shape"] | None,
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    weight: Sequence[float],
    normalize_weights: bool,
    eps: float,
) -> Float32[Tensor, "*shape"]:
    """Barycentre on the sphere: project to the tangent space at the weighted mean direction, average, project back.

    The length is the weighted mean of the lengths. With a base all of it happens to the deltas.

    Raises:
        UserError: more than two models whose weighted directions cancel.
    """
    if len(models) == 1:
        return models[0]
    shares = [share / (sum(weight) or 1.0) for share in weight] if normalize_weights else list(weight)
    vectors = [model if base is None else model - base for model in models]
    norms = [_norm(vector) for vector in vectors]
    units = [vector / (norm + eps) for vector, norm in zip(vectors, norms, strict=True)]
    mean = total([unit * share for unit, share in zip(units, shares, strict=True)])
    mean_norm = _norm(mean)
    if mean_norm < eps:
        if len(models) > 2:
            raise UserError("multislerp: the weighted directions of the models cancel out; change the weights")
        straight = total([vector * share for vector, share in zip(vectors, shares, strict=True)])
        return straight if base is None else base + straight
    mean = mean / mean_norm
    tangent = total([(unit - _dot(unit, mean) * mean) * share for unit, share in zip(units, shares, strict=True)])
    angle = _norm(tangent) + eps
    length = sum(norm * share for norm, share in zip(norms, shares, strict=True))
    turned = mean * (length * math.cos(angle)) + tangent * (length * math.sin(angle) / angle)
    return turned if base is None else base + turned


@implements("karcher", "arXiv:2603.04972")
def karcher(models: Sequence[Float32[Tensor, "*shape"]], *, max_iter: int, tol: float) -> Float32[Tensor, "*shape"]:
    """The point of the sphere with the least squared angles to all models, at their mean length. Source:
    arXiv:2603.04972.

    Fixed-point iteration: mean <- exp_mean(average of log_mean(unit_m)), until the step is below `tol`. Tensors shorter
    than `tol` have no direction; they only count in the length.
    """
    if len(models) == 1:
        return models[0]
    norms = [_norm(model) for model in models]
    units = [model / norm for model, norm in zip(models, norms, strict=True) if norm > tol]
    if not units:
        return torch.zeros_like(models[0])
    mean = total(units) / len(units)
    mean_norm = _norm(mean)
    mean = mean / mean_norm if mean_norm >= tol else units[0]
    for _ in range(max_iter):
        step = torch.zeros_like(mean)
        for unit in units:
            cosine = min(1.0, max(-1.0, _dot(unit, mean)))
            theta = math.acos(cosine)
            # An antipodal unit has no direction to go in; every log map of it would be as good.
            if theta >= tol and math.sin(theta) > 0:
                step += (unit - cosine * mean) * (theta / math.sin(theta) / len(units))
        length = _norm(step)
        if length < tol:
            break
        mean = mean * math.cos(length) + step * (math.sin(length) / length)
        mean = mean / _norm(mean)
    return mean * (sum(norms) / len(norms))


def _dot(a: Float32[Tensor, "*shape"], b: Float32[Tensor, "*shape"]) -> float:
    return float(torch.dot(a.flatten().double(), b.flatten().double()).item())


def _norm(a: Float32[Tensor, "*shape"]) -> float:
    return float(torch.linalg.vector_norm(a, dtype=torch.float64).item())
