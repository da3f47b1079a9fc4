"""`config.json` of the result: the reference model's, with the numbers that the merge changed. Pure dictionaries."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from burnish.merge.safetensors_file import DTYPE_NAME
from burnish.merge.selection import Part
from burnish.merge.steps import MergePlan
from burnish.merge.vocabulary import Vocabulary


def merged_config(plan: MergePlan) -> dict[str, Any]:
    """The reference's config with layer counts, per-layer lists, vocabulary size, dtype and ties of the result."""
    config = copy.deepcopy(plan.checkpoints[0].config)
    for part in plan.selection.parts:
        _set_layers(config, part)
    names = {step.name: step for step in plan.steps}
    if plan.vocabulary:
        _set_vocabulary(config, plan.vocabulary, plan.checkpoints[plan.vocabulary.donor].config)
    dtype = _dtype(plan)
    for level in _levels(config):
        for key in ("dtype", "torch_dtype"):
            if key in level:
                level[key] = dtype
    if "dtype" not in config and "torch_dtype" not in config:
        config["dtype"] = dtype
    # A head that was merged on its own must not be overwritten by the embedding on loading.
    reference = plan.checkpoints[0]
    if reference.tied and any(name in names and name not in reference.tensors for name in _heads(plan)):
        for level in _levels(config):
            if "tie_word_embeddings" in level or level is config:
                level["tie_word_embeddings"] = False
    config.pop("quantization_config", None)
    config.pop("_name_or_path", None)
    return config


def _set_vocabulary(config: dict[str, Any], vocabulary: Vocabulary, donor: Mapping[str, Any]) -> None:
    """Its size, and the numbers of special tokens, at every level of the config."""
    owner, _ = _owner(config, "vocab_size")
    owner["vocab_size"] = vocabulary.rows
    set_token_ids(config, donor, vocabulary, model=0)
    for name, value in config.items():
        if name.endswith("_config") and isinstance(value, dict):
            given = donor.get(name)
            set_token_ids(value, given if isinstance(given, dict) else {}, vocabulary, model=0)


def set_token_ids(settings: dict[str, Any], donor: Mapping[str, Any], vocabulary: Vocabulary, model: int) -> None:
    """Make `eos_token_id` and its like mean the merged tokenizer's tokens.

    Args:
        settings: a model's settings, changed in place.
        donor: the same settings of the model that gives the tokenizer: its word counts.
        vocabulary: finds what the donor leaves open by the token's text.
        model: whose settings they are.
    """
    if model == vocabulary.donor:
        return

    def translated(value: Any) -> Any:
        if isinstance(value, list):
            return [new for old in value if (new := translated(old)) is not None]
        return vocabulary.translated(model, value) if isinstance(value, int) else value

    for key in sorted({*settings, *(key for key, value in donor.items() if value is not None)}):
        if key.endswith(("_token_id", "_token_index")):
            settings[key] = translated(settings[key]) if donor.get(key) is None else donor[key]


def _heads(plan: MergePlan) -> set[str]:
    return {name for checkpoint in plan.checkpoints for name in checkpoint.layout.heads}


def _levels(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [config, *(value for key, value in config.items() if key.endswith("_config") and isinstance(value, dict))]


def _owner(config: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """The part of the config that a key (dotted, or one that a language part may hold) lies in."""
    if "." in key:
        part, inner = key.split(".", 1)
        return config[part], inner
    text = config.get("text_config")
    if key not in config and isinstance(text, dict):
        return text, key
    return config, key


def _set_layers(config: dict[str, Any], part: Part) -> None:
    before, layers = len(part.stack), part.layers
    if part.stack.count_key is None:
        return
    owner, key = _owner(config, part.stack.count_key)
    owner[key] = len(layers)
    for name, value in owner.items():
        # `layer_types` and its like hold one entry a layer; they follow the layers.
        if isinstance(value, list) and len(value) == before and _per_layer(name):
            owner[name] = [value[layer] for layer in layers]


def _per_layer(name: str) -> bool:
    return "layer" in name or name.endswith(("_types", "_pattern"))


def _dtype(plan: MergePlan) -> str:
    sizes: dict[str, int] = {}
    for step in plan.steps:
        if step.dtype in DTYPE_NAME:
            sizes[step.dtype] = sizes.get(step.dtype, 0) + step.nbytes
    return DTYPE_NAME[max(sizes, key=lambda code: sizes[code])] if sizes else "float32"
