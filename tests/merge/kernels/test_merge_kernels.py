"""Every kernel gives its torch function's result, rounded once: the same bits."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.merge.kernels import Kernel, kernel
from burnish.merge.methods import get

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
BASELESS = ("linear",)
TASK_VECTORS = ("task_arithmetic", "ties", "dare_ties", "dare_linear", "breadcrumbs", "breadcrumbs_ties")


def compiled(name: str, dtype: str) -> Kernel:
    found = kernel(name, dtype)
    assert found is not None
    return found


def raw(tensor):
    return tensor.numpy() if tensor.dtype == torch.float32 else tensor.view(torch.uint16).numpy()


def both(name, dtype, base, models, per_model, parameters, seed=0):
    """The kernel's and the torch function's results as tensors of `dtype`."""
    expected = get(name)(base, models, model_parameters=per_model, parameters=parameters, seed=seed).to(DTYPES[dtype])
    out = torch.full_like(models[0], 7)
    compiled(name, dtype)(
        None if base is None else raw(base),
        [raw(model) for model in models],
        model_parameters=per_model,
        parameters=parameters,
        seed=seed,
        out=raw(out),
    )
    return out, expected


def same_bits(found, expected):
    # Bits, not values: nan == nan here, but -0.0 is not 0.0.
    assert raw(found).tobytes() == raw(expected).tobytes()


def make(dtype, size, count, seed=0, drift=0.1):
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(size, generator=generator)
    models = [base + drift * torch.randn(size, generator=generator) for _ in range(count)]
    return base.to(DTYPES[dtype]), [model.to(DTYPES[dtype]) for model in models]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", TASK_VECTORS)
@pytest.mark.parametrize("normalize", [False, True])
def test_task_vector_kernels(name, dtype, count, normalize):
    base, models = make(dtype, 5001, count)
    per_model = {"weight": [0.7, 0.3, -0.2][:count], "density": [0.5, 0.3, 0.9][:count]}
    if "breadcrumbs" in name:
        per_model["gamma"] = [0.01, 0.2, 0.0][:count]
    same_bits(*both(name, dtype, base, models, per_model, {"normalize": normalize, "lambda": 0.9}, seed=3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("name", ["ties", "breadcrumbs", "dare_linear"])
def test_rescaled_kernels(name, dtype, norm):
    # The norms are float64 sums in another order than torch's: one float32 rounding of the scale may differ.
    base, models = make(dtype, 5001, 2)
    found, expected = both(
        name, dtype, base, models, {"weight": [1, 1], "density": [0.4, 0.6]}, {"rescale": True, "rescale_norm": norm}
    )
    if dtype == "float32":
        torch.testing.assert_close(found, expected, rtol=3e-7, atol=3e-7)
    else:
        same_bits(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight", [[1], [0.3, 0.3], [0.5, -0.5], [0.2, 0.5, 0.7]])
@pytest.mark.parametrize("normalize", [False, True])
def test_linear_kernel(dtype, weight, normalize):
    _, models = make(dtype, 3001, len(weight))
    same_bits(*both("linear", dtype, None, models, {"weight": weight}, {"normalize": normalize}))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("drift", [1.0, 1e-3, 0.0])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_slerp_kernel(dtype, drift, t):
    # The dot product is a float64 sum in another order than torch's: one float32 rounding of the two factors may
    # differ.
    base, models = make(dtype, 3001, 1, drift=drift)
    found, expected = both("slerp", dtype, base, models, {}, {"t": t})
    torch.testing.assert_close(found, expected, rtol=2**-23 if dtype == "float32" else 2**-8, atol=2e-7)


small = st.lists(st.integers(-6, 6), min_size=1, max_size=80)


@settings(deadline=None, max_examples=150)
@given(
    values=small,
    other=small,
    density=st.floats(0, 1),
    weight=st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=2, max_size=2),
    normalize=st.booleans(),
    name=st.sampled_from(TASK_VECTORS),
    dtype=st.sampled_from(sorted(DTYPES)),
)
def test_many_equal_magnitudes(values, other, density, weight, normalize, name, dtype):
    size = min(len(values), len(other))
    base = torch.arange(size).remainder(3).to(DTYPES[dtype])
    models = [base + torch.tensor(deltas[:size], dtype=DTYPES[dtype]) for deltas in (values, other)]
    per_model = {"weight": weight, "density": [density, density]}
    same_bits(*both(name, dtype, base, models, per_model, {"normalize": normalize}, seed=size))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_ties_spread_over_many_blocks(dtype):
    # Ten thousand equal deltas: the cut falls inside them, far from any block's edge.
    base = torch.zeros(10_000, dtype=DTYPES[dtype])
    models = [torch.where(torch.arange(10_000) % 7 == 0, 2.0, -1.0).to(DTYPES[dtype]), torch.ones_like(base)]
    for density in (0.1, 0.37, 0.5, 0.99):
        same_bits(*both("ties", dtype, base, models, {"weight": [1, 1], "density": [density] * 2}, {}))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity(dtype):
    base, models = make(dtype, 2000, 2)
    models[0][[0, 5, 1999]] = torch.tensor([float("nan"), float("inf"), -float("inf")], dtype=DTYPES[dtype])
    for name in ("linear", "ties", "dare_ties", "task_arithmetic"):
        found, expected = both(name, dtype, base, models, {"weight": [1, 1]}, {})
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_empty_tensor():
    compiled("ties", "bfloat16")(
        np.empty(0, np.uint16),
        [np.empty(0, np.uint16)],
        model_parameters={"weight": [1]},
        parameters={},
        out=np.empty(0, np.uint16),
    )


def test_refuses_other_arrays():
    flat, table = np.zeros(4, np.uint16), np.zeros((2, 2), np.uint16)
    for base, models in ((flat, [table]), (table, [table]), (flat, [flat.astype(np.float32)]), (None, [flat])):
        with pytest.raises((ValueError, UserError)):
            compiled("ties", "bfloat16")(base, models, model_parameters={"weight": [1]}, parameters={}, out=flat.copy())


def test_machine_code_is_never_given_memory_that_is_read_only_or_misaligned():
    flat, raw = np.zeros(4, np.float32), bytes(16)
    shifted = np.zeros(17, np.uint8)[1:].view(np.float32)
    for model, out, words in ((flat, np.frombuffer(raw, np.float32), "read-only"), (shifted, flat, "aligned")):
        with pytest.raises(ValueError, match=words):
            compiled("linear", "float32")(
                None, [model, flat + 1], model_parameters={"weight": [1, 1]}, parameters={}, out=out
            )
    assert raw == bytes(16)


def test_only_these_have_kernels():
    assert kernel("karcher", "bfloat16") is None
    assert kernel("ties", "float64") is None


def test_same_bits_from_any_number_of_threads():
    base, models = make("bfloat16", 200_000, 2)

    def merge(_):
        out = torch.empty_like(base)
        compiled("dare_ties", "bfloat16")(
            raw(base),
            [raw(model) for model in models],
            model_parameters={"weight": [1, 1], "density": [0.5, 0.5]},
            parameters={},
            seed=9,
            out=raw(out),
        )
        return raw(out).tobytes()

    alone = merge(0)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(merge, range(8))) == {alone}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*TASK_VECTORS, "linear", "slerp"])
def test_tile_by_tile_is_the_whole(name, dtype):
    """Also where ties at the threshold run out in the middle of a later tile, and with norms of what is dropped."""
    base, models = make(dtype, 9 * 1024 + 77, 1 if name == "slerp" else 2)
    base[::3] = 0
    for model in models:
        model[::3] = 0.125
    per_model: dict[str, Any] = {"weight": [0.7, 0.4]}
    parameters: dict[str, Any] = {}
    if name in ("linear", "slerp"):
        per_model, parameters = ({}, {"t": 0.3}) if name == "slerp" else (per_model, {})
    elif name != "task_arithmetic":
        per_model |= {"density": [0.4, 0.3]}
        parameters = {"rescale": True, "rescale_norm": "l2"}
    out = torch.full_like(base, 7)
    made = compiled(name, dtype)
    inputs = [raw(tensor) for tensor in ([] if name == "linear" else [base]) + models]
    made(
        None if name == "linear" else inputs[0],
        [raw(model) for model in models],
        model_parameters=per_model,
        parameters=parameters,
        seed=5,
        out=raw(out),
    )
    for tile in (1024, 3 * 1024):
        stream = made.stream(base.numel(), len(models), per_model, parameters, 5)
        starts = range(0, base.numel(), tile)
        for survey in stream.surveys():
            for start in starts:
                survey([array[start : start + tile] for array in inputs], start)
        found = torch.full_like(base, 9)
        for start in starts:
            stream.merge([array[start : start + tile] for array in inputs], start, raw(found)[start : start + tile])
        same_bits(found, out)
