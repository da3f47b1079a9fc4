"""The K = N experts + P merges that compete for every layer, as rows of one matrix. Knows weights, not data.

Source: RMM, section 3.1. Merges come from ``burnish.merge.methods``; as released they are untuned, trimmed over the
whole flattened model and their agreeing deltas are summed (``PUBLISHED``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.merge.methods import registry
from burnish.merge.rmm.architecture import Architecture, Scales
from burnish.merge.rmm.assemble import Weights
from burnish.merge.rmm.layout import ModuleLayout, scaled
from burnish.merge.rmm.recipe import MergeCandidate

PUBLISHED = (
    MergeCandidate(method="dare_ties", weight=1.0, density=0.66),
    MergeCandidate(method="ties", weight=1.0, density=0.3),
    MergeCandidate(method="dare_linear", weight=1.0, density=0.66),
)
"""The candidates of the released code's combined option, in its order."""


def merge(
    spec: MergeCandidate,
    base: Float[Tensor, " size"],
    experts: Float[Tensor, "experts size"],
    layout: ModuleLayout,
    seed: int = 0,
) -> Float[Tensor, " size"]:
    """A uniform merge of all experts.

    Args:
        spec: method and parameters.
        base: flat weights of the base.
        experts: flat weights of the experts.
        layout: tells tensors apart where ``spec.trim`` is ``tensor``.
        seed: of random methods.

    Raises:
        UserError: no such method, or it cannot merge this many models.
    """
    method = registry.get(spec.method)
    parameters: dict[str, float] = {"normalize": spec.normalize} if "normalize" in method.parameters else {}
    per_model = {"weight": spec.weight, "density": spec.density}
    if spec.normalize and "lambda" in method.parameters:
        # a common weight cancels in a normalised merge: what it should scale is the result
        per_model["weight"], parameters["lambda"] = 1.0, spec.weight
    model_parameters = {k: [v] * len(experts) for k, v in per_model.items() if k in method.model_parameters}

    def call(own: Tensor, others: Sequence[Tensor], number: int) -> Tensor:
        return method(own, others, model_parameters=model_parameters, parameters=parameters, seed=seed + number)

    if spec.trim == "model":
        return call(base, list(experts), 0)
    merged = torch.empty_like(base)
    for number, slot in enumerate(layout.slots()):  # in its own shape: some methods work on matrices
        slot.view(merged).copy_(call(slot.view(base), [slot.view(expert) for expert in experts], number))
    return merged


def whole(flat: Float[Tensor, " size"], layout: ModuleLayout) -> Weights:
    """A model as it is, every block in its place.

    Args:
        flat: its weights.
        layout: of it.
    """
    return Weights(
        stem=flat,
        layers=tuple(tuple(range(length)) for length in layout.lengths),
        blocks=tuple(tuple(stack.block(flat, layer) for layer in range(stack.length)) for stack in layout.stacks),
    )


def tunable(spec: MergeCandidate) -> tuple[str, ...]:
    """Which of weight and density the method listens to."""
    method = registry.get(spec.method)
    names = (name for name in ("weight", "density") if name in method.model_parameters)
    return tuple(name for name in names if not method.model_parameters[name].inert)


@dataclass(frozen=True)
class Pool:
    """Candidates for every layer.

    Attributes:
        layout: of the base.
        base: its flat weights.
        experts: flat weights, one row an expert.
        merges: flat weights, one row a merge.
        names: of all candidates, experts first.
        stem: candidate whose embeddings, positions and final norm every block architecture gets.
    """

    layout: ModuleLayout
    base: Float[Tensor, " size"]
    experts: Float[Tensor, "experts size"]
    merges: Float[Tensor, "merges size"]
    names: tuple[str, ...]
    stem: int

    @cached_property
    def vectors(self) -> Float[Tensor, "experts size"]:
        """Task vectors."""
        return self.experts - self.base

    def flat(self, candidate: int) -> Float[Tensor, " size"]:
        """All weights of one candidate."""
        experts = len(self.experts)
        return self.experts[candidate] if candidate < experts else self.merges[candidate - experts]

    def weights(self, architecture: Architecture) -> Weights:
        """The tensors of an architecture: views for blocks, one weighted sum for scales."""
        if isinstance(architecture, Scales):
            flat = scaled(self.base, self.vectors, torch.tensor(architecture.values), self.layout)
            return whole(flat, self.layout)
        stacks = self.layout.stacks
        sides = [architecture.of_side(side) for side in range(len(stacks))]
        return Weights(
            stem=self.flat(self.stem),
            layers=tuple(tuple(block.layer for block in side) for side in sides),
            blocks=tuple(
                tuple(stack.block(self.flat(block.candidate), block.layer) for block in side)
                for stack, side in zip(stacks, sides, strict=True)
            ),
        )


def build_pool(
    layout: ModuleLayout,
    base: Float[Tensor, " size"],
    experts: Float[Tensor, "experts size"],
    specs: Sequence[MergeCandidate],
    expert_names: Sequence[str],
    seed: int,
    stem: int | None = None,
) -> Pool:
    """Merges once, then every layer choice is a view.

    Args:
        layout: of the base.
        base: flat weights.
        experts: flat weights, one row an expert.
        specs: the merges.
        expert_names: for tables and pictures.
        seed: of random merges.
        stem: see ``Pool``; default: the first merge, as published (the first expert where there is none).
    """
    merges = [merge(spec, base, experts, layout, seed) for spec in specs]
    rows = torch.stack(merges) if merges else base.new_empty((0, len(base)))
    chosen = stem if stem is not None else (len(experts) if merges else 0)
    return Pool(layout, base, experts, rows, (*expert_names, *_names(specs)), chosen)


def _names(specs: Sequence[MergeCandidate]) -> list[str]:
    """The methods' names, numbered where a method comes twice."""
    names = [spec.method for spec in specs]
    return [
        name if names.count(name) == 1 else f"{name} {names[: number + 1].count(name)}"
        for number, name in enumerate(names)
    ]
