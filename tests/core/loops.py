"""A real training loop over the spine, small enough to be killed many times: dropout, AdamW, shuffled data."""

import os
import signal
from pathlib import Path

import torch
from torch import nn

from burnish.core.method import Method
from burnish.core.recipe import Recipe
from burnish.core.run import Run


class LoopRecipe(Recipe):
    method: str = "tests.core.loops:METHOD"
    steps: int = 30
    """Optimizer steps."""
    width: int = 64
    """Hidden units."""


class Learner:
    """A model with its optimizer: what a checkpoint of this loop holds."""

    def __init__(self, width: int) -> None:
        self.model = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 1))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2)
        self.seen: list[int] = []

    def state_dict(self) -> dict:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "seen": self.seen}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seen = state["seen"]


def train(recipe: LoopRecipe, run: Run) -> Path:
    learner = Learner(recipe.width)
    data = torch.linspace(-1, 1, 800).reshape(100, 8)
    start = run.restore(learner)
    for step in run.progress(range(start, recipe.steps), "steps"):
        rows = run.rng("order").integers(0, 100, 16)
        batch = data[torch.from_numpy(rows)]
        loss = (learner.model(batch) - batch.sum(1, keepdim=True)).square().mean()
        learner.optimizer.zero_grad()
        loss.backward()
        learner.optimizer.step()
        learner.seen.append(int(rows[0]))
        run.log(step, loss=loss.item())
        run.checkpoint(step, learner)
    weights = {name: tensor.tolist() for name, tensor in learner.model.state_dict().items()}
    return run.artifact("weights.json", {"weights": weights, "seen": learner.seen})


METHOD = Method(name="loop", recipe=LoopRecipe, run=train)
PLANNED = Method(name="someday", label="Some Day")


def run_in_child(path: str, die_at: tuple[str, int] | None = None, steps: int = 12, width: int = 64) -> None:
    """What a killed process runs; with ``die_at=("fsync", 7)`` it SIGKILLs itself at its seventh ``os.fsync``."""
    torch.set_num_threads(1)
    if die_at is not None:
        name, count = die_at
        real, calls = getattr(os, name), 0

        def dying(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(os, name, dying)
    recipe = LoopRecipe(checkpoint_every=0, steps=steps, width=width)
    with Run(recipe, path, quiet=True) as run:
        train(recipe, run)
