"""The vectorised task-vector methods against the slow reference, on few distinct values so that ties abound."""

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from burnish.merge.methods import get
from burnish.merge.methods.sparsify import keep_at_random, keep_largest, keep_without_outliers, rank_probabilities
from tests.merge.methods.slow_reference import largest, merge, ranked, without_outliers

entries = st.lists(st.integers(-8, 8).map(lambda n: n / 4), min_size=1, max_size=40)
shares = st.sampled_from([-0.5, 0.25, 0.5, 1.0])


def indices(mask):
    return set(mask.flatten().nonzero().flatten().tolist())


@settings(deadline=None)
@given(entries, st.integers(-1, 45))
def test_keep_largest(values, count):
    assert indices(keep_largest(torch.tensor(values), count)) == set(ranked(values)[: max(0, count)])


@settings(deadline=None)
@given(entries, st.floats(0, 1.2), st.floats(0, 1))
def test_keep_without_outliers(values, density, gamma):
    found = indices(keep_without_outliers(torch.tensor(values), density, gamma))
    assert found == without_outliers(values, density, gamma)


@settings(deadline=None)
@given(
    deltas=st.lists(entries, min_size=1, max_size=4),
    weight=st.lists(shares, min_size=4, max_size=4),
    density=st.floats(0, 1),
    gamma=st.floats(0, 0.5),
    normalize=st.booleans(),
    name=st.sampled_from(["task_arithmetic", "ties", "breadcrumbs", "breadcrumbs_ties"]),
)
def test_methods(deltas, weight, density, gamma, normalize, name):
    size, count = min(map(len, deltas)), len(deltas)
    assume(abs(sum(weight[:count])) > 1e-6 or not normalize)
    base = np.arange(size) % 3 - 1.0
    models = [base + np.array(delta[:size]) for delta in deltas]
    per_model = {"weight": weight[:count], "density": [density] * count}
    kept = [set(range(size)) for _ in models]
    if name == "ties":
        kept = [largest(model - base, density) for model in models]
    elif name != "task_arithmetic":
        per_model["gamma"] = [gamma] * count
        kept = [without_outliers(model - base, density, gamma) for model in models]
    expected = merge(base, models, kept, weight[:count], elect="ties" in name, normalize=normalize, lambda_=0.5)
    found = get(name)(
        torch.tensor(base, dtype=torch.float32),
        [torch.tensor(model, dtype=torch.float32) for model in models],
        model_parameters=per_model,
        parameters={"normalize": normalize, "lambda": 0.5},
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(st.lists(entries, min_size=2, max_size=2), st.floats(0, 1), st.integers(0, 2**64 - 1))
def test_dare_with_its_own_masks(deltas, density, seed):
    size = min(map(len, deltas))
    models = [torch.tensor(delta[:size]) for delta in deltas]
    kept = [indices(keep_at_random((size,), density, seed=seed, model=m, device=torch.device("cpu"))) for m in range(2)]
    expected = merge(np.zeros(size), models, kept, [1.0, 0.5], elect=True, normalize=False)
    per_model = {"weight": [1.0, 0.5], "density": [density] * 2}
    found = get("dare_ties")(
        torch.zeros(size), models, model_parameters=per_model, parameters={"rescale": False}, seed=seed
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_random_masks_do_not_depend_on_the_shape_and_differ_by_model_and_seed():
    device = torch.device("cpu")
    flat = keep_at_random((600,), 0.5, seed=1, model=0, device=device)
    assert keep_at_random((20, 30), 0.5, seed=1, model=0, device=device).flatten().equal(flat)
    masks = [
        keep_at_random((100_000,), 0.3, seed=seed, model=m, device=device).double() for seed in (1, 2) for m in range(4)
    ]
    table = torch.stack(masks)
    assert (table.mean(1) - 0.3).abs().max() < 0.008
    # 28 pairs of independent masks: every correlation within 5 standard errors, 1/sqrt(n), of zero.
    correlation = torch.corrcoef(table) - torch.eye(len(masks))
    assert correlation.abs().max() < 5 / 100_000**0.5
    neighbours = torch.stack([torch.corrcoef(torch.stack([mask[:-1], mask[1:]]))[0, 1] for mask in masks])
    assert neighbours.abs().max() < 5 / 100_000**0.5


def test_rank_probabilities():
    values = torch.tensor([[3.0, -1, 2], [0, 0, 5]])
    expected = torch.tensor([[0.7, 0.3, 0.5], [0.5, 0.3, 0.7]], dtype=torch.float64)
    torch.testing.assert_close(rank_probabilities(values, 0.5, 0.2), expected)
