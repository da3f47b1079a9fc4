"""Weights, optimizer and average as a checkpoint holds them, and as they are saved at the end.

One process gives its tensors to the run's checkpoint. Several write their own shards side by side with
``torch.distributed.checkpoint`` and give only the folder's name, so that no process ever holds the whole: users
of BAGEL lost their runs to that (its issues 71 and 172). Knows torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from burnish.core.errors import BurnishError
from burnish.generate.training.average import MovingAverage

KEPT = 4
"""Folders of shards that stay: more than the run keeps checkpoints by default, one of which may be damaged."""


class Weights:
    """See the module.

    Args:
        model: as accelerate prepared it.
        optimizer: likewise.
        average: of the model, if there is one.
        accelerator: of accelerate.
        shards: where several processes write theirs.
    """

    def __init__(
        self, model: nn.Module, optimizer: Any, average: MovingAverage | None, accelerator: Any, shards: Path | None
    ) -> None:
        self._model, self._optimizer = model, getattr(optimizer, "optimizer", optimizer)
        self._average, self._accelerator, self._shards = average, accelerator, shards

    def state_dict(self, step: int) -> dict[str, Any]:
        """For the checkpoint; all processes call it together."""
        if self._accelerator.num_processes == 1:
            average = None if self._average is None else self._average.state_dict()
            return {
                "model": self._model.state_dict(), "optimizer": self._optimizer.state_dict(), "average": average
            }  # fmt: skip
        from torch.distributed.checkpoint.state_dict_saver import save

        assert self._shards is not None, "several processes need a folder for their shards"
        folder = self._shards / f"shards-{step:08d}"
        save(self._spread(), checkpoint_id=str(folder))
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            for old in sorted(self._shards.glob("shards-*"))[:-KEPT]:
                shutil.rmtree(old, ignore_errors=True)
        updates = 0 if self._average is None else self._average.updates
        return {"shards": folder.name, "processes": self._accelerator.num_processes, "updates": updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What :meth:`state_dict` gave.

        Raises:
            BurnishError: it is of another number of processes.
        """
        processes = int(state.get("processes", 1))
        if processes != self._accelerator.num_processes:
            raise BurnishError(
                f"checkpoint: is of {processes} processes; go on with as many, not {self._accelerator.num_processes}"
            )
        if processes == 1:
            self._model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            if self._average is not None:
                self._average.load_state_dict(state["average"])
            return
        from torch.distributed.checkpoint.state_dict import set_state_dict
        from torch.distributed.checkpoint.state_dict_loader import load

        assert self._shards is not None, "several processes need a folder for their shards"
        spread = self._spread()
        load(spread, checkpoint_id=str(self._shards / str(state["shards"])))
        set_state_dict(
            self._model,
            self._optimizer,
            model_state_dict=spread["model"],
            optim_state_dict=spread["optimizer"],
        )
        if self._average is not None:  # its tensors were filled in place
            self._average.updates = int(state["updates"])

    def _spread(self) -> dict[str, Any]:
        """Sharded tensors as they lie; the average of each process under a name of its own."""
        from torch.distributed.checkpoint.state_dict import get_state_dict

        model, optimizer = get_state_dict(self._model, self._optimizer)
        found: dict[str, Any] = {"model": model, "optimizer": optimizer}
        if self._average is not None:
            average = self._average.state_dict()["average"]
            found[f"average of process {self._accelerator.process_index}"] = average
        return found

    def whole(self) -> dict[str, Tensor]:
        """The weights to save, averaged where there is an average; of several processes, gathered for the first."""
        with nullcontext() if self._average is None else self._average.instead():
            several = self._accelerator.num_processes > 1
            found: dict[str, Tensor] = (
                self._accelerator.get_state_dict(self._model) if several else self._model.state_dict()
            )
            # Copies: what DDP and a single process give is the model's own, which changes back.
            return {name: value.detach().cpu().clone() for name, value in found.items()}
