"""Methods that select entries by what the models did to them: SCE, Arcee Fusion, RAM and RAM+."""

from collections.abc import Sequence

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from burnish.merge.methods.consensus import agrees, elect_signs, total
from burnish.merge.methods.registry import implements
from burnish.merge.methods.sparsify import keep_largest


@implements("sce", "arXiv:2408.07990")
def sce(
    base: Float32[Tensor, "*shape"], models: Sequence[Float32[Tensor, "*shape"]], *, select_topk: float
) -> Float32[Tensor, "*shape"]:
    """Select the entries that vary most across models, calculate weights from mean squares, erase minority signs.

    The weight of a model is its share of the sum of mean squares (equal shares where that sum is below 1e-6).
    Source: FuseChat, arXiv:2408.07990, section 3.3.
    """
    deltas = torch.stack([model - base for model in models])
    if select_topk < 1:
        variance = deltas.var(dim=0, unbiased=False)
        kept = int(int(variance.count_nonzero()) * select_topk) if select_topk > 0 else 0
        deltas *= keep_largest(variance, kept)
    squares = deltas.double().square().reshape(len(models), -1).mean(dim=1)
    mass = squares.sum().item()
    weight = [1 / len(models)] * len(models) if abs(mass) < 1e-6 else (squares / mass).tolist()
    signs = elect_signs(list(deltas))
    shares = [agrees(delta, signs) * share for delta, share in zip(deltas, weight, strict=True)]
    merged = total([delta * share for delta, share in zip(deltas, shares, strict=True)])
    return base + merged / total(shares).clamp(min=1e-6)


@implements("arcee_fusion", "arcee.ai")
def arcee_fusion(
    base: Float32[Tensor, "*shape"], models: Sequence[Float32[Tensor, "*shape"]]
) -> Float32[Tensor, "*shape"]:
    """Take the model's entry where its importance is at least median + 1.5 IQR of the tensor, else the base's.

    Importance: |model - base| times the KL divergence between the softmaxes of their rows. Source: arcee.ai.
    """
    (model,) = models
    changed = torch.softmax(model, dim=-1) + 1e-8
    before = torch.softmax(base, dim=-1) + 1e-8
    divergence = (changed * (changed / before).log()).sum(dim=-1, keepdim=True)
    importance = (model - base).abs() * divergence
    low, median, high = (_order_statistic(importance, share) for share in (0.25, 0.5, 0.75))
    return base + (model - base) * (importance >= median + 1.5 * (high - low))


def _order_statistic(values: Float32[Tensor, "*shape"], share: float) -> Float32[Tensor, ""]:
    return values.flatten().kthvalue(int(share * (values.numel() - 1)) + 1).values


@implements("ram", "arXiv:2601.13572")
def ram(
    base: Float32[Tensor, "*shape"], models: Sequence[Float32[Tensor, "*shape"]], *, epsilon: float
) -> Float32[Tensor, "*shape"]:
    """Add what only one model changed whole, and average what several changed. Source: arXiv:2601.13572."""
    deltas, counts = _changes(base, models, epsilon)
    return base + total(deltas) / counts.clamp(min=1)


@implements("ramplus_tl", "arXiv:2601.13572")
def ramplus_tl(
    base: Float32[Tensor, "*shape"],
    models: Sequence[Float32[Tensor, "*shape"]],
    *,
    r: float,
    alpha: float,
    epsilon: float,
) -> Float32[Tensor, "*shape"]:
    """`ram` with a model's own changes scaled by 1 + r min(shared / own, alpha), counted in this tensor.

    Source: arXiv:2601.13572, the tensor-local variant.
    """
    deltas, counts = _changes(base, models, epsilon)
    own = counts == 1
    terms = []
    for delta in deltas:
        changed = delta != 0
        unique = int((changed & own).sum())
        shared = int(changed.sum()) - unique
        growth = 1 + r * min(max(shared / max(unique, epsilon), 0), alpha)
        terms.append(torch.where(own, delta * growth, delta / counts.clamp(min=1)))
    return base + total(terms)


def _changes(
    base: Float32[Tensor, "*shape"], models: Sequence[Float32[Tensor, "*shape"]], epsilon: float
) -> tuple[list[Float32[Tensor, "*shape"]], Int64[Tensor, "*shape"]]:
    """Deltas without the entries up to `epsilon`, and how many models changed each entry."""
    deltas = [model - base for model in models]
    deltas = [torch.where(delta.abs() > epsilon, delta, 0.0) for delta in deltas]
    return deltas, torch.stack([delta != 0 for delta in deltas]).sum(dim=0)
