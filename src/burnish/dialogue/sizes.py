"""How large a model is and what training it will need, from its config alone. Loads no weights."""

from __future__ import annotations

from pathlib import Path

from burnish.core.errors import UserError


def count_parameters(folder: Path, *, sees: bool) -> int:
    """Parameters of a model folder, from its config alone.

    Args:
        folder: the model.
        sees: whether it takes images.

    Raises:
        UserError: a config that transformers cannot build.
    """
    import torch
    import transformers

    kind = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            model = kind.from_config(config, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise UserError(f"{folder}: transformers cannot build it ({' '.join(str(error).split())[:200]})") from error
    return sum(each.numel() for each in model.parameters())


def training_memory(size: int, dtype: str, *, adapter: bool, reference: bool) -> int:
    """Bytes of weights, gradients, AdamW's two moments and the reference; activations and caches come on top.

    Args:
        size: parameters.
        dtype: of the weights.
        adapter: whether only an adapter is trained.
        reference: whether a second copy of the weights is kept.
    """
    each = 2 if dtype == "bfloat16" else 4
    return size * each if adapter else size * each * (4 + reference)
