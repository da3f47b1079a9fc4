"""Mixtures against transformers' own classes filled by hand, the dense model, and mergekit-moe where it works."""

import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

import burnish
from burnish.core.errors import UserError
from burnish.merge import moe_merge, plan
from burnish.merge.streamed import Inputs

from .checkpoints import SIZES, plain, tensors_of

LETTERS = ["w", "\u0120", *"0123456789"]  # the second is a space, as byte-level tokenizers write it
TOKENS = (torch.arange(20)[None] * 7) % 64
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (transformers.LlamaConfig, {}),
    "tied-llama": (transformers.LlamaConfig, {"tie_word_embeddings": True, "rms_norm_eps": 1e-4}),
    "qwen2": (transformers.Qwen2Config, {"tie_word_embeddings": True}),
    "qwen3": (transformers.Qwen3Config, {"head_dim": 8, "tie_word_embeddings": True}),
}


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Three models of each kind, with a tokenizer of words."""
    made: dict[str, list[Path]] = {}
    for kind, (settings, more) in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        for number in range(3):
            torch.manual_seed(number)
            sizes = SIZES | {"num_hidden_layers": 2, "num_key_value_heads": 2, **more}
            model = transformers.AutoModelForCausalLM.from_config(settings(**sizes))
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
            model.save_pretrained(folder / str(number))
            letter_tokenizer(folder / str(number))
            made.setdefault(kind, []).append(folder / str(number))
    return made


def letter_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = {letter: index for index, letter in enumerate(LETTERS)}
    tokenizer = Tokenizer(models.BPE(letters, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w", eos_token="w").save_pretrained(
        folder
    )


def recipe(paths: list[Path], mode: str, shared: bool = False, **more: Any) -> dict:
    prompts = [["w1 w2 w3", "w4 w5 w6"], ["w7 w8 w9", "w9 w5 w1"]]
    experts = [
        {"source_model": str(path), "positive_prompts": texts} for path, texts in zip(paths[1:], prompts, strict=True)
    ]
    experts[1]["negative_prompts"] = ["w2 w2 w0"]
    made = {"base_model": str(paths[0]), "experts": experts, "gate_mode": mode, **more}
    if shared:
        made["shared_experts"] = [{"source_model": str(paths[0]), "positive_prompts": ["w3 w6 w9"]}]
    return made


def load(folder: Path):
    model, report = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"], report["missing_keys"]
    assert not report["unexpected_keys"], report["unexpected_keys"]
    return model.eval()


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


@pytest.mark.parametrize("kind", ["llama", "tied-llama", "qwen3"])
def test_equal_experts_are_the_dense_model(kind: str, dense: dict[str, list[Path]], tmp_path: Path) -> None:
    """Gate values sum to one, so a mixture of one model is that model, whatever the gates."""
    base = dense[kind][0]
    config = {"base_model": str(base), "experts": [{"source_model": str(base)}] * 3, "gate_mode": "random"}
    mixture = load(moe_merge(config, tmp_path / "out", progress=False))
    torch.testing.assert_close(logits(mixture), logits(load(base)), rtol=1e-4, atol=1e-4)
    assert mixture.config.tie_word_embeddings == load(base).config.tie_word_embeddings
    assert ("lm_head.weight" in tensors_of(tmp_path / "out")) == (kind == "llama")


def test_a_layer_by_hand(dense: dict[str, list[Path]], tmp_path: Path) -> None:
    """What the loaded mixture's feed-forward part gives is the two chosen dense parts, by the gate's softmax."""
    paths = dense["qwen3"]
    config = {"base_model": str(paths[0]), "experts": [{"source_model": str(path)} for path in paths]}
    mixture = load(moe_merge(config | {"gate_mode": "random"}, tmp_path / "out", progress=False))
    states = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    gate = tensors_of(tmp_path / "out")["model.layers.1.mlp.gate.weight"]
    expected = torch.zeros_like(states)
    for row, state in enumerate(states):
        shares = (gate @ state).softmax(dim=0)
        chosen = shares.argsort(descending=True)[:2].tolist()
        for expert in chosen:
            own = tensors_of(paths[expert])
            up, down, through = (own[f"model.layers.1.mlp.{part}_proj.weight"] for part in ("up", "down", "gate"))
            inner = torch.nn.functional.silu(through @ state) * (up @ state)
            expected[row] += shares[expert] / shares[chosen].sum() * (down @ inner)
    with torch.no_grad():
        found = mixture.model.layers[1].mlp(states[None])
    torch.testing.assert_close((found[0] if isinstance(found, tuple) else found)[0], expected, rtol=1e-4, atol=1e-5)


def numbers(text: str) -> list[int]:
    return [LETTERS.index(letter) for letter in text.replace(" ", LETTERS[1])]


def hidden(paths: list[Path], texts: list[str], *, average: bool) -> torch.Tensor:
    model = load(paths[0])
    found = []
    for text in texts:
        tokens = torch.tensor([numbers(text)])
        with torch.no_grad():
            states = torch.stack(model(tokens, output_hidden_states=True).hidden_states[:-1])[:, 0]
        found.append(states.mean(dim=1) if average else states[:, -1])
    return torch.stack(found).mean(dim=0)


@pytest.mark.parametrize("mode", ["hidden", "hidden_avg", "cheap_embed"])
def test_gates_point_to_the_prompts(mode: str, dense: dict[str, list[Path]], tmp_path: Path) -> None:
    paths = dense["qwen3"]
    config = recipe(paths, mode)
    made = tensors_of(moe_merge(config, tmp_path / "out", progress=False))
    table = tensors_of(paths[0])["model.embed_tokens.weight"]

    def towards(texts: list[str]) -> torch.Tensor:
        if mode != "cheap_embed":
            return hidden(paths, texts, average=mode == "hidden_avg")
        total = table[[number for text in texts for number in numbers(text)]].sum(dim=0)
        return torch.nn.functional.normalize(total, dim=0).expand(2, -1)

    first, second = config["experts"]
    rows = [towards(first["positive_prompts"])]
    rows.append(towards(second["positive_prompts"]) - towards(second["negative_prompts"]))
    for layer in range(2):
        expected = torch.stack([torch.nn.functional.normalize(row[layer], dim=0) for row in rows])
        torch.testing.assert_close(made[f"model.layers.{layer}.mlp.gate.weight"], expected, rtol=1e-4, atol=1e-5)
    parts = tensors_of(paths[2])
    name = "model.layers.1.mlp.down_proj.weight"
    torch.testing.assert_close(made["model.layers.1.mlp.experts.1.down_proj.weight"], parts[name])
    load(tmp_path / "out")


@pytest.mark.parametrize(("kind", "shared"), [("llama", False), ("llama", True), ("qwen2", True)])
@pytest.mark.parametrize("mode", ["cheap_embed", "hidden"])
def test_as_mergekit_moe(kind: str, shared: bool, mode: str, dense: dict[str, list[Path]], tmp_path: Path) -> None:
    """As transformers loads both. mergekit's hidden states are bfloat16, ours float32."""
    pytest.importorskip("mergekit")
    from mergekit.moe.config import MoEMergeConfig
    from mergekit.options import MergeOptions
    from mergekit.scripts.moe import build

    config = recipe(dense[kind], mode, shared, dtype="float32")
    ours = load(moe_merge(config, tmp_path / "ours", progress=False)).state_dict()
    try:
        theirs_config = MoEMergeConfig.model_validate(yaml.safe_load(yaml.safe_dump(config)))
        build(theirs_config, str(tmp_path / "theirs"), MergeOptions(device="cpu", quiet=True), device="cpu")
        theirs = load(tmp_path / "theirs").state_dict()
    except (KeyError, RuntimeError, AttributeError, AssertionError, OSError) as error:
        pytest.skip(f"mergekit-moe fails here: {type(error).__name__}: {error}")
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        loose = mode == "hidden" and "gate.weight" in name
        torch.testing.assert_close(ours[name], tensor, rtol=1e-5, atol=0.03 if loose else 1e-6, msg=name)


def test_one_modules_weights_are_in_memory_at_a_time(
    dense: dict[str, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also weights that are only copied go by tiles."""
    read, most, tiles, cut = Inputs.tensor, [0], [0], Inputs.tiles
    held: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()

    def watched(self, source, device="cpu"):
        tensor = read(self, source, device)
        held.add(tensor)
        most[0] = max(most[0], len(held))
        return tensor

    monkeypatch.setattr(Inputs, "tensor", watched)

    def counted(self, info):
        for tile in cut(self, info):
            tiles.append(tile.size)
            yield tile

    monkeypatch.setattr("burnish.merge.streamed.TILE", 1024)
    monkeypatch.setattr(Inputs, "tiles", counted)
    moe_merge(recipe(dense["qwen3"], "hidden"), tmp_path / "out", progress=False)
    assert most[0] == 1
    assert max(tiles) == 1024
    largest = max(tensor.nbytes for tensor in tensors_of(dense["qwen3"][0]).values())
    assert largest > 4 * 1024


def test_noise_scale_and_residual_scale(dense: dict[str, list[Path]], tmp_path: Path) -> None:
    paths = dense["llama"]
    config = recipe(paths, "random", seed=3)
    config["experts"][0] |= {"residual_scale": 0.5}
    config["experts"][1] |= {"noise_scale": 0.1}
    one, two = (tensors_of(moe_merge(config, tmp_path / str(n), progress=False)) for n in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    first, second = tensors_of(paths[1]), tensors_of(paths[2])
    prefix = "model.layers.0.block_sparse_moe.experts"
    torch.testing.assert_close(one[f"{prefix}.0.w2.weight"], 0.5 * first["model.layers.0.mlp.down_proj.weight"])
    torch.testing.assert_close(one[f"{prefix}.0.w1.weight"], first["model.layers.0.mlp.gate_proj.weight"])
    noise = one[f"{prefix}.1.w3.weight"] - second["model.layers.0.mlp.up_proj.weight"]
    assert noise.std() == pytest.approx(0.1, rel=0.1)
    other = tensors_of(moe_merge(config | {"seed": 4}, tmp_path / "other", progress=False))
    assert not torch.equal(other[f"{prefix}.1.w3.weight"], one[f"{prefix}.1.w3.weight"])
    half = moe_merge(config | {"dtype": "bfloat16"}, tmp_path / "half", shard_size="20KB", progress=False)
    assert {tensor.dtype for tensor in tensors_of(half).values()} == {torch.bfloat16}
    assert json.loads((half / "config.json").read_text())["dtype"] == "bfloat16"
    load(half)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"experts_per_token": 3}, "2 experts are fewer than"),
        ({"gate_mode": "hiden"}, "moe.yaml:.*gate_mode"),
        ({"architecture": "qwen3"}, "moe.yaml:.*qwen3 cannot be made of llama"),
        ({"architecture": "qwen"}, "has a shared expert"),
        ({"expert": []}, "moe.yaml:.*`expert` is not a setting; did you mean"),
    ],
)
def test_what_cannot_be_mixed(changes: dict, said: str, dense: dict[str, list[Path]], tmp_path: Path) -> None:
    (tmp_path / "moe.yaml").write_text(yaml.safe_dump(recipe(dense["llama"], "random") | changes))
    with pytest.raises(UserError, match=said):
        moe_merge(tmp_path / "moe.yaml", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_mixture_is_no_merge(dense: dict[str, list[Path]], tmp_path: Path) -> None:
    (tmp_path / "moe.yaml").write_text(yaml.safe_dump(recipe(dense["llama"], "random")))
    with pytest.raises(UserError, match=r"moe.yaml:\d+: `experts` is not supported: a mixture is made by"):
        plan(tmp_path / "moe.yaml")


def test_check_and_run_point_to_the_command_of_mixtures(dense: dict[str, list[Path]], tmp_path: Path) -> None:
    (tmp_path / "moe.yaml").write_text(yaml.safe_dump(recipe(dense["llama"], "random")))
    for ask in (burnish.check, burnish.run):
        with pytest.raises(UserError, match=r"moe.yaml: a mixture of experts; it is made by `burnish merge moe .*OUT`"):
            ask(tmp_path / "moe.yaml")


def test_experts_of_another_depth(dense: dict[str, list[Path]], tmp_path: Path) -> None:
    """A deeper one would otherwise lose its last layers without a word."""
    settings = transformers.LlamaConfig(**SIZES | {"num_hidden_layers": 3, "num_key_value_heads": 2})
    transformers.LlamaForCausalLM(settings).save_pretrained(tmp_path / "deep")
    config = recipe(dense["llama"], "random")
    config["experts"][1]["source_model"] = str(tmp_path / "deep")
    with pytest.raises(UserError, match=r"deep: has 3 layers, .* 2; an expert is as deep as the base"):
        moe_merge(config, tmp_path / "out", progress=False)


def test_a_window_in_some_layers_of_qwen3(dense: dict[str, list[Path]], tmp_path: Path) -> None:
    config = json.loads((dense["qwen3"][0] / "config.json").read_text())
    window = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    base = plain(tmp_path / "base", tensors_of(dense["qwen3"][0]), config | window)
    mixture = {"base_model": str(base), "experts": [{"source_model": str(base)}] * 2, "gate_mode": "random"}
    with pytest.raises(UserError, match="use_sliding_window"):
        moe_merge(mixture, tmp_path / "out", progress=False)


def test_bfloat16_in_many_files_with_a_tied_head(tmp_path: Path) -> None:
    sizes = SIZES | {"num_hidden_layers": 2, "num_key_value_heads": 2, "tie_word_embeddings": True}
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "base", max_shard_size="20KB")
    assert len(list((tmp_path / "base").glob("*.safetensors"))) > 2
    config = {"base_model": str(tmp_path / "base"), "experts": [{"source_model": str(tmp_path / "base")}] * 2}
    mixture = load(moe_merge(config | {"gate_mode": "random"}, tmp_path / "out", progress=False)).float()
    torch.testing.assert_close(logits(mixture), logits(model.float()), rtol=1e-4, atol=1e-4)


def test_experts_of_other_kinds_and_without_prompts(dense: dict[str, list[Path]], tmp_path: Path) -> None:
    config = recipe(dense["llama"], "hidden")
    config["experts"][1]["source_model"] = str(dense["qwen2"][0])
    with pytest.raises(UserError, match="model_type"):
        moe_merge(config, tmp_path / "out", progress=False)
    config = recipe(dense["llama"], "hidden")
    del config["experts"][1]["positive_prompts"]
    with pytest.raises(UserError, match="expert 1 has no `positive_prompts`"):
        moe_merge(config, tmp_path / "out", progress=False)
