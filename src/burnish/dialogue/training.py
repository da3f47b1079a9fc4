"""What methods that train on TRL's trainers share: adapters, devices, and configurations from a recipe's settings.

Knows no trainer and no method. Cheap to import: TRL and PEFT are imported where they are needed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from burnish.core.errors import UserError, nearest
from burnish.core.recipe import Settings


class Adapter(Settings):
    """A LoRA adapter; the model without it is the reference."""

    rank: int = Field(default=16, ge=1)
    """Of the two factors."""
    alpha: float = Field(default=32.0, gt=0)
    """Scale: the update is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the adapter's input."""
    targets: str | list[str] = "all-linear"
    """Modules to adapt."""


def refuse_taken(given: Iterable[str], taken: Iterable[str]) -> None:
    """Refuse arguments under a recipe's ``trl`` that another of its settings, or the run, decides.

    Raises:
        ValueError: one that is taken; the recipe's own validation says where it stands.
    """
    clash = sorted(set(taken) & set(given))
    if clash:
        raise ValueError(f"trl.{clash[0]} is decided by a setting of the recipe, or by the run")


def device_settings(device: Literal["auto", "cpu"], bf16: bool | None) -> dict[str, Any]:
    """Where to compute and in what; ``bf16`` none takes it on a GPU."""
    import torch

    gpu = device != "cpu" and torch.cuda.is_available()
    return {"use_cpu": device == "cpu", "bf16": gpu if bf16 is None else bf16, "dataloader_pin_memory": gpu}


def own_device() -> str | None:
    """The GPU of this process, where there is one."""
    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else None


def trl_config(kind: type[Any], settings: Mapping[str, Any], run: Mapping[str, Any], trl: Mapping[str, Any]) -> Any:
    """A configuration of one of TRL's trainers.

    Args:
        kind: its class, ``trl.GRPOConfig`` for example.
        settings: what the recipe decides.
        run: what the run folder decides; ``output_dir`` and ``seed`` at least.
        trl: other arguments, as a user wrote them.

    Raises:
        UserError: an argument that TRL does not know, or values that it refuses.
    """
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(trl) - set(known))
    if unknown:
        raise UserError(f"trl.{unknown[0]}: not an argument of TRL's {kind.__name__}; {nearest(unknown[0], known)}")
    try:
        return kind(**{**settings, **run, **trl})
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(f"recipe: TRL refuses these settings ({error})") from error


def lora_config(adapter: Adapter | None, **options: Any) -> Any:
    """PEFT's configuration of an adapter; ``options`` are further arguments of it. None for none."""
    if adapter is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=adapter.targets,
        task_type="CAUSAL_LM",
        **options,
    )
