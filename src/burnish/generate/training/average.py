"""A moving average of the weights, kept where the weights are: each process has the average of its own shards.

BAGEL keeps a second model and gathers it, which needs the memory of a whole model in one process. Knows torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """An average of a model's parameters.

    Args:
        model: as it is trained; parameters may be sharded.
        decay: at most; after n updates (1 + n) / (10 + n) if that is less, so that the beginning is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay, self.updates = decay, 0
        self._parameters = dict(model.named_parameters())
        self._average = {name: _own(parameter).detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """After a step of the optimizer."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in self._parameters.items():
            self._average[name].lerp_(_own(parameter).detach(), 1 - decay)

    @contextmanager
    def instead(self) -> Iterator[None]:
        """The average in the model's place, for as long as the block lasts. No second copy is made: both change
        places."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            own, kept = _own(parameter), self._average[name]
            before = own.detach().clone()
            own.copy_(kept)
            kept.copy_(before)

    def state_dict(self) -> dict[str, Any]:
        """This process's part."""
        return {"updates": self.updates, "average": dict(self._average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What :meth:`state_dict` gave, in the same process of as many."""
        self.updates = int(state["updates"])
        for name, kept in self._average.items():
            kept.copy_(state["average"][name])


def _own(parameter: Tensor) -> Tensor:
    """What this process holds of a parameter."""
    local: Tensor = parameter.to_local() if hasattr(parameter, "to_local") else parameter
    return local
