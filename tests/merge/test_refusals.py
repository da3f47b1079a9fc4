"""Every bad input of the specification: one line that says what, where and what to do; nothing is written."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from burnish.core.errors import BurnishError, UserError
from burnish.merge import collect_statistics, merge, plan

from .checkpoints import family, plain, tensors_of, word_tokenizer


@pytest.fixture(scope="module")
def llamas(tmp_path_factory) -> list[str]:
    return [str(path) for path in family(tmp_path_factory.mktemp("llamas"), "llama", 3)]


def recipe(paths: list[str], method: str = "ties", **more) -> dict:
    models = [{"model": path, "parameters": {"weight": 0.5}} for path in paths[1:]]
    return {"merge_method": method, "base_model": paths[0], "models": models} | more


def refused(config: dict, tmp_path: Path, message: str) -> None:
    file = tmp_path / "merge.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    with pytest.raises(UserError, match=message) as error:
        merge(file, tmp_path / "out", progress=False)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"merge_method": "tie"}, r"merge.yaml:1: merge_method: unknown method 'tie'; did you mean `ties`"),
        ({"merge_methods": 1}, r"merge.yaml:\d+: `merge_methods` is not a setting; did you mean `merge_method`"),
        ({"parameters": {"densty": 0.5}}, r"merge.yaml:\d+: `densty` is no parameter of ties; did you mean `density`"),
        ({"parameters": {"normalize": "yes please"}}, r"merge.yaml:\d+: normalize: expected true or false"),
        ({"dtype": "float64"}, r"merge.yaml:\d+: `dtype`"),
        ({"base_model": None}, r"merge.yaml:\d+: ties needs a base model"),
        ({"chat_template": "chatlm"}, r"merge.yaml:\d+: `chat_template`: 'chatlm' is none of auto, chatml"),
        ({"tokenizer_source": "base"}, r"no tokenizer.json"),
        ({"tokenizer": {"source": "/no/such"}}, r"gives the tokenizer but takes no part"),
    ],
)
def test_recipe(change: dict, message: str, llamas: list[str], tmp_path: Path) -> None:
    config = {key: value for key, value in (recipe(llamas) | change).items() if value is not None}
    refused(config, tmp_path, message)


def test_models(llamas: list[str], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    gpt2 = str(family(other, "gpt2", 1)[0])
    short = str(family(other, "llama", 1, num_hidden_layers=2)[0])
    (other / "w").mkdir()
    wide = str(family(other / "w", "llama", 1, intermediate_size=96)[0])
    vocabulary = str(family(other / "w" / "v", "llama", 1, vocab_size=65)[0])
    refused(recipe([*llamas[:2], gpt2]), tmp_path, "different architectures cannot be merged")
    refused(recipe([*llamas[:2], short]), tmp_path, r"has 2 layers .* has 3: different architectures")
    refused(recipe([*llamas[:2], wide]), tmp_path, r"tensor 'model.layers.0.mlp\.\w+.weight' is \[.*\] in .* and \[")
    refused(recipe([*llamas[:2], vocabulary]), tmp_path, r"'model.embed_tokens.weight'.*align the vocabularies")
    # The line of the model that is missing, wherever it is named.
    refused(recipe([*llamas[:2], "/no/such/model"]), tmp_path, "merge.yaml:7: /no/such/model: no such folder")
    refused(recipe(["/no/such/model", *llamas[:2]]), tmp_path, "merge.yaml:2: /no/such/model: no such folder")
    layers = [[llamas[0], [0, 1]], ["/no/such/model", [1, 2]]]
    pieces = [{"sources": [{"layer_range": layer, "model": model}]} for model, layer in layers]
    sliced = {"merge_method": "passthrough", "slices": pieces}
    refused(sliced, tmp_path, "merge.yaml:12: /no/such/model: no such folder")
    modules = {"merge_method": "passthrough", "modules": {"text": {"slices": pieces}}}
    refused(modules, tmp_path, "merge.yaml:14: /no/such/model: no such folder")
    refused(recipe(llamas[:1] + llamas[:1], "model_stock"), tmp_path, r"`weight` is no parameter of model_stock")
    stock = {"merge_method": "model_stock", "base_model": llamas[0], "models": [{"model": llamas[1]}]}
    refused(stock, tmp_path, "model_stock needs at least 2 models besides the base; got 1")
    slerp = {"merge_method": "slerp", "base_model": llamas[0], "models": [{"model": path} for path in llamas[1:]]}
    refused(slerp | {"parameters": {"t": 0.5}}, tmp_path, "slerp needs exactly 1 model besides the base; got 2")
    linear = {"merge_method": "linear", "base_model": llamas[0], "models": recipe(llamas)["models"]}
    # mergekit too: the base takes part as soon as it is named, and has no weight.
    refused(linear, tmp_path, r"`weight` is not set for .*llama-0")
    conditions = {"parameters": {"weight": [{"filter": "mlp", "value": 1.0}]}}
    filtered = recipe(llamas) | {"models": [{"model": llamas[1], **conditions}]}
    refused(filtered, tmp_path, r"`weight` is not set for .* \(tensor model.embed_tokens.weight\)")


def test_slices(llamas: list[str], tmp_path: Path) -> None:
    def sliced(*ranges: tuple, **more) -> dict:
        sources = [{"model": path, "layer_range": list(layers)} for path, layers in zip(llamas, ranges, strict=False)]
        return {"merge_method": "linear", "slices": [{"sources": sources}], "parameters": {"weight": 1.0}} | more

    refused(sliced((0, 4)), tmp_path, r"merge.yaml:\d+: layer_range \[0, 4\]: .* has 3 layers")
    refused(sliced((0, 2), (0, 3)), tmp_path, "must have the same number of layers")
    refused(sliced((2, 1)), tmp_path, "must run upwards")
    refused(
        sliced((0, 1), merge_method="ties", base_model=llamas[1]), tmp_path, "is not among the sources of the slice"
    )
    residual = sliced((0, 1))
    residual["slices"][0]["residual_weight"] = 0.5
    refused(residual, tmp_path, r"merge.yaml:\d+: `residual_weight` is not supported")
    mapped = {"merge_method": "linear", "modules": {"decoder": {"models": [{"model": llamas[0]}]}}}
    refused(mapped, tmp_path, r"merge.yaml:\d+: module 'decoder' means 0 of")


def test_missing_tensor_and_shard(llamas: list[str], tmp_path: Path) -> None:
    config = json.loads((Path(llamas[1]) / "config.json").read_text())
    tensors = tensors_of(Path(llamas[1]))
    less = {name: tensor for name, tensor in tensors.items() if name != "model.layers.1.mlp.up_proj.weight"}
    broken = plain(tmp_path / "less", less, config)
    refused(recipe([*llamas[:2], str(broken)]), tmp_path, "'model.layers.1.mlp.up_proj.weight' is in .* but not in")
    loose = {name: tensor for name, tensor in tensors.items() if name != "model.norm.weight"}
    refused(recipe([*llamas[:2], str(plain(tmp_path / "loose", loose, config))]), tmp_path, "'model.norm.weight' is in")
    more = plain(tmp_path / "more", tensors | {"model.extra.weight": torch.ones(2)}, config)
    refused(recipe([*llamas[:2], str(more)]), tmp_path, "'model.extra.weight' is in .*more but not in")
    file = broken / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(
        recipe([*llamas[:2], str(broken)]), tmp_path, r"less/model.safetensors: truncated: the last tensor \('model"
    )
    file.rename(broken / "part.safetensors")
    index = {"weight_map": {"w": "model-00001-of-00002.safetensors"}}
    (broken / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(recipe([*llamas[:2], str(broken)]), tmp_path, "model-00001-of-00002.safetensors: No such file")
    for path in broken.glob("*.safetensors*"):
        path.unlink()
    (broken / "pytorch_model.bin").write_bytes(b"pickle")
    refused(recipe([*llamas[:2], str(broken)]), tmp_path, "only pickled weights")


def test_tensors_that_are_no_numbers(tmp_path: Path) -> None:
    ones = torch.ones(3)
    a = plain(tmp_path / "a", {"w": ones, "count": torch.tensor([1])})
    b = plain(tmp_path / "b", {"w": ones, "count": torch.tensor([2])})
    config = {
        "merge_method": "linear",
        "models": [{"model": str(path), "parameters": {"weight": 1}} for path in (a, b)],
    }
    with pytest.raises(UserError, match=r"'count' \(I64\) differs between the models"):
        merge(config, tmp_path / "out", progress=False)
    plain(b, {"w": ones.double(), "count": torch.tensor([1])})
    with pytest.raises(UserError, match="F64"):
        plan(config)
    plain(b, {"w": ones.to(torch.float8_e4m3fn), "count": torch.tensor([1])})
    with pytest.raises(UserError, match="F8_E4M3"):
        plan(config)


@pytest.mark.parametrize("size", ["0", "five", "-1GB", "5 parsec"])
def test_shard_size(size: str, llamas: list[str]) -> None:
    with pytest.raises(UserError, match="shard_size"):
        plan(recipe(llamas), shard_size=size)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_device(device: str, llamas: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be used"):
        merge(recipe(llamas), tmp_path / "out", device=device, progress=False)


def test_disk_full(llamas: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, nothing under the final name, and what is finished is kept for the next try."""
    import errno
    import os

    real, written = os.pwrite, []

    def full(handle: int, data: bytes, offset: int) -> int:
        written.append(len(data))
        if len(written) > 25:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(BurnishError, match="the disk is full; free some space") as error:
        merge(recipe(llamas), tmp_path / "out", shard_size="20KB", threads=1, progress=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
    kept = list((tmp_path / ".out.merging").glob("*.safetensors"))
    monkeypatch.undo()
    assert kept
    assert merge(recipe(llamas), tmp_path / "out", shard_size="20KB", progress=False).exists()


def test_plan_is_json(llamas: list[str]) -> None:
    made = plan(recipe(llamas), shard_size="20KB")
    data = json.loads(json.dumps(made.to_json()))
    assert data["writes"] == sum(shard.nbytes for shard in made.shards)
    assert {"method", "memory", "time", "reads", "writes"} <= {what for what, _ in made.describe()}
    assert len(data["steps"]) == 30
    assert data["steps"][0]["reads"][1]["model"] == llamas[1]


@pytest.mark.parametrize(
    ("method", "name", "value", "message"),
    [
        ("ties", "density", 1.5, "density: expected a number from 0 to 1, got 1.5"),
        ("ties", "density", [0.5, -0.1], "density: expected a number from 0 to 1, got -0.1"),
        ("della", "epsilon", -0.1, "epsilon: expected a number from 0 to 1"),
        ("breadcrumbs", "gamma", 2, "gamma: expected a number from 0 to 1"),
        ("ties", "weight", 10**400, "weight: expected a finite number, got 1000"),
        ("ties", "weight", float("inf"), "weight: expected a finite number"),
        ("slerp", "t", 1.1, "t: expected a number from 0 to 1"),
        ("nearswap", "t", -1.0, "t: expected a number of 0 or more"),
        ("sce", "select_topk", 7, "select_topk: expected a number from 0 to 1"),
        ("karcher", "max_iter", 0, "max_iter: expected a whole number of 1 or more"),
        ("regmean", "input_axis", 2, "input_axis: expected a whole number from 0 to 1"),
    ],
)
def test_range(method: str, name: str, value: object, message: str, llamas: list[str], tmp_path: Path) -> None:
    models = [{"model": path} for path in llamas]
    config = {"merge_method": method, "base_model": llamas[0], "models": models, "parameters": {name: value}}
    refused(config, tmp_path, rf"merge.yaml:\d+: {message}")


@pytest.mark.parametrize(
    "vocabulary",
    [{}, [], [["a"]], [["a", 0.0, 1]], [[1, 0.0]], {"a": 99999999999}, {"a": True}, {"a": -1}],
    ids=["empty", "empty list", "short", "long", "no text", "huge", "bool", "negative"],
)
def test_damaged_vocabulary(vocabulary: object, tmp_path: Path) -> None:
    path = family(tmp_path, "llama", 1)[0]
    (path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": []}}))
    config = {"merge_method": "linear", "models": [{"model": str(path)}], "tokenizer_source": "base"}
    refused(config | {"parameters": {"weight": 1.0}}, tmp_path, "tokenizer.json: not a tokenizer that can be read")


@pytest.mark.parametrize("name", ["a" * 300, "org/" + "a" * 300, "a" * 300 + "+" + "b" * 300])
def test_a_name_that_no_file_system_takes(name: str, tmp_path: Path) -> None:
    refused({"merge_method": "passthrough", "models": [{"model": name}]}, tmp_path, "hub id")


class TestStatistics:
    def test_regmean_and_fisher_from_text(self, tmp_path: Path) -> None:
        paths = family(tmp_path, "llama", 3)
        text = tmp_path / "text.jsonl"
        text.write_text("\n".join(json.dumps({"text": f"w{n} w{n + 1} w{n * 2}"}) for n in range(8)))
        for kind, method in (("gram", "regmean"), ("fisher", "fisher")):
            models = []
            for path in paths[1:]:
                word_tokenizer(path, ["<unk>", *(f"w{n}" for n in range(63))])
                file = collect_statistics(path, text, tmp_path / f"{kind}-{path.name}.safetensors", kind=kind, limit=4)
                models.append({"model": str(path), "statistics": str(file)})
            out = merge({"merge_method": method, "models": models}, tmp_path / method, progress=False)
            a, b, c = (tensors_of(path) for path in (*paths[1:], out))
            name = "model.layers.1.mlp.up_proj.weight"
            assert not torch.allclose(c[name], (a[name] + b[name]) / 2, atol=1e-6)
            assert c[name].isfinite().all()

    def test_gram_is_the_mean_outer_product(self, tmp_path: Path) -> None:
        """Of a ViT's first layer: images in, forward passes only, names as in the file."""
        import numpy as np
        from PIL import Image

        path = family(tmp_path, "vit", 1)[0]
        processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
        (path / "preprocessor_config.json").write_text(json.dumps(processor))
        (tmp_path / "pictures").mkdir()
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
        found = tensors_of(collect_statistics(path, tmp_path / "pictures", tmp_path / "gram", limit=3).parent)
        gram = found["vit.encoder.layer.0.attention.attention.query.weight"]
        assert gram.shape == (32, 32)
        torch.testing.assert_close(gram, gram.T)
        assert (torch.linalg.eigvalsh(gram) > -1e-4).all()

    def test_refusals(self, tmp_path: Path) -> None:
        path = family(tmp_path, "llama", 1)[0]
        word_tokenizer(path, ["<unk>", "w"])
        (tmp_path / "empty.txt").write_text("\n\n")
        (tmp_path / "bad.jsonl").write_text('{"txt": 1}\n')
        for data, kind, message in (
            ("empty.txt", "gram", "no example"),
            ("bad.jsonl", "gram", r"bad.jsonl:1: expected a JSON object with `text`"),
            ("none.txt", "gram", "cannot be read"),
            ("empty.txt", "hessian", "none of gram, fisher"),
        ):
            with pytest.raises(UserError, match=message):
                collect_statistics(path, tmp_path / data, tmp_path / "out", kind=kind)


class TestArchitecture:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}, "`num_attention_heads` is 2, in"),
            ({"rope_theta": 5e5}, "`rope_theta` is 500000.0, in .*10000.0"),
            ({"rope_parameters": {"rope_theta": 5e5}}, "`rope_theta` is 500000.0, in"),
            ({"hidden_act": "gelu"}, "`hidden_act` is 'gelu', in .* 'silu'"),
            ({"model_type": "mistral"}, "`model_type` is 'mistral'"),
        ],
    )
    def test_equal_shapes_do_not_make_equal_models(
        self, changes: dict, message: str, llamas: list[str], tmp_path: Path
    ) -> None:
        config = json.loads((Path(llamas[1]) / "config.json").read_text())
        changed = {
            key: value for key, value in config.items() if not (key == "rope_parameters" and "rope_theta" in changes)
        }
        other = plain(tmp_path / "other", tensors_of(Path(llamas[1])), changed | changes)
        refused(recipe([llamas[0], str(other)]), tmp_path, message + ".*different architectures")

    def test_what_may_differ(self, llamas: list[str], tmp_path: Path) -> None:
        config = json.loads((Path(llamas[1]) / "config.json").read_text())
        more = {"use_cache": False, "max_position_embeddings": 4096, "attention_dropout": 0.1, "dtype": "float16"}
        more |= {"num_labels": 7, "transformers_version": "4.0.0", "_name_or_path": "x", "eos_token_id": 9}
        plan(recipe([llamas[0], str(plain(tmp_path / "other", tensors_of(Path(llamas[1])), config | more))]))

    def test_parts_of_a_config(self, tmp_path: Path) -> None:
        paths = [
            plain(tmp_path / str(heads), {"w": torch.ones(2)}, {"vision_config": {"num_heads": heads}})
            for heads in (2, 4)
        ]
        config = {"merge_method": "linear", "models": [{"model": str(path)} for path in paths]}
        refused(config | {"parameters": {"weight": 1.0}}, tmp_path, "`vision_config.num_heads` is 4, in")

    def test_empty_config(self, tmp_path: Path) -> None:
        path = plain(tmp_path / "m", {"w": torch.ones(2)})
        (path / "config.json").write_text("{}")
        refused({"merge_method": "passthrough", "models": [{"model": str(path)}]}, tmp_path, "config.json: is empty")
