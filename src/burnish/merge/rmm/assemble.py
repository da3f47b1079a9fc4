"""Runs embedding + chosen blocks + norm + head without copying a model. Knows transformers, not the search.

The model's own forward does everything but the blocks: its layer list is replaced by placeholders, and each placeholder
lends a block of the original list the chosen weights (views into the candidates' matrix) for the length of one call.
So masks, rotary and relative positions, cross-attention and heads are the library's own, for any family.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from burnish.merge.rmm.layout import BlockStack, ModuleLayout

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Weights:
    """One assembled model, as views.

    Attributes:
        stem: flat vector that the tensors outside the blocks are read from.
        layers: per stack, the source layer of every block in running order.
        blocks: per stack, the flat weights of every block.
    """

    stem: Tensor
    layers: tuple[tuple[int, ...], ...]
    blocks: tuple[tuple[Tensor, ...], ...]


class _Placeholder(nn.Module):
    """Stands in the layer list; ``run`` is the assembly's."""

    def __init__(self, assembly: "Assembly", side: int, position: int) -> None:
        super().__init__()
        self.run = assembly.run_block
        self.side = side
        self.position = position

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self.side, self.position, args, kwargs)


class Assembly:
    """A model whose blocks can be exchanged between calls.

    Args:
        model: any model of the family; its weights are copied once, never changed.
        layout: of that model.
        heads: one mapping of head modules a task head; empty for language models.
    """

    def __init__(self, model: "PreTrainedModel", layout: ModuleLayout, heads: list[Mapping[str, nn.Module]]) -> None:
        self.host = copy.deepcopy(model).eval().requires_grad_(False)
        # a key-value cache is indexed by the source layer, which may now run twice or not at all
        for module in self.host.modules():  # T5's decoder has a config of its own
            if hasattr(module, "config"):
                module.config.use_cache = False
        if self.host.can_generate():
            self.host.generation_config.use_cache = False
        self.layout = layout
        self.heads = heads
        parameters = dict(self.host.named_parameters())
        self._stem = [(parameters[slot.name], slot) for slot in layout.stem]
        self._templates: list[list[tuple[nn.Module, list[nn.Parameter]]]] = []
        for stack in layout.stacks:
            self._templates.append([_bindable(block, stack) for block in self.host.get_submodule(stack.path)])
        # block 0 may compute what all others reuse (T5's position bias): it then runs first whatever was chosen
        self._first_is_special = [
            len(list(self._templates[side][0][0].parameters())) > len(stack.slots)
            for side, stack in enumerate(layout.stacks)
        ]
        self._layer_types = getattr(self.host.config.get_text_config(), "layer_types", None)
        self._placeholders: list[list[_Placeholder]] = [[] for _ in layout.stacks]
        self._bound: Tensor | None = None
        self._weights: Weights | None = None
        self._views: list[list[list[Tensor]]] = []

    def run(self, weights: Weights, inputs: Mapping[str, Tensor], head: int | None) -> Tensor:
        """Logits of the assembled model.

        Args:
            weights: what to run.
            inputs: keyword arguments of the model's forward.
            head: which task head reads out; None for models without.
        """
        self.bind(weights, head)
        with torch.inference_mode():
            logits: Tensor = self.host(**inputs).logits
        return logits

    def bind(self, weights: Weights, head: int | None) -> "PreTrainedModel":
        """Makes the host this architecture until the next call; returns it."""
        if self._bound is not weights.stem:
            for parameter, slot in self._stem:
                parameter.data = slot.view(weights.stem)
            self._bound = weights.stem
        if self._weights is not weights:  # many chunks run on one architecture: its tensors are cut out once
            self._weights = weights
            self._views = [
                [[slot.view(flat) for slot in stack.slots] for flat in blocks]
                for stack, blocks in zip(self.layout.stacks, weights.blocks, strict=True)
            ]
        for side, (stack, blocks) in enumerate(zip(self.layout.stacks, weights.blocks, strict=True)):
            self._set_length(side, stack, len(blocks))
        if len(self.layout.stacks) == 1:
            config = self.host.config.get_text_config()
            if config.num_hidden_layers != len(weights.layers[0]):
                config.num_hidden_layers = len(weights.layers[0])
            if self._layer_types:
                config.layer_types = [self._layer_types[layer] for layer in weights.layers[0]]
        if head is not None:
            for name, module in self.heads[head].items():
                setattr(self.host, name, module)
        return self.host

    def _set_length(self, side: int, stack: BlockStack, length: int) -> None:
        held = self._placeholders[side]
        current = self.host.get_submodule(stack.path)
        if len(current) == length and (not length or isinstance(current[0], _Placeholder)):
            return
        held += [_Placeholder(self, side, position) for position in range(len(held), length)]
        parent, _, name = stack.path.rpartition(".")
        setattr(self.host.get_submodule(parent), name, nn.ModuleList(held[:length]))

    def run_block(self, side: int, position: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One block of what is bound, in its place."""
        assert self._weights is not None  # bind came first
        layer = self._weights.layers[side][position]
        template, parameters = self._templates[side][0 if position == 0 and self._first_is_special[side] else layer]
        for parameter, view in zip(parameters, self._views[side][position], strict=True):
            parameter.data = view
        return template(*args, **kwargs)


def _bindable(block: nn.Module, stack: BlockStack) -> tuple[nn.Module, list[nn.Parameter]]:
    own = dict(block.named_parameters())
    return block, [own[slot.name] for slot in stack.slots]
