"""A trained model out of its trainer, also where its weights are spread over processes (FSDP, DeepSpeed)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.dialogue.models import ChatModel, load_chat_model


def is_spread(trainer: Any) -> bool:
    """Whether no process holds all weights."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)


def load_whole(reference: str, dtype: str, trainer: Any) -> ChatModel:
    """A model on the device of each process, for sampling, while what is trained is spread over all of them.

    Raises:
        UserError: it cannot be read.
    """
    from accelerate.utils import patch_environment

    trainer.accelerator.wait_for_everyone()  # until the first has saved it
    # While FSDP is on, transformers loads weights in the first process only.
    with patch_environment(FSDP_CPU_RAM_EFFICIENT_LOADING="false"):
        return load_chat_model(reference, dtype=dtype, device=str(trainer.accelerator.device))


class Gathered:
    """A trained model as one that can be saved: weights that are spread over processes are collected first.

    Args:
        trainer: after its training; all processes must make one.
        spread: of :func:`is_spread`.
    """

    def __init__(self, trainer: Any, *, spread: bool) -> None:
        self._model = trainer.accelerator.unwrap_model(trainer.model)
        self._weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if spread else None

    def save_pretrained(self, folder: Path) -> None:
        """As transformers does."""
        self._model.save_pretrained(folder, state_dict=self._weights)
