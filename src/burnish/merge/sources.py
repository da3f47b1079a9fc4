"""The models that go in: their tensors by name, whatever file, prefix, tie or adapter each comes from.

Knows the Hugging Face layout and PEFT's LoRA files. Reads headers and small JSON only; the engine reads the weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.core.files import read_json
from burnish.core.models import read_config, resolve
from burnish.merge.architecture import Layout, infer_layout, is_head
from burnish.merge.reference import Reference
from burnish.merge.safetensors_file import TensorInfo, read_header


@dataclass(frozen=True)
class LoraDelta:
    """A low-rank addition to one weight: `scale * B @ A`, transposed where the layer stores (in, out).

    Attributes:
        a: the file entry of A (rank, in).
        b: the file entry of B (out, rank).
        scale: lora_alpha / r, or / sqrt(r) for rank-stabilised adapters.
        transpose: the weight is (in, out): GPT-2's Conv1D, and embeddings.
    """

    a: TensorInfo
    b: TensorInfo
    scale: float
    transpose: bool

    @property
    def halves(self) -> tuple[TensorInfo, ...]:
        """What is read for it."""
        return (self.a, self.b)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight that it fits."""
        out_in = (self.b.shape[0], self.a.shape[1])
        return out_in[::-1] if self.transpose else out_in


@dataclass(frozen=True)
class Source:
    """A tensor as it enters the merge: its bytes, and the adapter's part if there is one."""

    info: TensorInfo
    lora: LoraDelta | None = None


class Checkpoint:
    """A model folder (and perhaps an adapter's) whose headers are read and checked.

    Raises:
        UserError: no such model, a missing or damaged shard, pickled weights, an adapter that cannot be applied.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.folder = resolve(reference.model)
        self.config = read_config(self.folder)
        self.tensors = _tensors(self.folder)
        self.deltas: dict[str, LoraDelta] = {}
        if reference.lora:
            self.deltas, replaced = _adapter(resolve(reference.lora), self.tensors, tied=self.tied)
            self.tensors = {**self.tensors, **replaced}

    @cached_property
    def layout(self) -> Layout:
        """Blocks, embeddings and head."""
        return infer_layout(self.tensors, self.config)

    @property
    def tied(self) -> bool:
        """Whether the head is the input embedding."""
        text = self.config.get("text_config")
        nested = text.get("tie_word_embeddings") if isinstance(text, dict) else None
        # transformers ties by default; a config leaves out what is default.
        return bool(self.config.get("tie_word_embeddings", True if nested is None else nested))

    def find(self, name: str) -> Source | None:
        """The tensor of that name, also under a prefix more or less (`transformer.h.0` and `h.0`), or the tied one."""
        first, _, rest = name.partition(".")
        candidates = [name, rest, *(f"{prefix}.{name}" for prefix in self._prefixes if prefix != first)]
        for candidate in candidates:
            if candidate in self.tensors:
                return Source(self.tensors[candidate], self.deltas.get(candidate))
        if is_head(name) and self.tied and len(self.layout.embeddings) == 1:
            embedding = self.layout.embeddings[0]
            return Source(self.tensors[embedding], self.deltas.get(embedding))
        return None

    @cached_property
    def _prefixes(self) -> list[str]:
        return sorted({name.partition(".")[0] for name in self.tensors})


def _tensors(folder: Path) -> dict[str, TensorInfo]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return read_header(single)
    if not index.is_file():
        files = sorted(folder.glob("*.safetensors"))
        if len(files) == 1:
            return read_header(files[0])
        raise UserError(f"{folder}: no model.safetensors and no index of shards; a model is in the Hugging Face layout")
    data = read_json(index)
    weight_map = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise UserError(f"{index}: no `weight_map` from tensors to files; the index is damaged")
    shards = {}
    for file in sorted(set(weight_map.values())):
        if Path(file).name != file:
            raise UserError(f"{index}: shard {file!r} lies outside the model's folder")
        shards[file] = read_header(folder / file)
    missing = next((name for name, file in weight_map.items() if name not in shards[file]), None)
    if missing is not None:
        raise UserError(f"{index}: tensor {missing!r} is not in {weight_map[missing]}; the download is incomplete")
    return {name: shards[file][name] for name, file in weight_map.items()}


def _adapter(
    folder: Path, tensors: Mapping[str, TensorInfo], *, tied: bool
) -> tuple[dict[str, LoraDelta], dict[str, TensorInfo]]:
    """What an adapter adds to weights, and what it replaces whole (`modules_to_save`, and the layers' own biases)."""
    config = _adapter_config(folder)
    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        raise UserError(f"{folder}: no adapter_model.safetensors; save the adapter again with safe serialization")
    modules: dict[str, dict[str, TensorInfo]] = {}
    replaced: dict[str, TensorInfo] = {}
    for name, info in read_header(file).items():
        bare = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
        if match := re.fullmatch(r"(.+)\.lora_(embedding_)?([AB])(?:\.default)?(?:\.weight)?", bare):
            parts = modules.setdefault(match[1], {})
            parts[match[3]] = info
            if match[2]:
                parts["embedding"] = info
        else:
            target = bare.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")
            if not _follows_embedding(config, target, tensors, tied):
                replaced[_target(folder, target, tensors)] = info
    if config.get("bias", "none") != "none" and not any(name.endswith("bias") for name in replaced):
        raise UserError(f"{folder}: bias: {config['bias']}, but no bias is in the file; merge it with merge_and_unload")
    deltas: dict[str, LoraDelta] = {}
    for module, parts in modules.items():
        if not _follows_embedding(config, f"{module}.weight", tensors, tied):
            weight, delta = _module_delta(file, config, module, parts, tensors)
            deltas[weight] = delta
    return deltas, replaced


def _module_delta(
    file: Path, config: dict[str, Any], module: str, parts: dict[str, TensorInfo], tensors: Mapping[str, TensorInfo]
) -> tuple[str, LoraDelta]:
    """The weight that a module's two halves change, and what they add to it."""
    if "A" not in parts or "B" not in parts:
        raise UserError(f"{file}: {module}: one of lora_A and lora_B is missing; the adapter is incomplete")
    weight = _target(file.parent, f"{module}.weight", tensors)
    delta = _delta(config, module, parts)
    shapes = parts["A"].shape, parts["B"].shape
    if any(len(shape) != 2 for shape in shapes) or shapes[0][0] != shapes[1][1]:
        raise UserError(f"{file}: {module}: lora_A {shapes[0]} and lora_B {shapes[1]} do not fit together")
    if delta.shape != tensors[weight].shape:
        raise UserError(f"{file}: {module}: the adapter is {delta.shape}, {weight} is {tensors[weight].shape}")
    return weight, delta


def _follows_embedding(config: Mapping[str, Any], name: str, tensors: Mapping[str, TensorInfo], tied: bool) -> bool:
    """Whether a tied head's part of an adapter only says again what the embedding's says."""
    return bool(config.get("ensure_weight_tying")) and tied and is_head(name) and name not in tensors


def _adapter_config(folder: Path) -> dict[str, Any]:
    """An adapter's settings.

    Raises:
        UserError: none that can be read, or of a kind that is not plain LoRA.
    """
    config = read_json(folder / "adapter_config.json")
    if not isinstance(config, dict):
        raise UserError(f"{folder}: no readable adapter_config.json; a LoRA adapter is a PEFT folder")
    if config.get("peft_type") != "LORA":
        raise UserError(f"{folder}: adapter type {config.get('peft_type')} is not supported, only LORA")
    for key, name in (("use_dora", "DoRA"), ("use_qalora", "QALoRA"), ("alora_invocation_tokens", "aLoRA")):
        if config.get(key):
            raise UserError(f"{folder}: {name} ({key}) is not supported; merge it with PEFT's merge_and_unload first")
    if config.get("lora_bias"):
        raise UserError(f"{folder}: lora_bias is not supported; merge it with merge_and_unload first")
    return config


def _target(folder: Path, name: str, tensors: Mapping[str, TensorInfo]) -> str:
    candidates: Iterable[str] = (name, f"model.{name}", name.partition(".")[2])
    found = next((candidate for candidate in candidates if candidate in tensors), None)
    if found is None:
        raise UserError(
            f"{folder}: the adapter changes {name!r}, which the model does not have; is it for another one?"
        )
    return found


def _delta(config: dict[str, Any], module: str, pair: dict[str, TensorInfo]) -> LoraDelta:
    rank = _by_pattern(config.get("rank_pattern"), module, config.get("r"))
    alpha = _by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha"))
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise UserError(f"{pair['A'].path.parent}: adapter_config.json: r and lora_alpha must be numbers, r 1 or more")
    scale = alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
    return LoraDelta(pair["A"], pair["B"], scale, bool(config.get("fan_in_fan_out")) or "embedding" in pair)


def _by_pattern(patterns: Any, module: str, default: Any) -> Any:
    """PEFT's rule: a pattern is a regular expression for the end of the module's name."""
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return default
