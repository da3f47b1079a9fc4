"""Two gloo processes do what one does, under DDP and FSDP2, also where one has no row of a kind; and go on exactly."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from burnish.core import checkpoint
from burnish.core.errors import BurnishError
from burnish.generate.training.trainer import Trainer
from tests.generate.test_training import CODEC, RECIPE, SAMPLES, SCRIPT, model
from tests.ranks import on_two_ranks

STAGES: list[dict[str, Any]] = [
    {"steps": 2, "batch": 5, "learning_rate": 1e-3},
    {  # a row of each but draw: the second process has none of them
        "steps": 3, "batch": 6, "learning_rate": 1e-3, "copy_experts": {"clean": "noisy"},
        "tasks": {"draw": 3, "describe": 1, "reflect": 1, "correct": 1},
    },
]  # fmt: skip


def begin(folder: Path) -> Trainer:
    recipe = RECIPE.changed({"stages": STAGES, "micro_batch": None})
    # In double precision: what is compared is the arithmetic, not how AdamW enlarges the rounding of small gradients.
    unified = model().double()
    return Trainer(recipe, unified, SCRIPT, CODEC, [SAMPLES] * 2, Accelerator(cpu=True), SAMPLES[:2], folder)


def outcome(trainer: Trainer, logs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"weights": {name: value.tolist() for name, value in trainer.finished_weights().items()}, "logs": logs}


def whole_and_resumed(folder: Path) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    whole = begin(folder)
    units = whole.units()
    before = list(islice(units, 3))
    state = whole.state_dict()
    if whole.accelerator.is_main_process:
        checkpoint.save(folder / "steps", 3, {"state": state}, keep=1)
    whole.accelerator.wait_for_everyone()
    content = checkpoint.load_latest(folder / "steps", print)
    assert content is not None
    found = [outcome(whole, [*before, *units])]
    again = begin(folder)
    again.load_state_dict(content[1]["state"])
    return [*found, outcome(again, [*before, *again.units()])]


SPREAD: dict[str, dict[str, str]] = {
    "ddp": {},
    "fsdp2": {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "ExpertLayer",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPREAD)
def test_two_gloo_processes_do_what_one_does(kind: str, tmp_path: Path) -> None:
    first, second = on_two_ranks(whole_and_resumed, tmp_path / "two", folder=tmp_path / "two", **SPREAD[kind])
    one, one_resumed = whole_and_resumed(tmp_path / "one")
    assert one == one_resumed
    assert first[0] == first[1]  # resumed bit for bit, at one number of processes
    assert second[0]["logs"] == second[1]["logs"] == first[0]["logs"]
    weights = first[0]["weights"]
    assert weights.keys() == one["weights"].keys()
    for name, value in one["weights"].items():
        assert torch.allclose(torch.tensor(weights[name]), torch.tensor(value), atol=1e-6), name
    for mine, other in zip(first[0]["logs"], one["logs"], strict=True):
        assert mine == pytest.approx(other, abs=1e-5)
    shards = sorted(path.name for path in (tmp_path / "two").glob("shards-*"))
    assert shards == ["shards-00000003"]


def refused() -> str:
    """What a process says of a step in which one row, of the first or of the second process, has no number."""
    bad = replace(SAMPLES[0], row="the bad row", heat=np.full((4, 4), np.nan, dtype=np.float32))
    stage = {"steps": 1, "batch": 2, "tasks": {"reflect": 1}}
    recipe = RECIPE.changed({"stages": [stage], "micro_batch": None})
    trainer = Trainer(recipe, model(), SCRIPT, CODEC, [[SAMPLES[1], bad]], Accelerator(cpu=True))
    with pytest.raises(BurnishError) as error:
        next(trainer.units())
    return str(error.value)


def test_a_loss_that_is_no_number_stops_both_processes(tmp_path: Path) -> None:
    """Else the other would wait for ever for the one that has stopped."""
    first, second = on_two_ranks(refused, folder=tmp_path)
    assert "no number at step 0 for 1 rows: the bad row" in first
    assert first == second
