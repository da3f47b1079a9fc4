"""The gates of a mixture: for each layer and expert the direction that its prompts point to. Source: mergekit-moe.

The base model's hidden states are computed with one module's weights in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.core.errors import UserError
from burnish.core.metrics import Progress
from burnish.core.models import load_tokenizer
from burnish.merge.moe.config import Expert, MoEConfig
from burnish.merge.skeleton import skeleton
from burnish.merge.sources import Checkpoint
from burnish.merge.streamed import Inputs

_SMALLEST = 1e-8


def gates(
    config: MoEConfig, base: Checkpoint, experts: Sequence[Expert], inputs: Inputs, layers: int, width: int
) -> Float[Tensor, "layers experts width"]:
    """The gate's rows for these experts, float32.

    Raises:
        UserError: the base has no tokenizer for the prompts, or a prompt of no tokens.
    """
    shape = (layers, len(experts), width)
    if not experts:
        return torch.empty(shape)
    if config.gate_mode == "random":
        return torch.randn(*shape, generator=_generator(config))
    if config.gate_mode == "uniform_random":
        bound = width**-0.5
        return torch.empty(shape).uniform_(-bound, bound, generator=_generator(config))
    tokenizer = load_tokenizer(base.folder)

    def tokens(prompt: str) -> Tensor:
        found = tokenizer((tokenizer.bos_token or "") + prompt, add_special_tokens=False, return_tensors="pt")
        if not found["input_ids"].numel():
            raise UserError(f"{config.where('experts')}: the prompt {prompt!r} has no token")
        return torch.as_tensor(found["input_ids"], dtype=torch.long)

    cheap = config.gate_mode == "cheap_embed"
    towards = _cheap(base, inputs, layers) if cheap else _hidden(base, inputs, average=config.gate_mode == "hidden_avg")
    rows = []
    for expert in Progress().track(experts, "expert prompts", len(experts)):
        row = _mean([towards(tokens(prompt)) for prompt in expert.positive_prompts], normalized=cheap)
        if expert.negative_prompts:
            row = row - _mean([towards(tokens(prompt)) for prompt in expert.negative_prompts], normalized=cheap)
        rows.append(row / row.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST))
    return torch.stack(rows, dim=1)


def _generator(config: MoEConfig) -> torch.Generator:
    return torch.Generator().manual_seed(config.seed)


def _mean(rows: Sequence[Tensor], *, normalized: bool) -> Tensor:
    mean = torch.stack(list(rows)).mean(dim=0)
    return mean / mean.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST) if normalized else mean


def _cheap(base: Checkpoint, inputs: Inputs, layers: int) -> Callable[[Tensor], Tensor]:
    source = base.find(base.layout.embeddings[0])
    assert source is not None
    table = inputs.tensor(source)
    return lambda tokens: table[tokens[0]].sum(dim=0).expand(layers, -1)


def _hidden(base: Checkpoint, inputs: Inputs, *, average: bool) -> Callable[[Tensor], Tensor]:
    """What enters each layer, at a text's last token or on the average of its tokens: (layers, width)."""
    network = skeleton(base).eval()
    for name, module in network.named_modules():
        if any(parameter is not None for parameter in module._parameters.values()):
            _lend(name, module, base, inputs)

    def states(tokens: Tensor) -> Tensor:
        with torch.no_grad():
            found = network(input_ids=tokens, output_hidden_states=True, use_cache=False).hidden_states[:-1]
        stacked = torch.stack([each[0] for each in found])
        return stacked.mean(dim=1) if average else stacked[:, -1]

    return states


def _lend(name: str, module: torch.nn.Module, base: Checkpoint, inputs: Inputs) -> None:
    """Give a module its weights while it computes, and take them away afterwards."""
    empty = {leaf: parameter for leaf, parameter in module._parameters.items() if parameter is not None}

    def load(*_: Any) -> None:
        for leaf in empty:
            full = f"{name}.{leaf}"
            source = base.find(full)
            if source is None:
                raise UserError(f"{base.reference}: tensor {full!r} of the network is not in the model's files")
            module._parameters[leaf] = torch.nn.Parameter(inputs.tensor(source), requires_grad=False)

    def unload(*_: Any) -> None:
        module._parameters.update(empty)

    module.register_forward_pre_hook(load)
    module.register_forward_hook(unload)
