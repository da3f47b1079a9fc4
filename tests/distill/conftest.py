"""What all tests of distill share."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from burnish.distill import building
from burnish.distill.cost import ModelFlops, model_flops

COUNTED: dict[tuple[object, ...], ModelFlops] = {}


@pytest.fixture(autouse=True)
def _counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dozens of tests train models of the same few designs: to count their FLOPs each time took a third of their time.

    What a count is worth is tested in ``test_cost.py``, which counts.
    """

    def count(model: torch.nn.Module, logits: Any, shape: tuple[int, ...]) -> ModelFlops:
        config = getattr(model, "config", None)
        trained = tuple(each.requires_grad for each in model.parameters())
        key = (str(model), "" if config is None else config.to_json_string(), shape, trained)
        if config is None:  # a module of a test's own: its name tells too little
            return model_flops(model, logits, shape)
        if key not in COUNTED:
            COUNTED[key] = model_flops(model, logits, shape)
        return COUNTED[key]

    monkeypatch.setattr(building, "model_flops", count)
