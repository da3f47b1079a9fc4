"""Weights and optimizer of a training as plain state, whole in every process, and the trained model to be saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from burnish.distill.models import Classifier
from burnish.distill.recipe import SakdRecipe


class TrainingState:
    """The state of a wrapped model and its optimizer; under DDP and FSDP2 collected by torch, all processes together.

    A checkpoint goes on with as many processes as it was taken with, or with another number of several.

    Args:
        model: as accelerate prepared it.
        optimizer: as accelerate prepared it.
        processes: how many there are.
    """

    def __init__(self, model: nn.Module, optimizer: Any, processes: int) -> None:
        self._model, self._optimizer, self._processes = model, getattr(optimizer, "optimizer", optimizer), processes

    def state_dict(self) -> dict[str, Any]:
        """``model`` and ``optimizer``."""
        if self._processes == 1:
            return {"model": self._model.state_dict(), "optimizer": self._optimizer.state_dict()}
        from torch.distributed.checkpoint.state_dict import get_state_dict

        model, optimizer = get_state_dict(self._model, self._optimizer, options=_whole())
        return {"model": model, "optimizer": optimizer}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What :meth:`state_dict` gave."""
        if self._processes == 1:
            self._model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            return
        from torch.distributed.checkpoint.state_dict import set_state_dict

        set_state_dict(
            self._model,
            self._optimizer,
            model_state_dict=dict(state["model"]),
            optim_state_dict=dict(state["optimizer"]),
            options=_whole(),
        )


def make_optimizer(recipe: SakdRecipe, model: nn.Module, *, fused: bool) -> torch.optim.Optimizer:
    """Of a recipe, over the weights that are trained; ``fused``: AdamW in one kernel, which one process can have."""
    weights = [each for each in model.parameters() if each.requires_grad]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=fused)
    return torch.optim.SGD(weights, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


class Finished:
    """A trained student that can be saved: weights that are spread over processes are collected first.

    Args:
        classifier: the student.
        model: as accelerate wrapped it.
        accelerator: of accelerate; all processes make one of these.
    """

    def __init__(self, classifier: Classifier, model: nn.Module, accelerator: Any) -> None:
        self._classifier = classifier
        self._weights = accelerator.get_state_dict(model) if accelerator.num_processes > 1 else None

    def save_pretrained(self, folder: Path) -> None:
        """As transformers does; a module of the user's own leaves its weights as ``model.safetensors``."""
        model: Any = self._classifier.model
        if hasattr(model, "save_pretrained"):
            model.save_pretrained(folder, state_dict=self._weights)
            return
        from safetensors.torch import save_file

        weights = self._weights or model.state_dict()
        save_file({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()},
                  Path(folder) / "model.safetensors")  # fmt: skip


def _whole() -> Any:
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(full_state_dict=True, cpu_offload=True)
