"""Two gloo processes do what one does, under DDP and FSDP2, and go on exactly from where they stopped."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from burnish.core import checkpoint
from burnish.distill.building import accelerator_of, build_distiller
from burnish.distill.weights import Finished
from tests.distill.tiny import LABELS, classifier, small_recipe, some_clips, video_model
from tests.ranks import on_two_ranks

CLIPS, TEST = some_clips(23), some_clips(9, seed=1)


def begin(folder: Path, processes: int) -> Any:
    # 15 of 23 samples: steps of 8 and 7, so that a process has one sample less; frozen passes end on a lone sample.
    recipe = small_recipe(
        selection={"share": 0.65}, epochs=5, batch=8 // processes, frozen_batch=22 // processes, micro_batch=2
    )
    accelerator = accelerator_of(recipe)
    # A teacher with something to say: between losses of .001 min-max would blow rounding up.
    student, teacher = classifier(video_model(seed=1)), classifier(video_model(32, initializer_range=0.3))
    return build_distiller(recipe, student, teacher, CLIPS, CLIPS, LABELS, TEST, accelerator, folder / "teachers")


def outcome(distiller: Any, logs: list[dict[str, Any]]) -> dict[str, Any]:
    accelerator, model = distiller.accelerator, distiller.model
    spread = accelerator.num_processes > 1
    weights = accelerator.get_state_dict(model) if spread else model.state_dict()
    clocked = [{name: value for name, value in each.items() if not name.endswith("_seconds")} for each in logs]
    return {
        "weights": {name: value.tolist() for name, value in weights.items()},
        "logs": [each for each in clocked if each],
        "states": {
            name: np.nan_to_num(value, nan=-1.0).tolist() for name, value in distiller.states.state_dict().items()
        },
        "chosen": distiller.selection.indices.tolist(),
    }


def whole_and_resumed(folder: Path, processes: int) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    whole = begin(folder, processes)
    units = whole.units()
    logs = list(islice(units, 13))  # into the second evaluation's pass
    state = whole.state_dict()
    if whole.accelerator.is_main_process:  # as a run does: the first saves, all read
        checkpoint.save(folder / "steps", 13, {"state": state}, keep=1)
    whole.accelerator.wait_for_everyone()
    content = checkpoint.load_latest(folder / "steps", print)
    assert content is not None
    state = content[1]["state"]
    assert state["judging"]["done"] == 1
    before = list(logs)
    logs.extend(units)
    if processes > 1:
        saved = Finished(whole.student.classifier, whole.model, whole.accelerator)
        if whole.accelerator.is_main_process:
            saved.save_pretrained(folder / "model")
    again = begin(folder, processes)
    again.load_state_dict(state)
    return [outcome(whole, logs), outcome(again, [*before, *again.units()])]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process does, as it looks after a file."""
    whole, _ = json.loads(json.dumps(whole_and_resumed(tmp_path_factory.mktemp("one"), processes=1)))
    found: dict[str, Any] = whole
    return found


SPREAD = {
    "ddp": {},
    "fsdp2": {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "VideoMAELayer",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPREAD)
def test_two_gloo_processes_do_what_one_does(kind: str, tmp_path: Path, one: dict[str, Any]) -> None:
    two = on_two_ranks(whole_and_resumed, tmp_path / "two", 2, folder=tmp_path / "two", **SPREAD[kind])
    for whole, resumed in two:
        assert whole == resumed  # bit for bit, at one number of processes
        assert whole["chosen"] == one["chosen"]
        assert whole["weights"].keys() == one["weights"].keys()
        for name, value in one["weights"].items():
            assert torch.allclose(torch.tensor(whole["weights"][name]), torch.tensor(value), atol=1e-6), name
        for name, value in one["states"].items():
            assert np.allclose(whole["states"][name], value, atol=5e-5), name  # min-max stretches differences
        assert len(whole["logs"]) == len(one["logs"])
        for mine, other in zip(whole["logs"], one["logs"], strict=True):
            assert mine.keys() == other.keys()
            for name, value in other.items():
                assert mine[name] == pytest.approx(value, abs=1e-5), name
    from burnish.distill.models import load_classifier

    saved = load_classifier(str(tmp_path / "two" / "model"), "student").model.state_dict()
    for name, value in two[0][0]["weights"].items():
        assert torch.equal(saved[name], torch.tensor(value)), name
