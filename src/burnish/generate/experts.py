"""Static routing: the kind of a token picks its expert, and an expert is a slice. There is no gate and no gather.

Weights of all experts of one projection are one parameter, row below row. That makes their gradient whole on every
rank, also where a rank has no token of some kind (FSDP waits for nobody), and the usual sharding by rows an even one.
States go through the layers as one tensor an expert, places first (``[tokens, batch, width]``), so every slice is
contiguous. Source: MINT, section 3.2; the same split is Mixture-of-Transformers' and BAGEL's. Knows torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import functional as F

from burnish.core.errors import UserError
from burnish.generate.records import KINDS, Kind

DENSE: dict[Kind, int] = {"text": 0, "clean": 0, "noisy": 0}
MOT: dict[Kind, int] = {"text": 0, "clean": 1, "noisy": 1}
BAGEL: dict[Kind, int] = {"text": 0, "clean": 0, "noisy": 1}
MINT: dict[Kind, int] = {"text": 0, "clean": 1, "noisy": 2}
ROUTINGS = {"dense": DENSE, "mot": MOT, "bagel": BAGEL, "mint": MINT}
"""By name: one for all; by modality (Transfusion's MoT, LMFusion); understanding apart from drawing, as BAGEL parts
them; by function (MINT, FoX)."""

Parts = list[Float[Tensor, "_tokens batch _width"]]
"""States by expert."""

Used = Sequence[int] | None
"""Experts that have tokens, where the others are left out: in drawing and writing. None: all. Training takes all, so
that every parameter has a gradient."""


def by_expert(
    stacked: Shaped[Tensor, "_rows *rest"],  # noqa: UP037 - a shape, not a product
    experts: int,
) -> Shaped[Tensor, "_experts _own *rest"]:
    """Stacked rows as what each expert has; a view."""
    return stacked.view(experts, -1, *stacked.shape[1:])


def chosen(stacked: Sequence[Tensor], used: Used) -> Sequence[Tensor]:
    """What of each expert, for those that are used."""
    return stacked if used is None else [stacked[expert] for expert in used]


def expert_count(routing: Mapping[Kind, int]) -> int:
    """How many experts a routing table names.

    Raises:
        UserError: a kind without an expert, or experts that are not numbered 0, 1, ...
    """
    if set(routing) != set(KINDS):
        raise UserError(f"routing: names {', '.join(sorted(routing)) or 'nothing'}; it names {', '.join(KINDS)}")
    used = sorted(set(routing.values()))
    if used != list(range(len(used))):
        raise UserError(f"routing: experts {used}; they are numbered from 0 without a gap")
    return len(used)


def expert_sizes(routing: Mapping[Kind, int], tokens: Mapping[Kind, int]) -> list[int]:
    """Tokens of a row that each expert gets."""
    sizes = [0] * expert_count(routing)
    for kind, expert in routing.items():
        sizes[expert] += tokens[kind]
    return sizes


class StackedLinear(nn.Module):
    """A linear layer an expert, their weights stacked.

    Attributes:
        weight: [experts out, in].
        bias: [experts out], or none.
    """

    def __init__(self, experts: int, inputs: int, outputs: int, bias: bool = False) -> None:
        super().__init__()
        self.experts = experts
        self.weight = nn.Parameter(torch.empty(experts * outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(experts * outputs)) if bias else None

    def forward(self, parts: Parts, used: Used = None) -> Parts:
        """Each expert on its own tokens."""
        if used is None and torch.is_grad_enabled():
            kind = self.weight.device.type
            exact = None if not torch.is_autocast_enabled(kind) else torch.get_autocast_dtype(kind)
            given = [self.weight, self.bias, *parts]
            cast = [each if each is None or exact is None else each.to(exact) for each in given]
            return list(_Linears.apply(*cast))  # type: ignore[no-untyped-call]
        weights = chosen(by_expert(self.weight, self.experts).unbind(0), used)
        biases = (
            [None] * len(parts) if self.bias is None else chosen(by_expert(self.bias, self.experts).unbind(0), used)
        )
        return [F.linear(part, weight, bias) for part, weight, bias in zip(parts, weights, biases, strict=True)]


class _Linears(torch.autograd.Function):
    """``F.linear`` of each expert, with a gradient that is one tensor from the start: each expert's is computed where
    it belongs. By itself autograd would copy them together, which takes a twentieth of a step of published size."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(weight, *parts)
        ctx.biased = bias is not None
        weights = by_expert(weight, len(parts))
        biases = [None] * len(parts) if bias is None else by_expert(bias, len(parts))
        return tuple(F.linear(part, one, other) for part, one, other in zip(parts, weights, biases, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, *parts = ctx.saved_tensors
        stacked = torch.empty_like(weight)
        flat = [grad.flatten(0, -2) for grad in grads]
        for grad, part, rows in zip(flat, parts, by_expert(stacked, len(parts)), strict=True):
            torch.mm(grad.t(), part.flatten(0, -2), out=rows)
        bias = torch.cat([grad.sum(0) for grad in flat]) if ctx.biased else None
        inputs = [grad @ one for grad, one in zip(grads, by_expert(weight, len(parts)), strict=True)]
        return stacked, bias, *inputs


class StackedNorm(nn.Module):
    """Root mean square normalisation with a scale an expert. Computed in float32 at least.

    Attributes:
        weight: [experts width].
    """

    def __init__(self, experts: int, width: int, eps: float) -> None:
        super().__init__()
        self.experts = experts
        self.weight = nn.Parameter(torch.ones(experts * width))
        self.eps = eps

    def forward(self, parts: Parts, used: Used = None) -> Parts:
        """Each expert on its own tokens."""
        scales = chosen(by_expert(self.weight, self.experts).unbind(0), used)
        pairs = zip(parts, scales, strict=True)
        return [F.rms_norm(part, scale.shape, scale.to(part.dtype), self.eps) for part, scale in pairs]


@torch.no_grad()
def copy_expert(
    model: nn.Module, source: int, target: int, moments: Mapping[Any, Mapping[str, Any]] | None = None
) -> None:
    """Make one expert of every layer a copy of another: stage II begins with C = N. Sharded weights are gathered one
    parameter at a time, never the whole model.

    Args:
        model: whose layers.
        source: expert that is copied.
        target: expert that becomes a copy.
        moments: an optimizer's state by parameter: tensors of a parameter's shape are copied likewise. An expert that
            never had a gradient has moments of 0, by which AdamW (betas .9, .999) would move it by .1 / .001^.5 = 3.2
            times the rate in its first step, and by up to 6.6 times soon after.
    """
    for module in model.modules():
        if not isinstance(module, StackedLinear | StackedNorm):
            continue
        for parameter in module.parameters(recurse=False):
            _copy_rows(parameter, module.experts, source, target)
            for value in (moments or {}).get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    _copy_rows(value, module.experts, source, target)


def _copy_rows(stacked: Tensor, experts: int, source: int, target: int) -> None:
    whole = stacked.full_tensor() if isinstance(stacked, DTensor) else stacked
    rows = by_expert(whole, experts)
    rows[target] = rows[source]
    if isinstance(stacked, DTensor):
        spread = distribute_tensor(whole, stacked.device_mesh, stacked.placements)
        stacked.to_local().copy_(spread.to_local())


def equal_parameters(width: int, intermediate: int, experts: int, matrices: int = 3, attention: float = 4) -> int:
    """Feed-forward width of a dense layer with as many parameters as ``experts`` experts of ``intermediate``.

    Args:
        width: d.
        intermediate: f of each expert.
        experts: how many.
        matrices: of the feed-forward: 3 gated (SwiGLU), 2 plain.
        attention: parameters of attention over d^2; 4 where every head has keys of its own.

    Returns:
        f' of attention d^2 + matrices d f' = experts (attention d^2 + matrices d f), rounded to the nearest.
    """
    return round(experts * intermediate + (experts - 1) * attention * width / matrices)
