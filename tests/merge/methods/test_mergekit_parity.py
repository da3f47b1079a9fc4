"""Every deterministic method equals mergekit 0.1.5's in float32, to 1e-5 relative + 1e-6, on distinct magnitudes.

Where mergekit's own result is not defined (its sorts are not stable) or wrong, the test says so.
"""

from typing import Any

import pytest
import torch

from burnish.merge.methods import get

SHAPES = [(7,), (33, 17), (5, 6, 7)]
CASES: dict[str, list[tuple[int, dict[str, Any], dict[str, Any]]]] = {
    "linear": [
        (1, {"weight": [0.3]}, {}),
        (3, {"weight": [0.2, 0.5, 0.7]}, {}),
        (2, {"weight": [1, 2]}, {"normalize": False}),
    ],
    "slerp": [(1, {}, {"t": t}) for t in (0, 0.3, 1.0)],
    "nuslerp": [
        (2, {"weight": [1, 3]}, {}),
        (2, {"weight": [1, -1]}, {}),
        (2, {"weight": [1, 3]}, {"nuslerp_flatten": False}),
        (2, {"weight": [2, 1]}, {"nuslerp_flatten": False, "nuslerp_row_wise": True}),
    ],
    "multislerp": [
        (1, {"weight": [0.4]}, {}),
        (3, {"weight": [0.2, 0.5, 0.7]}, {}),
        (3, {"weight": [0.2, 0.3, 0.4]}, {"normalize_weights": False}),
    ],
    "karcher": [(1, {}, {}), (2, {}, {}), (4, {}, {"max_iter": 5, "tol": 1e-6})],
    "task_arithmetic": [
        (2, {"weight": [0.4, 0.8]}, {}),
        (2, {"weight": [0.4, 0.8]}, {"normalize": True, "lambda": 0.5}),
        (2, {"weight": [0.5, -0.5]}, {"normalize": True}),
    ],
    "ties": [
        (2, {"weight": [1, 1], "density": [0.5, 0.5]}, {}),
        (3, {"weight": [0.3, 1, -0.4], "density": [0.2, 0.7, 1.0]}, {"lambda": 1.3}),
        (2, {"weight": [0.5, 0.5], "density": [0.3, 0.001]}, {"normalize": False, "int8_mask": True}),
        (2, {"weight": [0.5, 0.5], "density": [0.0, 0.6]}, {"rescale": True}),
    ],
    "breadcrumbs": [
        (2, {"weight": [1, 0.5], "density": [0.5, 0.8], "gamma": [0.1, 0.05]}, {}),
        (2, {"weight": [1, 0.5], "density": [0.9, 0.5], "gamma": [0.3, 0.5]}, {"normalize": True, "rescale": True}),
    ],
    "breadcrumbs_ties": [
        (2, {"weight": [1, 0.5], "density": [0.5, 0.8], "gamma": [0.1, 0.05]}, {}),
        (3, {"weight": [1, 1, 1], "density": [0.9, 0.5, 0.2], "gamma": [0.3, 0.5, 0.0]}, {"normalize": True}),
    ],
    "sce": [(2, {}, {}), (3, {}, {"select_topk": 0.4}), (2, {}, {"select_topk": 0.0})],
    "model_stock": [(2, {}, {}), (4, {}, {"filter_wise": True})],
    "nearswap": [(1, {}, {"t": 0.05})],
    "passthrough": [(1, {}, {}), (1, {"scale": [0.5]}, {})],
    "arcee_fusion": [(1, {}, {})],
    "ram": [(1, {}, {}), (3, {}, {"epsilon": 0.05})],
    "ramplus_tl": [(2, {}, {}), (3, {}, {"epsilon": 0.08, "r": 0.5, "alpha": 0.3})],
}
RUNS = [(name, case) for name, cases in CASES.items() for case in cases]
BASELESS = ("linear", "karcher", "passthrough")


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("name", "case"), RUNS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(RUNS)])
def test_float32(mergekit, fine_tunes, name, case, shape):
    count, per_model, shared = case
    base, models = fine_tunes(shape, count)
    base = None if name in BASELESS else base
    ours = get(name)(base, models, model_parameters=per_model, parameters=shared)
    close(ours, mergekit(name, base, models, per_model, shared))


@pytest.mark.parametrize("name", ["nuslerp", "multislerp"])
def test_without_a_base(mergekit, fine_tunes, name):
    _, models = fine_tunes((33, 17), 2)
    per_model = {"weight": [0.3, 0.9]}
    ours = get(name)(None, models, model_parameters=per_model, parameters={})
    close(ours, mergekit(name, None, models, per_model))


@pytest.mark.parametrize(
    "name", ["slerp", "nuslerp", "multislerp", "karcher", "model_stock", "nearswap", "ties", "sce", "ram"]
)
def test_equal_models_stay_as_they_are(mergekit, fine_tunes, name):
    base, _ = fine_tunes((33, 17), 0)
    count = 1 if name in ("slerp", "nearswap") else 2
    per_model = {"weight": [0.5] * count} if name in ("nuslerp", "multislerp", "ties") else {}
    shared = {"t": 0.5} if name in ("slerp", "nearswap") else {}
    given = None if name in ("karcher", "multislerp", "nuslerp") else base
    ours = get(name)(given, [base.clone() for _ in range(count)], model_parameters=per_model, parameters=shared)
    close(ours, base)
    close(mergekit(name, given, [base.clone() for _ in range(count)], per_model, shared), base)


def test_nuslerp_of_antipodal_and_zero_vectors(mergekit):
    a = torch.tensor([3.0, -4, 12])
    for b in (-a, torch.zeros(3)):
        per_model = {"weight": [1.0, 2.0]}
        ours = get("nuslerp")(None, [a, b], model_parameters=per_model, parameters={})
        close(ours, mergekit("nuslerp", None, [a, b], per_model))


def test_slerp_of_a_zero_vector(mergekit):
    a = torch.tensor([3.0, -4, 12])
    ours = get("slerp")(torch.zeros(3), [a], model_parameters={}, parameters={"t": 0.3})
    close(ours, mergekit("slerp", torch.zeros(3), [a], {}, {"t": 0.3}))


def test_linear_with_weights_that_cancel(mergekit, fine_tunes):
    # mergekit divides by the zero sum and returns infinities; a divisor of 0 becomes 1 here, as in its task arithmetic.
    _, models = fine_tunes((9,), 2)
    ours = get("linear")(None, models, model_parameters={"weight": [1, -1]}, parameters={})
    close(ours, models[0] - models[1])
    assert not mergekit("linear", None, models, {"weight": [1, -1]}).isfinite().all()


def test_arcee_fusion_of_large_tensors(mergekit, fine_tunes):
    # Beyond a million entries mergekit samples its quantiles at random: two calls differ. Ours are exact.
    base, models = fine_tunes((1200, 1000), 1)
    ours = get("arcee_fusion")(base, models, model_parameters={}, parameters={})
    again = get("arcee_fusion")(base, models, model_parameters={}, parameters={})
    assert ours.equal(again)
    theirs = [mergekit("arcee_fusion", base, models) for _ in range(2)]
    assert not theirs[0].equal(theirs[1])
    taken, expected = (ours != base).float().mean(), (theirs[0] != base).float().mean()
    assert abs(taken - expected) < 0.01


def test_della_row_of_one_entry(mergekit, fine_tunes):
    # mergekit divides 0 by 0 ranks and hands a NaN probability to torch.bernoulli.
    base, models = fine_tunes((6, 1), 1)
    per_model: dict[str, list[Any]] = {"weight": [1], "density": [0.5]}
    assert get("della")(base, models, model_parameters=per_model, parameters={}).isfinite().all()
    with pytest.raises(RuntimeError):
        mergekit("della", base, models, per_model)


RANDOM = [
    ("dare_linear", {}, {}),
    ("dare_linear", {}, {"rescale": False}),
    ("dare_linear", {}, {"rescale_norm": "l1"}),
    ("dare_ties", {}, {}),
    ("dare_ties", {}, {"normalize": True}),
    ("della", {"epsilon": [0.2, 0.1]}, {}),
    ("della_linear", {"epsilon": [0.2, 0.1]}, {}),
    ("della_linear", {"epsilon": [0.2, 0.1]}, {"rescale": False}),
]


@pytest.mark.parametrize(("name", "extra", "shared"), RANDOM)
def test_random_methods_have_the_same_statistics(mergekit, fine_tunes, name, extra, shared):
    base, models = fine_tunes((40, 64), 2)
    per_model = {"weight": [0.6, 1.0], "density": [0.4, 0.7], **extra}
    theirs = {key: value for key, value in shared.items() if key != "rescale_norm"}
    torch.manual_seed(0)
    draws = 300
    ours = torch.stack(
        [get(name)(base, models, model_parameters=per_model, parameters=shared, seed=seed) for seed in range(draws)]
    )
    oracle = torch.stack([mergekit(name, base, models, per_model, theirs) for _ in range(draws)])
    error = ((ours.var(0) + oracle.var(0)) / draws).sqrt()
    # Means per entry: a standard normal of 2,560 entries stays below 5; spreads: within sampling error of a few
    # percent.
    assert ((ours.mean(0) - oracle.mean(0)).abs() <= 5 * error + 2e-3).all()
    torch.testing.assert_close(ours.std(0).mean(), oracle.std(0).mean(), rtol=0.02, atol=1e-4)
