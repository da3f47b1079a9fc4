"""A found architecture as things of its own: a plain transformers model, and a YAML that ``burnish merge`` rebuilds."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from burnish.core.errors import BurnishError
from burnish.merge.architecture import Layout
from burnish.merge.rmm.architecture import Architecture, Blocks, Scales
from burnish.merge.rmm.assemble import Weights
from burnish.merge.rmm.candidates import Pool
from burnish.merge.rmm.files import written_layout
from burnish.merge.rmm.layout import ModuleLayout
from burnish.merge.rmm.problem import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PAIRS = (("num_layers", "num_decoder_layers"), ("encoder_layers", "decoder_layers"))


def build(problem: Problem, weights: Weights) -> "PreTrainedModel":
    """The assembled model as one of transformers' own, with its own copy of the weights, in the base's number format.

    Classifiers with a linear head: the experts' heads are stacked, so that one model answers for all tasks; the
    config's
    ``burnish_heads`` says which labels are whose. Other heads: the first expert's.

    Args:
        problem: gives family, config and heads.
        weights: of the architecture.
    """
    config = copy.deepcopy(problem.model.config)
    _set_lengths(config, weights)
    heads = _linear_heads(problem)
    if heads:
        widths = [head.out_features for head in heads]
        stops = [sum(widths[: number + 1]) for number in range(len(widths))]
        config.burnish_heads = {
            name: [stop - width, stop] for name, stop, width in zip(problem.names, stops, widths, strict=True)
        }
        config.id2label = {
            start + n: f"{name} {n}"
            for name, (start, stop) in config.burnish_heads.items()
            for n in range(stop - start)
        }
        config.label2id = {label: number for number, label in config.id2label.items()}
    model: PreTrainedModel = type(problem.model)(config)
    own = dict(model.named_parameters())
    with torch.no_grad():
        for slot in problem.layout.stem:
            if slot.name in own:  # a special first block is absent from an empty model
                own[slot.name].copy_(slot.view(weights.stem))
        for stack, blocks in zip(problem.layout.stacks, weights.blocks, strict=True):
            for position, flat in enumerate(blocks):
                for slot in stack.slots:
                    own[f"{stack.path}.{position}.{slot.name}"].copy_(slot.view(flat))
        for name in problem.layout.heads:
            if heads:
                mine = model.get_submodule(name)
                for part in ("weight", "bias"):
                    getattr(mine, part).copy_(torch.cat([getattr(head, part) for head in heads]))
            else:
                setattr(model, name, copy.deepcopy(problem.heads[0][name]))
    return model.to(getattr(torch, problem.dtype)).eval()


def _linear_heads(problem: Problem) -> list[nn.Linear]:
    if len(problem.layout.heads) != 1:
        return []
    modules = [head[problem.layout.heads[0]] for head in problem.heads]
    linear = [module for module in modules if isinstance(module, nn.Linear) and module.bias is not None]
    return linear if len(linear) == len(modules) else []


def _set_lengths(config: Any, weights: Weights) -> None:
    lengths = [len(layers) for layers in weights.layers]
    if len(lengths) == 1:
        text = config.get_text_config()
        if getattr(text, "layer_types", None):
            text.layer_types = [text.layer_types[layer] for layer in weights.layers[0]]
        text.num_hidden_layers = lengths[0]
        return
    keys = next((pair for pair in _PAIRS if all(hasattr(config, key) for key in pair)), None)
    if keys is None:
        raise BurnishError(f"{type(config).__name__}: do not know which settings hold the two stacks' lengths")
    for key, length in zip(keys, lengths, strict=True):
        setattr(config, key, length)


def merge_yaml(
    problem: Problem,
    pool: Pool,
    architecture: Architecture,
    base: str,
    experts: list[str],
    folder: Callable[[int], str],
) -> dict[str, Any] | None:
    """What ``burnish merge`` needs to build the backbone again; None where slices or filters cannot say it.

    Args:
        problem: the models' layout.
        pool: the candidates.
        architecture: what was chosen.
        base: folder or hub id of the base.
        experts: folders or hub ids of the experts.
        folder: where candidate k lies as a model folder.
    """
    if isinstance(architecture, Scales):
        return _scales_yaml(problem, architecture, base, experts)
    if any(slot.name.startswith(f"{stack.path}.") for slot in problem.layout.stem for stack in problem.layout.stacks):
        return None  # T5's first block holds the position bias of all: a slice cannot leave it in place
    sides = [_slices(architecture, side, pool.stem, folder) for side in range(len(problem.layout.stacks))]
    kind = {"merge_method": "passthrough", "dtype": problem.dtype}  # experts and saved candidates may differ in theirs
    if len(sides) == 1:
        return {**kind, "slices": sides[0]}
    modules = {stack.path: {"slices": side} for stack, side in zip(problem.layout.stacks, sides, strict=True)}
    return {**kind, "modules": modules}


def _slices(architecture: Blocks, side: int, stem: int, folder: Callable[[int], str]) -> list[dict[str, Any]]:
    runs: list[list[int]] = [
        [stem, 0, 0]
    ]  # a run of no layers: what lies outside the layers comes from the first and last
    for _, layer, candidate in architecture.of_side(side):
        if runs[-1][0] == candidate and runs[-1][2] == layer and runs[-1][1] < layer:
            runs[-1][2] = layer + 1
        else:
            runs.append([candidate, layer, layer + 1])
    runs.append([stem, 0, 0])
    return [
        {"sources": [{"model": folder(candidate), "layer_range": [start, stop]}]} for candidate, start, stop in runs
    ]


def _scales_yaml(problem: Problem, architecture: Scales, base: str, experts: list[str]) -> dict[str, Any] | None:
    models = []
    for number, expert in enumerate(experts):
        weight = _conditions(problem.layout, written_layout(expert), [row[number] for row in architecture.values])
        if weight is None:
            return None
        # task heads are not merged: the first expert's, whole (the model folder beside this file holds them all)
        heads = [{"filter": f"{name}.", "value": float(number == 0)} for name in problem.layout.heads]
        models.append({"model": expert, "parameters": {"weight": [*heads, *weight, {"value": 0.0}]}})
    return {"merge_method": "task_arithmetic", "base_model": base, "models": models, "dtype": problem.dtype}


def _conditions(layout: ModuleLayout, written: Layout, column: list[float]) -> list[dict[str, Any]] | None:
    """One expert's scales by tensor names as its files spell them; None where no filters can tell the tensors apart."""
    names = {
        *written.loose,
        *(name for stack in written.stacks for layer in range(len(stack)) for name in stack.names(layer)),
    }
    wanted: dict[str, dict[str, Any]] = {}
    stem, stacks, first = [], [], 0
    for stack in layout.stacks:
        alike = [each for each in written.stacks if len(each) == stack.length and _same(each.prefix, stack.path)]
        if len(layout.stacks) == 1 and not alike:  # ViT: `vit.layers` is written `vit.encoder.layer`
            alike = [each for each in written.stacks if len(each) == stack.length]
        if len(alike) != 1:
            return None
        condition: dict[str, Any] = {"filter": f"{alike[0].prefix}.", "value": column[first : first + stack.length]}
        stacks.append(condition)
        wanted |= {name: condition for layer in range(stack.length) for name in alike[0].names(layer)}
        first += stack.length
    for slot, row in zip(layout.stem, layout.rows, strict=True):
        found = [name for name in names if _same(name, slot.name)]
        if len(found) != 1:
            return None
        stem.append({"filter": found[0], "value": column[row]})
        wanted[found[0]] = stem[-1]
    for conditions in ([*stem, *stacks], [*stacks, *stem]):  # a filter is a part of a name: the first that fits counts
        if all(next(each for each in conditions if each["filter"] in name) is wanted[name] for name in wanted):
            return conditions
    return None


def _same(one: str, other: str) -> bool:
    """Whether two names differ by a leading part at most (`transformer.`, `model.`)."""
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")
