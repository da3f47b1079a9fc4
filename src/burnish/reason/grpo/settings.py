"""TRL's configuration from a recipe's settings. Cheap to import: TRL and PEFT are imported where they are needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from burnish.core.errors import UserError, nearest
from burnish.core.recipe import Settings

# Arguments of TRL that a recipe or the run folder decide.
TAKEN = frozenset({
    "beta", "bf16", "data_seed", "disable_tqdm", "epsilon", "generation_batch_size", "gradient_accumulation_steps",
    "activation_checkpointing", "gradient_checkpointing", "learning_rate", "logging_steps", "loss_type",
    "lr_scheduler_type", "max_completion_length", "max_grad_norm", "max_steps", "num_generations", "num_iterations",
    "num_train_epochs", "output_dir", "per_device_train_batch_size", "report_to", "reward_weights", "save_steps",
    "save_strategy", "save_total_limit", "seed", "steps_per_generation", "temperature", "top_p", "use_cpu", "use_vllm",
    "vllm_mode", "warmup_steps",
})  # fmt: skip


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


def refuse_taken(given: Iterable[str], taken: Iterable[str] = TAKEN) -> None:
    """Refuse arguments under a recipe's ``trl`` that another of its settings decides.

    Raises:
        ValueError: one that is taken; the recipe's own validation says where it stands.
    """
    clash = sorted(set(taken) & set(given))
    if clash:
        raise ValueError(f"trl.{clash[0]} is decided by a setting of the recipe, or by the run")


def batch_settings(questions: int, generations: int, micro_batch: int | None) -> dict[str, Any]:
    """TRL's sizes for ``questions`` groups of ``generations`` a step and process, in passes of ``micro_batch``."""
    micro = micro_batch or questions * generations
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": questions * generations // micro,
        "num_generations": generations,
    }


def device_settings(device: Literal["auto", "cpu"], bf16: bool | None) -> dict[str, Any]:
    """Where to compute and in what; ``bf16`` none takes it on a GPU."""
    import torch

    gpu = device != "cpu" and torch.cuda.is_available()
    return {"use_cpu": device == "cpu", "bf16": gpu if bf16 is None else bf16, "dataloader_pin_memory": gpu}


def grpo_config(settings: Mapping[str, Any], run: Mapping[str, Any], trl: Mapping[str, Any]) -> Any:
    """A ``trl.GRPOConfig``.

    Args:
        settings: what the recipe decides.
        run: what the run folder decides; ``output_dir`` and ``seed`` at least.
        trl: other arguments, as a user wrote them.

    Raises:
        UserError: an argument that TRL does not know, or values that it refuses.
    """
    from trl import GRPOConfig

    known = [field.name for field in dataclasses.fields(GRPOConfig)]
    unknown = sorted(set(trl) - set(known))
    if unknown:
        raise UserError(f"trl.{unknown[0]}: not an argument of TRL's GRPOConfig; {nearest(unknown[0], known)}")
    try:
        return GRPOConfig(**{**settings, **run, **trl})
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
