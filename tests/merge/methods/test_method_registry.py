"""What the registry promises the engine: cheap to import, complete, and one-line errors that name the cure."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from burnish.core.errors import UserError
from burnish.merge.methods import get, names


def call(name, count=2, base=True, per_model=None, **parameters):
    tensors = [torch.randn(3, 4) for _ in range(count)]
    return get(name)(
        torch.zeros(3, 4) if base else None, tensors, model_parameters=per_model or {}, parameters=parameters
    )


def test_import_and_lookup_bring_no_torch_and_no_numba():
    code = (
        "import sys, burnish.merge.methods.registry as r, burnish.merge.kernels as k; r.get('ties'); r.names(); "
        "k.kernel('ties', 'bfloat16'); assert not {'torch', 'numba', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", names())
def test_every_method_merges_with_its_defaults(name):
    method = get(name)
    count = method.min_models
    per_model = {key: [0.5] * count for key, value in method.model_parameters.items() if value.required}
    shared = {key: 0.5 for key, value in method.parameters.items() if value.required}
    merged = call(name, count, method.base != "unused", per_model, **shared)
    assert merged.shape == (3, 4)
    assert merged.dtype == torch.float32
    assert merged.isfinite().all()
    assert all(parameter.doc for parameter in (*method.model_parameters.values(), *method.parameters.values()))


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 4), (3, 1), (1, 5)], ids=str)
@pytest.mark.parametrize("name", names())
def test_shapes_at_the_edge(name, shape):
    method = get(name)
    per_model = {key: 0.5 for key, value in method.model_parameters.items() if value.type is float and not value.inert}
    shared = {key: 0.5 for key, value in method.parameters.items() if value.required}
    models = [torch.randn(shape) for _ in range(method.min_models)]
    extra = {key: value for key, value in per_model.items() if key not in ("epsilon", "scale")}
    merged = method(torch.randn(shape), models, model_parameters={}, parameters={**shared, **extra})
    assert merged.shape == shape
    assert merged.isfinite().all()


@pytest.mark.parametrize("name", names())
def test_inputs_stay_as_they_are(name):
    method = get(name)
    base, models = torch.randn(4, 4), [torch.randn(4, 4) for _ in range(method.min_models)]
    before = [tensor.clone() for tensor in (base, *models)]
    per_model = {key: [0.5] * len(models) for key, value in method.model_parameters.items() if value.required}
    shared = {key: 0.5 for key, value in method.parameters.items() if value.required}
    method(base, models, model_parameters=per_model, parameters=shared)
    assert all(tensor.equal(copy) for tensor, copy in zip((base, *models), before, strict=True))


@pytest.mark.parametrize("name", [name for name in names() if get(name).random])
def test_random_methods_repeat_by_seed(name):
    base, models = torch.randn(50), [torch.randn(50), torch.randn(50)]
    per_model: dict[str, list[Any]] = {"weight": [1, 1], "density": [0.5, 0.5]}
    a, b, c = (get(name)(base, models, model_parameters=per_model, parameters={}, seed=seed) for seed in (1, 1, 2))
    assert a.equal(b)
    assert not a.equal(c)


def test_per_model_parameter_set_once_holds_for_all_and_yields_to_the_model():
    base, models = torch.zeros(8), [torch.randn(8), torch.randn(8)]
    once = get("ties")(base, models, model_parameters={"weight": [1, 1]}, parameters={"density": 0.5})
    each = get("ties")(
        base, models, model_parameters={"weight": [1, 1], "density": [0.5, 0.5]}, parameters={"density": 0.1}
    )
    assert once.equal(each)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "tie"}, "merge_method: unknown method 'tie'; did you mean `ties`"),
        ({"name": "ties"}, "ties: weight is not set"),
        ({"name": "ties", "weigth": 1.0}, "ties: unknown parameter 'weigth'; did you mean `weight`?"),
        ({"name": "ties", "base": False}, "ties: needs a base model; set base_model"),
        ({"name": "ties", "per_model": {"weight": [1]}}, "ties: weight has 1 values for 2 models"),
        ({"name": "ties", "weight": "a"}, "ties: weight: expected a number, got 'a'"),
        ({"name": "ties", "weight": float("nan")}, "ties: weight: expected a finite number"),
        ({"name": "ties", "weight": 1, "normalize": 1}, "ties: normalize: expected true or false, got 1"),
        ({"name": "ties", "weight": 1, "rescale_norm": "l3"}, "ties: rescale_norm: 'l3' is none of l1, l2, linf"),
        ({"name": "slerp", "t": 0.5}, "slerp: needs exactly 1 model besides the base; got 2"),
        ({"name": "model_stock", "count": 1}, "model_stock: needs at least 2 models besides the base; got 1"),
        (
            {"name": "della", "weight": 1, "density": 0.9},
            "epsilon: density 0.9 +/- epsilon 0.15 must stay inside (0, 1)",
        ),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(arguments, words):
    with pytest.raises(UserError) as caught:
        call(**arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shapes_that_differ_are_refused():
    with pytest.raises(UserError, match=r"linear: tensors of different shapes: \(2,\), \(3,\)"):
        get("linear")(None, [torch.ones(2), torch.ones(3)], model_parameters={"weight": [1, 1]}, parameters={})
