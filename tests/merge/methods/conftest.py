"""mergekit 0.1.5 as an oracle, called at the level of single tensors."""

import pytest
import torch


@pytest.fixture(scope="session")
def mergekit():
    """A function (name, base, models, per-model parameters, shared parameters) -> mergekit's merged tensor."""
    registry = pytest.importorskip("mergekit.merge_methods.registry")
    from mergekit.merge_methods.base import TensorGroup

    def merge(name, base, models, per_model=None, shared=None):
        method = registry.get(name)
        tensors = list(models) if base is None else [base, *models]
        group = TensorGroup.from_tensors(tensors, base_index=None if base is None else 0)
        (merged,) = method((group,), parameters={**(per_model or {}), **(shared or {})})
        return merged

    return merge


@pytest.fixture
def fine_tunes():
    """A function (shape, count, dtype, seed) -> base and fine-tunes of it."""

    def make(shape, count, dtype=torch.float32, seed=0, drift=0.1):
        generator = torch.Generator().manual_seed(seed)
        base = torch.randn(shape, generator=generator)
        models = [base + drift * torch.randn(shape, generator=generator) for _ in range(count)]
        return base.to(dtype), [model.to(dtype) for model in models]

    return make
