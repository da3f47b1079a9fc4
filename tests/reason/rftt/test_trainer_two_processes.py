"""Two gloo processes do what one does: the same rollouts, advantages over the whole batch, the same step."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.reason.rftt.trainer import Objective
from tests.ranks import on_two_ranks
from tests.reason.rftt.training import Hashed, make_model, make_rewards, make_trainer

KINDS = [
    Objective("include", "batch", "reward"),
    Objective("mask", "group", "loss"),
    Objective("importance", "siblings", "loss"),
]


def one_step(folder: Path, processes: int) -> list[dict[str, Any]]:
    """A step of plain gradient descent on four questions, for each of three objectives."""
    from accelerate import PartialState

    torch.set_num_threads(1)
    state, found = PartialState(cpu=True), []
    for number, objective in enumerate(KINDS):
        with state.main_process_first():  # transformers saves on the first process only
            trained = make_model(folder / f"model-{number}")
        trainer = make_trainer(
            folder / str(state.process_index),
            objective,
            engine=lambda vocabulary: Hashed(vocabulary, unclosed=["clarify"]),  # some rollouts repeat another
            rewards=make_rewards(),
            trained=trained,
            per_device_train_batch_size=16 // processes,
            beta=0.05,
            # AdamW's first step is the gradient's sign, which rounding alone turns where it is nearly 0.
            optim="sgd",
            max_steps=1,
        )
        with torch.no_grad():  # the policy has moved away from its reference
            generator = torch.Generator().manual_seed(1)
            for parameter in trainer.model.parameters():
                parameter.add_(0.003 * torch.randn(parameter.shape, generator=generator))
        trainer.train()
        log = next(row for row in trainer.state.log_history if "loss" in row)
        logged = {
            name: value for name, value in log.items() if name.startswith(("rollouts/", "steps/", "prm/", "generated/"))
        }
        found.append(
            {
                "weights": {name: value.tolist() for name, value in trainer.model.state_dict().items()},
                "logged": logged,
                "close": [log["loss"], log["kl"], log["reward"], log["grad_norm"]],
                "state": trainer.state_dict(),
            }
        )
    return found


@pytest.mark.slow
def test_two_gloo_processes_do_what_one_does(tmp_path: Path) -> None:
    two = on_two_ranks(one_step, tmp_path / "two", 2, folder=tmp_path / "two")
    one = json.loads(json.dumps(one_step(tmp_path / "one", processes=1)))
    for whole, *halves in zip(one, *two, strict=True):
        for half in halves:
            for name, value in whole["weights"].items():
                assert torch.allclose(torch.tensor(value), torch.tensor(half["weights"][name]), atol=1e-6), name
            assert half["state"] == whole["state"]
        assert halves[0]["logged"] == pytest.approx(whole["logged"], abs=1e-9)
        assert halves[0]["close"] == pytest.approx(whole["close"], abs=1e-5, rel=1e-5)
        assert whole["logged"]["rollouts/repeated"] == 0.25
        assert abs(whole["close"][1]) > 1e-3  # there was a divergence to get wrong
