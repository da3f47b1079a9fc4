"""Whole folders against mergekit 0.1.5, every deterministic method, in float32: equal but for threshold ties.

Where mergekit crashes or is wrong, the test says so.
"""

from pathlib import Path

import pytest
import torch
import yaml

from burnish.merge import merge

from .checkpoints import family, plain, tensors_of, word_tokenizer

pytest.importorskip("mergekit")

WEIGHTED = {"weight": 0.6}
METHODS = {
    "linear": (WEIGHTED, {}),
    "linear-raw": (WEIGHTED, {"normalize": False}),
    "slerp": ({}, {"t": 0.3}),
    "nuslerp": (WEIGHTED, {}),
    "multislerp": (WEIGHTED, {}),
    "karcher": ({}, {"max_iter": 10}),
    "task_arithmetic": (WEIGHTED, {"lambda": 0.7}),
    "ties": (WEIGHTED | {"density": 0.5}, {"normalize": True}),
    "ties-rescale": (WEIGHTED | {"density": 0.3}, {"rescale": True, "lambda": 1.2}),
    "breadcrumbs": (WEIGHTED | {"density": 0.7, "gamma": 0.1}, {}),
    "breadcrumbs_ties": (WEIGHTED | {"density": 0.7, "gamma": 0.1}, {}),
    "sce": ({}, {"select_topk": 0.5}),
    "model_stock": ({}, {}),
    "nearswap": ({}, {"t": 0.01}),
    "passthrough": ({}, {}),
    "arcee_fusion": ({}, {}),
    "ram": ({}, {}),
    "ramplus_tl": ({}, {}),
}
ONE_MODEL = ("slerp", "nearswap", "arcee_fusion")


@pytest.fixture(scope="session")
def families(tmp_path_factory):
    made = {}

    def get(kind: str, dtype: torch.dtype = torch.float32, **changes) -> list[Path]:
        key = f"{kind}-{dtype}-{sorted(changes.items())}"
        if key not in made:
            made[key] = family(tmp_path_factory.mktemp("family"), kind, 3, dtype, **changes)
        return made[key]

    return get


def mergekit(config: dict, out: Path) -> dict[str, torch.Tensor]:
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    options = MergeOptions(allow_crimes=True, quiet=True, write_model_card=False, clone_tensors=True)
    run_merge(MergeConfiguration.model_validate(yaml.safe_load(yaml.safe_dump(config))), str(out), options)
    return tensors_of(out)


def both(config: dict, tmp_path: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    theirs = mergekit(config, tmp_path / "theirs")
    ours = tensors_of(merge(config, tmp_path / "ours", progress=False))
    return ours, theirs


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], ties: float = 0.0) -> None:
    """Equal to 1e-5 relative + 1e-6, but for a share `ties` of elements at a threshold."""
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        close = torch.isclose(ours[name].float(), tensor.float(), rtol=1e-5, atol=1e-6)
        assert (~close).float().mean() <= ties, f"{name}: {(~close).sum()} of {close.numel()} differ"


def config_for(key: str, paths: list[Path], **more) -> dict:
    per_model, shared = METHODS[key]
    method = key.split("-")[0]
    base, *experts = map(str, paths)
    if method == "passthrough":
        return {"merge_method": method, "models": [{"model": experts[0]}], **more}
    used = experts[:1] if method in ONE_MODEL else experts
    models = [{"model": model, "parameters": dict(per_model)} for model in used]
    config = {"merge_method": method, "models": models, "parameters": dict(shared), **more}
    if method not in ("linear", "karcher"):
        config["base_model"] = base
    return config


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2", "vit"])
@pytest.mark.parametrize("key", METHODS)
def test_method(key: str, kind: str, families, tmp_path: Path) -> None:
    if kind in ("qwen2", "vit") and key not in ("linear", "slerp", "ties", "nuslerp", "model_stock"):
        pytest.skip("the tensors differ in name only from the other kinds")
    ours, theirs = both(config_for(key, families(kind), dtype="float32"), tmp_path)
    assert_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_filters_and_gradients(kind: str, families, tmp_path: Path) -> None:
    base, one, two = map(str, families(kind))
    config = {
        "merge_method": "ties",
        "base_model": base,
        "models": [
            {"model": one, "parameters": {"weight": [0.1, 0.9, 0.4], "density": 0.5}},
            {
                "model": two,
                "parameters": {
                    "weight": [{"filter": "mlp", "value": [0.2, 0.8]}, {"filter": "attn", "value": 0.7}, {"value": 0.3}],
                    "density": [{"filter": "mlp", "value": 0.25}, {"value": [0.9, 0.6]}],
                },
            },
        ],
        "parameters": {"normalize": [{"filter": "attn", "value": False}, {"value": True}]},
        "dtype": "float32",
    }
    assert_equal(*both(config, tmp_path))


def test_slices_with_parameters_at_every_level(families, tmp_path: Path) -> None:
    _, one, two = map(str, families("llama"))
    config = {
        "merge_method": "slerp",
        "base_model": one,
        "slices": [
            {"sources": [{"model": one, "layer_range": [0, 2]}, {"model": two, "layer_range": [1, 3]}]},
            {
                "sources": [{"model": one, "layer_range": [1, 3]}, {"model": two, "layer_range": [0, 2]}],
                "parameters": {"t": [0.9, 0.1]},
            },
        ],
        "parameters": {"t": [{"filter": "self_attn", "value": [0, 0.5, 1]}, {"value": 0.25}]},
        "dtype": "float32",
    }
    ours, theirs = both(config, tmp_path)
    assert_equal(ours, theirs)
    assert "model.layers.3.mlp.up_proj.weight" in ours


def test_frankenmerge(families, tmp_path: Path) -> None:
    _, one, two = map(str, families("gpt2"))
    config = {
        "merge_method": "passthrough",
        "slices": [
            {"sources": [{"model": one, "layer_range": [0, 3]}]},
            {"sources": [{"model": two, "layer_range": [1, 2], "parameters": {"scale": 0.5}}]},
        ],
    }
    assert_equal(*both(config, tmp_path))


@pytest.mark.parametrize("dtypes", [(None, None), ("float32", "bfloat16"), ("bfloat16", None), ("float16", "float32")])
def test_dtypes(dtypes: tuple, families, tmp_path: Path) -> None:
    """The same dtype comes out. Ours does not round inputs down first, so it may differ by the rounding of an input."""
    dtype, out_dtype = dtypes
    more = {key: value for key, value in (("dtype", dtype), ("out_dtype", out_dtype)) if value}
    config = config_for("linear", [families("llama")[0], families("llama", torch.bfloat16)[1], families("llama")[2]], **more)
    ours, theirs = both(config, tmp_path)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        torch.testing.assert_close(ours[name].float(), tensor.float(), rtol=1e-2, atol=1e-3)
