"""Tiny random checkpoints in the Hugging Face layout, several fine-tunes of one base."""

import json
import zlib
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 64}


def config_of(kind: str, **changes):
    if kind == "llama":
        return transformers.LlamaConfig(**SIZES | {"num_key_value_heads": 2, "max_position_embeddings": 64} | changes)
    if kind == "qwen2":
        return transformers.Qwen2Config(**SIZES | {"num_key_value_heads": 2, "tie_word_embeddings": True} | changes)
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 64, "n_positions": 32}
        return transformers.GPT2Config(**sizes | changes)
    if kind == "vit":
        sizes = {key: SIZES[key] for key in SIZES if key != "vocab_size"}
        return transformers.ViTConfig(**sizes | {"image_size": 16, "patch_size": 8, "num_labels": 5} | changes)
    assert kind == "t5"
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4}
    return transformers.T5Config(**sizes | {"vocab_size": 64} | changes)


CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "vit": "ViTForImageClassification",
    "t5": "T5ForConditionalGeneration",
}


def family(folder: Path, kind: str, count: int = 3, dtype: torch.dtype = torch.float32, **changes) -> list[Path]:
    """A base and fine-tunes of it: `count` folders in all."""
    generator = torch.Generator().manual_seed(zlib.crc32(kind.encode()))
    config = config_of(kind, **changes)
    torch.manual_seed(0)
    model = getattr(transformers, CLASSES[kind])(config).to(dtype)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    paths = []
    for number in range(count):
        path = folder / f"{kind}-{number}"
        scale = 0.0 if number == 0 else 0.02
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                # Biases and norms are constant in a fresh model; noise makes every tensor tell.
                noise = torch.randn(base[name].shape, generator=generator)
                tensor.copy_(base[name] + (scale * noise).to(dtype))
        if number == 0:
            base = {
                name: tensor + 0.05 * torch.randn(tensor.shape, generator=generator).to(dtype)
                for name, tensor in model.state_dict().items()
            }
            with torch.no_grad():
                for name, tensor in model.state_dict().items():
                    tensor.copy_(base[name])
            base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.save_pretrained(path)
        paths.append(path)
    return paths


def plain(folder: Path, tensors: dict, config: dict | None = None) -> Path:
    """A checkpoint straight from tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: torch.as_tensor(value).contiguous() for name, value in tensors.items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps(config or {"model_type": "invented", "architectures": ["Invented"]}))
    return folder


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found


def word_tokenizer(folder: Path, words: list[str], special: tuple[str, ...] = ()) -> None:
    """A word-level tokenizer whose ids are the places in `words`; special tokens follow."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=words[0])
    fast.save_pretrained(folder)
