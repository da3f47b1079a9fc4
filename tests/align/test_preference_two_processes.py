"""Two gloo processes learn what one does, with a table of the reference and with a model; the table is the same."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from burnish.align.pair_table import write_pairs
from burnish.align.preference import build_trainer, quiet_arguments
from tests.align.pairs import llava, recipe, triplets
from tests.ranks import on_two_ranks

REFERENCES = ("table", "model")


def learnt(folder: Path, processes: int, reference: str) -> dict[str, Any]:
    """Three steps of four pairs over ``processes``, over more than one epoch of eight."""
    from accelerate import PartialState

    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    chat, own = llava(), folder / str(state.process_index)
    with state.main_process_first():
        if not (folder / "pairs.arrow").exists():
            write_pairs(folder / "pairs.arrow", triplets(folder / "pictures", 8), chat)
    # Plain gradient descent: AdamW's first step is the gradient's sign, which rounding alone turns where it is nearly
    # 0.
    training = {"batch": 4 // processes, "micro_batch": 2, "steps": 3, "reference": reference, "learning_rate": 0.1}
    asked = recipe({**training, "trl": {"optim": "sgd"}})
    trainer = build_trainer(
        asked, chat, folder / "pairs.arrow", folder / "reference.safetensors", **quiet_arguments(own, 0)
    )
    trainer.train()
    found = {
        "weights": {name: value.tolist() for name, value in trainer.model.state_dict().items()},
        "loss": [row["loss"] for row in trainer.state.log_history if "loss" in row],
    }
    if reference == "table":
        columns = ("ref_chosen_logps", "ref_rejected_logps")
        found["table"] = [trainer.train_dataset[name][:] for name in columns]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("reference", REFERENCES)
def test_two_gloo_processes_learn_what_one_does(tmp_path: Path, reference: str) -> None:
    two = on_two_ranks(learnt, tmp_path / "two", 2, reference, folder=tmp_path / "two")
    one = learnt(tmp_path / "one", 1, reference)
    assert one["loss"][-1] != one["loss"][0]
    for found in two:
        for name, value in one["weights"].items():
            assert torch.allclose(torch.tensor(value), torch.tensor(found["weights"][name]), atol=1e-6), name
        if reference == "table":
            assert torch.allclose(torch.tensor(found["table"]), torch.tensor(one["table"]), atol=1e-4)
    assert two[0]["loss"] == pytest.approx(one["loss"], abs=1e-6)
