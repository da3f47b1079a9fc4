"""TRL's GRPO configuration from a recipe's settings. Cheap to import: TRL is imported where it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.dialogue.training import trl_config

# Arguments of TRL that a recipe or the run folder decide.
TAKEN = frozenset({
    "beta", "bf16", "data_seed", "disable_tqdm", "epsilon", "generation_batch_size", "gradient_accumulation_steps",
    "activation_checkpointing", "gradient_checkpointing", "learning_rate", "logging_nan_inf_filter",
    "logging_steps", "loss_type",
    "lr_scheduler_type", "max_completion_length", "max_grad_norm", "max_steps", "num_generations", "num_iterations",
    "num_train_epochs", "output_dir", "per_device_train_batch_size", "report_to", "reward_weights", "save_steps",
    "save_strategy", "save_total_limit", "seed", "steps_per_generation", "temperature", "top_p", "use_cpu", "use_vllm",
    "vllm_mode", "warmup_steps",
})  # fmt: skip


def batch_settings(questions: int, generations: int, micro_batch: int | None) -> dict[str, Any]:
    """TRL's sizes for ``questions`` groups of ``generations`` a step and process, in passes of ``micro_batch``."""
    micro = micro_batch or questions * generations
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": questions * generations // micro,
        "num_generations": generations,
    }


def grpo_config(settings: Mapping[str, Any], run: Mapping[str, Any], trl: Mapping[str, Any]) -> Any:
    """A ``trl.GRPOConfig``; arguments and errors as for :func:`burnish.dialogue.training.trl_config`."""
    from trl import GRPOConfig

    return trl_config(GRPOConfig, settings, run, trl)
