"""What goes in: adapters, vision-language and unknown models, padded vocabularies, other layouts, and damaged files."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.merge import merge, plan
from burnish.merge.architecture import infer_layout
from burnish.merge.safetensors_file import read_header

from .checkpoints import family, plain, tensors_of, word_tokenizer


def average(*paths, **more) -> dict:
    models = [{"model": str(path), "parameters": {"weight": 0.5}} for path in paths]
    return {"merge_method": "linear", "models": models, **more}


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adapter_on_the_fly_is_peft_merged(kind: str, rslora: bool, tmp_path: Path) -> None:
    import peft

    base, other = family(tmp_path, kind, 2)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    targets = ["q_proj", "down_proj"] if kind == "llama" else ["c_attn", "mlp.c_proj"]
    lora = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=targets, use_rslora=rslora, fan_in_fan_out=kind == "gpt2",
        rank_pattern={targets[1]: 2}, alpha_pattern={targets[1]: 3},
        modules_to_save=["lm_head"] if kind == "llama" else None,
    )  # fmt: skip
    adapted = peft.get_peft_model(model, lora)
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    ours = tensors_of(merge(average(f"{base}+{tmp_path / 'adapter'}", other), tmp_path / "ours", progress=False))
    expected = tensors_of(merge(average(tmp_path / "merged", other), tmp_path / "expected", progress=False))
    assert set(ours) == set(expected)
    for name in expected:
        torch.testing.assert_close(ours[name], expected[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "LOHA"}, "only LORA"),
        ({"bias": "all"}, "bias: all"),
        ({"lora_bias": True}, "lora_bias"),
        ({"r": 0}, "r and lora_alpha"),
    ],
)
def test_adapter_that_cannot_be_applied(changes: dict, message: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = plain(tmp_path / "m", {"layers.0.q.weight": torch.ones(4, 3)})
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    halves = {"lora_A.weight": torch.ones(2, 3), "lora_B.weight": torch.ones(4, 2)}
    save_file(
        {f"base_model.model.layers.0.q.{key}": value for key, value in halves.items()},
        adapter / "adapter_model.safetensors",
    )
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4} | changes
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        plan(average(f"{model}+{adapter}", model))


def test_vision_language_model(tmp_path: Path) -> None:
    """LLaVA: two stacks found by name, gradients along each, and the language layers sliced under `modules`."""
    vision = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14
    )
    text = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, vocab_size=40
    )
    config = transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_index=39)
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        transformers.LlavaForConditionalGeneration(config).save_pretrained(tmp_path / str(seed))
        paths.append(str(tmp_path / str(seed)))
    made = plan(average(*paths))
    assert [len(part.layers) for part in made.selection.parts] in ([3, 2], [2, 3])
    out = merge(average(*paths), tmp_path / "out", progress=False)
    a, b, c = tensors_of(Path(paths[0])), tensors_of(Path(paths[1])), tensors_of(out)
    assert set(a) == set(c)
    for name in c:
        torch.testing.assert_close(c[name], (a[name] + b[name]) / 2)
    slices = [
        {"sources": [{"model": paths[0], "layer_range": [0, 3]}]},
        {"sources": [{"model": paths[1], "layer_range": [2, 3]}]},
    ]
    modules = {"text_decoder": {"slices": slices}, "vision_tower": {"models": [{"model": paths[0]}]}}
    franken = merge({"merge_method": "passthrough", "modules": modules}, tmp_path / "franken", progress=False)
    model = transformers.AutoModelForImageTextToText.from_pretrained(franken)
    assert model.config.text_config.num_hidden_layers == 4
    assert model.config.vision_config.num_hidden_layers == 2
    head = next(name for name in b if name.endswith("lm_head.weight"))
    assert torch.equal(model.lm_head.weight, b[head])
    with pytest.raises(UserError, match="name them under `modules`"):
        plan({"merge_method": "passthrough", "slices": slices})
    with pytest.raises(UserError, match="leaves out"):
        plan({"merge_method": "passthrough", "modules": {"text_decoder": {"slices": slices}}})


def test_invented_architecture(tmp_path: Path) -> None:
    """Nobody wrote a description of this one: the blocks are read off the names, the count off the config."""
    names = [f"trunk.cells.{layer}.{part}" for layer in range(12) for part in ("mix.w", "mix.b", "gate.w")]
    config = {"model_type": "fern", "depth": 12, "cell_types": ["a", "b"] * 6, "hidden": 4}
    paths = []
    for value in (0.0, 1.0):
        tensors = {name: torch.full((4,), value) for name in [*names, "stem.w", "final.norm.w", "counter"]}
        tensors["counter"] = torch.tensor([7])
        paths.append(plain(tmp_path / str(value), tensors, config))
    models = [{"model": str(paths[0])}, {"model": str(paths[1]), "parameters": {"weight": [0, 11]}}]
    recipe = {"merge_method": "task_arithmetic", "base_model": str(paths[0]), "models": models}
    out = tensors_of(merge(recipe, tmp_path / "out", progress=False))
    assert [float(out[f"trunk.cells.{layer}.gate.w"][0]) for layer in range(12)] == list(range(12))
    assert out["counter"].tolist() == [7]
    slices = [{"sources": [{"model": str(paths[1]), "layer_range": [3, 6]}]}]
    sliced = merge({"merge_method": "passthrough", "slices": slices}, tmp_path / "sliced", progress=False)
    found = json.loads((sliced / "config.json").read_text())
    assert (found["depth"], found["cell_types"]) == (3, ["b", "a", "b"])


def test_layout() -> None:
    layout = infer_layout(
        [
            *(
                "shared.weight",
                "encoder.block.0.layer.0.q.weight",
                "encoder.block.1.layer.0.q.weight",
                "lm_head.weight",
            ),
            *("decoder.block.0.layer.0.q.weight", "decoder.final_layer_norm.weight"),
            *("projector.0.weight", "projector.2.weight"),
        ],
        {"vocab_size": 8, "num_layers": 2, "num_decoder_layers": 1},
    )
    assert [(stack.prefix, len(stack), stack.count_key) for stack in layout.stacks] == [
        ("decoder.block", 1, "num_decoder_layers"),
        ("encoder.block", 2, "num_layers"),
    ]
    assert (layout.embeddings, layout.heads) == (("shared.weight",), ("lm_head.weight",))
    assert "projector.2.weight" in layout.loose
    with pytest.raises(UserError, match="not numbered"):
        infer_layout(["h.0.a.w", "h.2.a.w"], {})


def test_prefix_more_or_less(tmp_path: Path) -> None:
    """GPT-2 is saved with `transformer.` in front by one class and without by another."""
    long, short = family(tmp_path, "gpt2", 2)
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors_of(short).items()}
    plain(short, tensors, json.loads((short / "config.json").read_text()))
    out = tensors_of(merge(average(long, short), tmp_path / "out", progress=False))
    assert set(out) == set(tensors_of(long))


def test_tied_and_untied_heads_meet(tmp_path: Path) -> None:
    """The tied model's head is its embedding; the result has a head of its own and says so."""
    tied = family(tmp_path / "a", "llama", 1, tie_word_embeddings=True)[0]
    untied = family(tmp_path / "b", "llama", 1)[0]
    a, b = tensors_of(tied), tensors_of(untied)
    for number, pair in enumerate(([tied, untied], [untied, tied])):
        out = merge(average(*pair), tmp_path / str(number), progress=False)
        expected = (a["model.embed_tokens.weight"] + b["lm_head.weight"]) / 2
        torch.testing.assert_close(tensors_of(out)["lm_head.weight"], expected)
        model = transformers.AutoModelForCausalLM.from_pretrained(out)
        torch.testing.assert_close(model.lm_head.weight.detach(), expected)


def test_padded_vocabulary_is_kept(tmp_path: Path) -> None:
    """mergekit cuts the rows beyond the tokenizer, and with them what a serving stack relies on."""
    words = ["<unk>", *(f"w{n}" for n in range(49))]
    paths = family(tmp_path, "llama", 2, vocab_size=64)
    word_tokenizer(paths[0], words)
    word_tokenizer(paths[1], [*words, "extra"])
    for number, source in enumerate(("base", "union")):
        out = merge(average(*paths, tokenizer_source=source), tmp_path / f"out{number}", progress=False)
        a, b, c = (tensors_of(path)["model.embed_tokens.weight"] for path in (*paths, out))
        assert c.shape == (64, 32)
        torch.testing.assert_close(c[:50], (a[:50] + b[:50]) / 2)
        torch.testing.assert_close(c[51:], (a[51:] + b[51:]) / 2)
        # Row 50: padding in the first model; a word that only the second has, once it is in the vocabulary.
        torch.testing.assert_close(c[50], a[50] if source == "base" else b[50])
        assert json.loads((out / "config.json").read_text())["vocab_size"] == 64


def test_union_of_bpe_tokenizers_does_not_cut_words(tmp_path: Path) -> None:
    """Words of the other model join the vocabulary with their merges; as added tokens they would split `xaby`."""
    from tokenizers import Tokenizer, models

    letters = {letter: index for index, letter in enumerate("abxy")}
    paths = family(tmp_path, "llama", 2, vocab_size=8)
    for path, merges in zip(paths, ([("x", "a"), ("b", "y")], [("x", "a"), ("a", "b")]), strict=True):
        vocabulary = letters | {"".join(pair): 4 + index for index, pair in enumerate(merges)}
        tokenizer = Tokenizer(models.BPE(vocabulary, merges))
        tokenizer.add_special_tokens([f"<{merges[1][0]}>"])
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(path)
    out = merge(average(*paths, tokenizer_source="union", chat_template="chatml"), tmp_path / "out", progress=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    assert tokenizer.tokenize("xaby") == ["xa", "by"]
    assert tokenizer.tokenize("ab<a>") == ["ab", "<a>"]
    assert "im_start" in tokenizer.chat_template
    assert len(tokenizer) <= len(tensors_of(out)["lm_head.weight"])


@pytest.mark.parametrize("own_settings", [True, False])
def test_special_tokens_follow_the_tokenizer(own_settings: bool, tmp_path: Path) -> None:
    """With another model's tokenizer an id of the base would be another word: generation would never stop."""
    base, other = family(tmp_path, "llama", 2, vocab_size=8)
    word_tokenizer(base, ["<unk>", "a", "b", "c", "<eos>", "<pad>"])
    word_tokenizer(other, ["<unk>", "<eos>", "c", "b", "a", "<new>"])
    for path, ids in ((base, {"eos_token_id": [4, 5], "pad_token_id": 5}), (other, {"eos_token_id": None})):
        config = json.loads((path / "config.json").read_text()) | {"bos_token_id": None, "pad_token_id": None} | ids
        (path / "config.json").write_text(json.dumps(config))
        (path / "generation_config.json").unlink(missing_ok=True)
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": 4, "max_new_tokens": 7}))
    if own_settings:
        (other / "generation_config.json").write_text(json.dumps({"eos_token_id": 5}))
        config = json.loads((other / "config.json").read_text()) | {"eos_token_id": 5}
        (other / "config.json").write_text(json.dumps(config))
    config = average(base, other, base_model=str(base), tokenizer_source=str(other))
    out = merge(config, tmp_path / "out", progress=False)
    found = json.loads((out / "config.json").read_text())
    generation = json.loads((out / "generation_config.json").read_text())
    if own_settings:
        assert (found["eos_token_id"], generation) == (5, {"eos_token_id": 5})
    else:
        assert (found["eos_token_id"], found["pad_token_id"]) == ([1], None)
        assert generation == {"eos_token_id": 1, "max_new_tokens": 7}
    kept = merge(average(base, other, base_model=str(base), tokenizer_source="union"), tmp_path / "u", progress=False)
    assert json.loads((kept / "config.json").read_text())["eos_token_id"] == [4, 5]


def damaged(kind: str, header: dict) -> bytes:
    entry = header["w"]
    if kind == "overlap":
        header["v"] = dict(entry)
    elif kind == "gap":
        entry["data_offsets"] = [4, 12]
        entry["shape"] = [2]
    elif kind == "size":
        entry["shape"] = [3]
    elif kind == "dtype":
        entry["dtype"] = "Q4"
    elif kind == "negative":
        entry["shape"] = [-2]
    text = json.dumps(header)
    if kind == "twice":
        text = text.replace("{", '{"w": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, ', 1)
    if kind == "no json":
        text = text[:-2]
    length = 2**40 if kind == "huge" else len(text)
    return struct.pack("<Q", length) + text.encode() + bytes(4 if kind == "truncated" else 8)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("overlap", "'v' overlaps"),
        ("gap", "'w' leaves a gap|'w': F32"),
        ("size", "'w': F32 of shape"),
        ("dtype", "'w': unknown dtype 'Q4'"),
        ("negative", "'w': shape"),
        ("twice", "'w' appears twice"),
        ("no json", "not JSON"),
        ("huge", "truncated or no safetensors"),
        ("truncated", "truncated: the last tensor"),
    ],
)
def test_damaged_header_names_file_and_tensor(kind: str, message: str, tmp_path: Path) -> None:
    header = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    (tmp_path / "model.safetensors").write_bytes(damaged(kind, header))
    with pytest.raises(UserError, match=message) as error:
        read_header(tmp_path / "model.safetensors")
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def refusal(call: Callable[[], object]) -> str:
    """What a call says when it refuses; any other exception is a failure of the test."""
    try:
        call()
    except UserError as error:
        return str(error)
    return ""


HEADER = json.dumps(
    {
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
    }
)
GOOD = struct.pack("<Q", len(HEADER)) + HEADER.encode() + bytes(22)


@settings(max_examples=300)
@given(
    edits=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4), cut=st.integers(0, 40)
)
def test_fuzzed_header_gives_tensors_or_one_line(edits: list, cut: int, tmp_path_factory) -> None:
    """Whatever is flipped or cut: it is read, or refused in one line."""
    content = bytearray(GOOD)
    for place, value in edits:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    path.write_bytes(bytes(content[: len(content) - cut]))
    assert "\n" not in refusal(lambda: read_header(path))


WORDS = st.sampled_from(
    ["merge_method", "models", "slices", "base_model", "parameters", "dtype", "tokenizer", "weight"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=True)
    | st.sampled_from(["ties", "linear", "a/b", "", "union"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(
    data=st.dictionaries(WORDS | st.text(max_size=5), VALUES, max_size=5),
    damage=st.text(max_size=3),
    place=st.integers(0, 200),
)
def test_fuzzed_yaml_gives_one_line(data: dict, damage: str, place: int, tmp_path_factory) -> None:
    import yaml

    text = yaml.safe_dump(data)
    text = text[:place] + damage + text[place:] + "\n"
    assert "\n" not in refusal(lambda: plan(text)).strip()
