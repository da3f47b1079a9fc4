"""The worked examples of the specification, digit by digit."""

from typing import Any

import pytest
import torch

from burnish.merge.methods import get, names
from burnish.merge.methods.consensus import agreeing_mean, agreeing_sum, elect_signs
from burnish.merge.methods.sparsify import keep_largest

ZERO4 = torch.zeros(4)
D1, D2 = torch.tensor([4.0, -1, 2, 0]), torch.tensor([-3.0, 5, 1, -1])


def merge(name, base, models, per_model=None, **parameters):
    return get(name)(base, models, model_parameters=per_model or {}, parameters=parameters)


def test_task_arithmetic():
    models = [torch.tensor([2.0, 2]), torch.tensor([1.0, 4])]
    merged = merge("task_arithmetic", torch.tensor([1.0, 2]), models, {"weight": [0.5, 0.5]})
    assert merged.tolist() == [1.5, 3]


def test_ties():
    merged = merge("ties", ZERO4, [D1, D2], {"weight": [1, 1], "density": [0.5, 0.5]})
    assert merged.tolist() == [4, 5, 2, 0]


def test_ties_building_blocks():
    trimmed = [torch.where(keep_largest(delta, 2), delta, 0.0) for delta in (D1, D2)]
    assert [delta.tolist() for delta in trimmed] == [[4, 0, 2, 0], [-3, 5, 0, 0]]
    signs = elect_signs(trimmed)
    assert signs.tolist() == [1, 1, 1, 1]
    assert agreeing_mean(trimmed, signs).tolist() == [4, 5, 2, 0]


def test_sum_and_mean_of_agreeing_deltas():
    deltas = [torch.tensor([4.0, 2]), torch.tensor([2.0, -1])]
    signs = elect_signs(deltas)
    assert agreeing_sum(deltas, signs).tolist() == [6, 2]
    assert agreeing_mean(deltas, signs).tolist() == [3, 2]


def test_global_trimming_differs_from_per_tensor_trimming():
    a, b = torch.tensor([10.0, 9]), torch.tensor([1.0, 2])
    whole = torch.cat([a, b])
    assert whole[keep_largest(whole, 2)].tolist() == [10, 9]
    assert [tensor[keep_largest(tensor, 1)].item() for tensor in (a, b)] == [10, 2]


def test_zero_sum_elects_plus():
    merged = merge("ties", torch.zeros(1), [torch.tensor([2.0]), torch.tensor([-2.0])], {"weight": [1, 1]})
    assert merged.item() == 2


def test_dare_linear_doubles_what_it_keeps_and_means_the_delta():
    """Four thousand draws: a hundred of each seed, for every entry is drawn by itself."""
    delta = torch.tensor([3.0, -1, 0.5, 7])
    parameters: dict[str, Any] = {"model_parameters": {"weight": [1], "density": [0.5]}, "parameters": {}}
    drawn = [
        get("dare_linear")(ZERO4.repeat(100), [delta.repeat(100)], seed=seed, **parameters).view(100, 4)
        for seed in range(40)
    ]
    results = torch.cat(drawn)
    assert all(value in (0, 2 * entry) for entry, column in zip(delta, results.T, strict=True) for value in column)
    torch.testing.assert_close(results.mean(0), delta, rtol=0.08, atol=0)


def test_slerp():
    merged = merge("slerp", torch.tensor([1.0, 0]), [torch.tensor([0.0, 1])], t=0.5)
    torch.testing.assert_close(merged, torch.tensor([0.70710678, 0.70710678]))


def test_slerp_of_colinear_vectors_is_linear():
    merged = merge("slerp", torch.tensor([1.0, 2]), [torch.tensor([3.0, 6])], t=0.25)
    assert merged.tolist() == [1.5, 3]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_model_stock_ratio(count):
    # k unit deltas with pairwise cosine c: e_m + a * ones, normalised.
    deltas = torch.eye(count) + 0.5
    deltas /= deltas.norm(dim=1, keepdim=True)
    cosine = (deltas[0] @ deltas[1]).item()
    base = torch.full((count,), 2.0)
    ratio = count * cosine / (1 + (count - 1) * cosine)
    torch.testing.assert_close(merge("model_stock", base, list(base + deltas)), base + ratio * deltas.mean(0))


def test_breadcrumbs():
    delta = torch.tensor([8.0, -4, 2, 1])
    merged = merge("breadcrumbs", ZERO4, [delta], {"weight": [1], "density": [0.5], "gamma": [0.25]})
    assert merged.tolist() == [0, -4, 2, 0]


def test_names():
    assert set(names()) == {
        "linear",
        "slerp",
        "nuslerp",
        "multislerp",
        "karcher",
        "task_arithmetic",
        "ties",
        "dare_linear",
        "dare_ties",
        "della",
        "della_linear",
        "breadcrumbs",
        "breadcrumbs_ties",
        "sce",
        "model_stock",
        "nearswap",
        "passthrough",
        "arcee_fusion",
        "ram",
        "ramplus_tl",
        "fisher",
        "regmean",
        "tsv",
        "iso_c",
    }
