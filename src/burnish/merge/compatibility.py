"""Whether models with equal shapes mean the same by them: what `config.json` says that no tensor shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.core.errors import UserError
from burnish.merge.sources import Checkpoint

# What decides how weights are used. Everything else (dtype, lengths, labels, dropout, versions) may differ.
_DECISIVE = (
    "model_type", "num_attention_heads", "num_key_value_heads", "n_head", "num_heads", "n_heads", "head_dim",
    "encoder_attention_heads", "decoder_attention_heads", "hidden_act", "hidden_activation", "activation_function",
    "feed_forward_proj", "rope_theta", "partial_rotary_factor", "num_experts_per_tok", "patch_size",
    "attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar", "position_embedding_type",
    "is_encoder_decoder",
)  # fmt: skip


def check_alike(checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse models of different architectures, also where every tensor has the same shape.

    Raises:
        UserError: the key of `config.json` that differs, and the two values.
    """
    reference = checkpoints[0]
    if not reference.config:
        raise UserError(f"{reference.folder}/config.json: is empty; the result's config is made from it")
    expected = _decisive(reference.config)
    for checkpoint in checkpoints[1:]:
        for key, value in _decisive(checkpoint.config).items():
            # A key that one config leaves out has its default there, which only the model's code knows.
            if key in expected and expected[key] != value:
                raise UserError(
                    f"{checkpoint.reference}: `{key}` is {value!r}, in {reference.reference} {expected[key]!r}: "
                    "different architectures cannot be merged"
                )


def _decisive(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The deciding settings of a config and its parts, by dotted key."""
    rope = config.get("rope_parameters")
    # transformers 5 keeps under `rope_parameters` what was beside it before.
    flat = {**(rope if isinstance(rope, Mapping) else {}), **config}
    found = {f"{prefix}{key}": flat[key] for key in _DECISIVE if flat.get(key) is not None}
    for key, value in config.items():
        if key.endswith("_config") and key != "quantization_config" and isinstance(value, Mapping):
            found |= _decisive(value, f"{prefix}{key}.")
    return found
