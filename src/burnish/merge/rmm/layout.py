"""Where each weight lies: a model as one flat vector, its blocks as equal slices of it. Knows no search and no data.

Everything a search does to weights (merge, scale, choose) is then arithmetic on rows of one matrix, whatever the
family. Kept in float32 in memory: one row a candidate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Slot:
    """One tensor: its name, its place in the flat vector (within the block, for a block's tensor) and its shape."""

    name: str
    offset: int
    shape: torch.Size

    def view(self, flat: Tensor) -> Tensor:
        """The tensor, without a copy."""
        return flat[self.offset : self.offset + self.shape.numel()].view(self.shape)


@dataclass(frozen=True)
class BlockStack:
    """L blocks of one shape.

    Attributes:
        path: name of the module list.
        length: L.
        offset: where block 0 starts in the flat vector; block l follows at offset + l * size.
        size: numbers a block.
        slots: tensors of a block.
    """

    path: str
    length: int
    offset: int
    size: int
    slots: tuple[Slot, ...]

    def block(self, flat: Tensor, layer: int) -> Tensor:
        """A block's slice of the flat vector, without a copy."""
        start = self.offset + layer * self.size
        return flat[start : start + self.size]


@dataclass(frozen=True)
class ModuleLayout:
    """The whole model but for its task heads.

    Attributes:
        stacks: one, or encoder and decoder.
        stem: everything outside the blocks (embeddings, positions, norms, a language model's head).
        rows: for each stem tensor the layer (over all stacks) whose scale it takes: the first for what comes before all
            blocks, else the last one before it.
        heads: modules that belong to a task, not to the merge.
        size: numbers in all.
    """

    stacks: tuple[BlockStack, ...]
    stem: tuple[Slot, ...]
    rows: tuple[int, ...]
    heads: tuple[str, ...]
    size: int

    @property
    def lengths(self) -> tuple[int, ...]:
        """Layers of each stack."""
        return tuple(stack.length for stack in self.stacks)

    def slots(self) -> list[Slot]:
        """Every tensor with its offset in the whole vector."""
        blocks = [
            Slot(f"{stack.path}.{layer}.{slot.name}", stack.offset + layer * stack.size + slot.offset, slot.shape)
            for stack in self.stacks
            for layer in range(stack.length)
            for slot in stack.slots
        ]
        return [*self.stem, *blocks]


def find_stacks(model: nn.Module) -> list[str]:
    """Paths of the outermost lists of equal modules: the model's layers, the encoder's first."""
    paths: list[str] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{path}.") for path in paths)
        if isinstance(module, nn.ModuleList) and len(module) and not inside and len({type(m) for m in module}) == 1:
            paths.append(name)
    return paths


def read_modules(model: "PreTrainedModel") -> ModuleLayout:
    """Reads blocks, stem and heads off a loaded model.

    Raises:
        UserError: no stack of equal blocks, more than two, or blocks of different shapes.
    """
    paths = find_stacks(model)
    kind = type(model).__name__
    if not 1 <= len(paths) <= 2:
        raise UserError(
            f"{kind}: found {len(paths)} stacks of layers ({', '.join(paths) or 'none'}), can search 1 or 2"
        )
    heads = _head_modules(model)
    outside = [(name, tensor.shape) for name, tensor in model.named_parameters() if name.split(".")[0] not in heads]
    offset = 0
    stem: list[Slot] = []
    rows: list[int] = []
    stacks: list[BlockStack] = []
    members = {path: _block_shapes(model, path) for path in paths}
    seen_layers = 0
    for name, shape in outside:
        path = next((path for path in paths if name.startswith(f"{path}.")), None)
        if path is not None:
            block_names = members[path]
            if name.removeprefix(f"{path}.").split(".", 1)[1] in block_names:
                if not any(stack.path == path for stack in stacks):
                    length = len(model.get_submodule(path))
                    stacks.append(BlockStack(path, length, 0, 0, ()))
                    seen_layers += length
                continue
        stem.append(Slot(name, offset, shape))
        # tensors of block 0 alone (T5's shared position bias) come before all layers of their stack
        rows.append(max(0, seen_layers - 1) if path is None else max(0, seen_layers - len(model.get_submodule(path))))
        offset += shape.numel()
    placed = []
    for stack in stacks:
        at, slots = 0, []
        for name, shape in members[stack.path].items():
            slots.append(Slot(name, at, shape))
            at += shape.numel()
        placed.append(BlockStack(stack.path, stack.length, offset, at, tuple(slots)))
        offset += at * stack.length
    return ModuleLayout(tuple(placed), tuple(stem), tuple(rows), tuple(heads), offset)


def _head_modules(model: "PreTrainedModel") -> list[str]:
    # a language model's head is shared by all tasks and merged; a classifier's belongs to its task
    if model.get_output_embeddings() is not None:
        return []
    return [name for name, _ in model.named_children() if name != model.base_model_prefix]


def _block_shapes(model: nn.Module, path: str) -> dict[str, torch.Size]:
    """Names and shapes that all blocks of a stack share."""
    blocks: Sequence[nn.Module] = list(model.get_submodule(path).children())
    shapes = [{n: p.shape for n, p in block.named_parameters()} for block in blocks]
    last = shapes[-1]
    for layer, own in enumerate(shapes):
        different = [name for name in {**own, **last} if own.get(name) != last.get(name)]
        # only block 0 may hold more: tensors it computes for all layers
        if layer == 0:
            different = [name for name in different if name in last]
        if different:
            raise UserError(
                f"{path}.{layer}.{different[0]}: {own.get(different[0])} where other blocks have "
                f"{last.get(different[0])}; "
                "blocks of one stack must have one shape"
            )
    return last


def flatten(model: nn.Module, layout: ModuleLayout, name: str = "model") -> Float[Tensor, " size"]:
    """A model's merged part as one float32 vector.

    Args:
        model: of the layout's family.
        layout: of the base.
        name: for error messages.

    Raises:
        UserError: a tensor is missing, has another shape, or holds NaN or infinity.
    """
    own = dict(model.named_parameters())
    flat = torch.empty(layout.size)
    expected = layout.slots()
    unknown = {n for n in own if n.split(".")[0] not in layout.heads} - {slot.name for slot in expected}
    if unknown:
        raise UserError(f"{name}: {min(unknown)} is not in the base; experts must be fine-tunes of it")
    for slot in expected:
        tensor = own.get(slot.name)
        if tensor is None or tensor.shape != slot.shape:
            have = "missing" if tensor is None else list(tensor.shape)
            raise UserError(
                f"{name}: {slot.name}: {have}, the base has {list(slot.shape)}; experts must be fine-tunes of it"
            )
        slot.view(flat).copy_(tensor.detach())
    if not math.isfinite(float(flat.sum())):
        bad = next((slot.name for slot in expected if not slot.view(flat).isfinite().all()), None)
        if bad is not None:
            raise UserError(f"{name}: {bad} holds NaN or infinity")
    return flat


def scaled(
    base: Float[Tensor, " size"],
    vectors: Float[Tensor, "experts size"],
    scales: Float[Tensor, "layers experts"],
    layout: ModuleLayout,
) -> Float[Tensor, " size"]:
    """Layer l = base + sum_e scales[l, e] * task vector e; stem tensors take the row ``ModuleLayout.rows`` names."""
    flat = torch.empty_like(base)
    first = 0
    for stack in layout.stacks:
        span = slice(stack.offset, stack.offset + stack.length * stack.size)
        tau = vectors[:, span].view(len(vectors), stack.length, stack.size)
        weights = scales[first : first + stack.length]
        mixed = torch.einsum("le,elp->lp", weights, tau)
        torch.add(base[span].view_as(mixed), mixed, out=flat[span].view_as(mixed))
        first += stack.length
    for slot, row in zip(layout.stem, layout.rows, strict=True):
        span = slice(slot.offset, slot.offset + slot.shape.numel())
        torch.addmv(base[span], vectors[:, span].T, scales[row], out=flat[span])
    return flat
