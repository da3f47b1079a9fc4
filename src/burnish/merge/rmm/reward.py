"""Rewards of a merge search: which items an episode is scored on, and what the agent is told. Pure; no model, no I/O.

Source: RMM, section 3.3 (data-subset evaluation, dynamic average reward), with the corrections of ``docs/rmm.md``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from burnish.core.errors import UserError

BACK_AT_START = -10.0
"""Reward of an episode that steps back before the first layer (RMM, section 3.2)."""


def dynamic_average(
    previous: float | None, raw: float, episode: int, episodes: int, d: float, fraction: float
) -> float:
    """r_i <- (d i/I) r_(i-1) + (1 - d i/I) r_i, restarted when (i - 1) mod (1/s) = 0. Source: RMM, equation 4.

    Args:
        previous: averaged reward of the episode before, which belongs to another architecture (as published).
        raw: measured reward r_i.
        episode: i, counted from 1; a -10 episode advances it without using data.
        episodes: I.
        d: largest weight of the past.
        fraction: s. At s = 1 every episode restarts; with a non-integer 1/s hardly any does.
    """
    if previous is None or (episode - 1) % (1 / fraction) == 0:
        return raw
    weight = d * episode / episodes
    return weight * previous + (1 - weight) * raw


def discounted_returns(rewards: Sequence[float], gamma: float) -> NDArray[np.float64]:
    """Monte-Carlo returns of one episode: R_t = r_t + gamma R_(t+1)."""
    returns = np.zeros(len(rewards))
    running = 0.0
    for t in reversed(range(len(rewards))):
        running = rewards[t] + gamma * running
        returns[t] = running
    return returns


def rank_correlation_bound(spread: float, accuracy: float, items: int) -> float:
    """Expected correlation of subset accuracy with true accuracy: rho = sd / sqrt(sd^2 + p (1 - p) / n).

    Args:
        spread: standard deviation of the true accuracy over the architectures compared.
        accuracy: their mean accuracy p.
        items: n, images of the subset.
    """
    return spread / math.sqrt(spread**2 + accuracy * (1 - accuracy) / items)


def items_for_correlation(rho: float, spread: float, accuracy: float) -> int:
    """The rule above, solved for n and rounded up (rho = .8 needs n = 1.78 p (1 - p) / sd^2)."""
    return math.ceil(round(rho**2 / (1 - rho**2) * accuracy * (1 - accuracy) / spread**2, 6))


Chunk = tuple[int, int, int]
"""(task, start, stop): a run of consecutive items of one task, one forward pass."""
Subset = tuple[Chunk, ...]


def in_chunks(task: int, start: int, stop: int, chunk: int) -> list[Chunk]:
    """Cuts a run of items into forward passes of at most ``chunk`` items."""
    return [(task, at, min(at + chunk, stop)) for at in range(start, stop, chunk)]


def everything(sizes: Sequence[int], chunk: int) -> Subset:
    """All items of all tasks."""
    return tuple(c for task, size in enumerate(sizes) for c in in_chunks(task, 0, size, chunk))


def leading(sizes: Sequence[int], fraction: float, chunk: int) -> Subset:
    """The same first int(s n) items of every task, for every architecture (the tasks are shuffled once, at loading).

    Raises:
        UserError: the fraction leaves no item of some task.
    """
    counts = [_count(fraction * size, f"subset_fraction {fraction} of {size} items", "items") for size in sizes]
    return tuple(c for task, count in enumerate(counts) for c in in_chunks(task, 0, count, chunk))


def _count(amount: float, what: str, unit: str) -> int:
    # round first: .1 * 30 is 3.0000000000000004, .29 * 100 is 28.999999999999996
    count = int(round(amount, 9))
    if count == 0:
        raise UserError(f"{what} is no whole {unit.rstrip('s')}: raise subset_fraction or add validation data")
    return count


@dataclass
class Cycler:
    """Batches taken in turn, so that 1/s episodes see the whole set (RMM, section 3.3).

    Attributes:
        sizes: items of each task.
        fraction: s.
        chunk: items a forward pass.
        batch_size: published: 128; None: int(s n) items are one batch.
        fixed_batches: tasks whose count is int(100 s) batches whatever their size (published, language).
    """

    sizes: Sequence[int]
    fraction: float
    chunk: int
    batch_size: int | None = None
    fixed_batches: frozenset[int] = frozenset()
    cursors: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.cursors = [0] * len(self.sizes)
        self._batches: list[list[tuple[int, int]]] = []
        self._take: list[int] = []
        for task, size in enumerate(self.sizes):
            items = self.batch_size or _count(
                self.fraction * size, f"subset_fraction {self.fraction} of {size} items", "items"
            )
            batches = [(at, min(at + items, size)) for at in range(0, size, items)]
            if self.batch_size is None and len(batches) > 1 and batches[-1][1] - batches[-1][0] < items:
                batches.pop()  # a shorter last batch would be a noisier reward
            share = 100 * self.fraction if task in self.fixed_batches else self.fraction * len(batches)
            what = f"subset_fraction {self.fraction} of {len(batches)} batches"
            self._batches.append(batches)
            self._take.append(1 if self.batch_size is None else min(len(batches), _count(share, what, "batches")))

    def next(self) -> Subset:
        """The items of the next episode."""
        chunks: list[Chunk] = []
        for task, (batches, take) in enumerate(zip(self._batches, self._take, strict=True)):
            for _ in range(take):
                start, stop = batches[self.cursors[task] % len(batches)]
                chunks += in_chunks(task, start, stop, self.chunk)
                self.cursors[task] = (self.cursors[task] + 1) % len(batches)
        return tuple(chunks)

    def state_dict(self) -> dict[str, list[int]]:
        """Where each task's cycle stands."""
        return {"cursors": list(self.cursors)}

    def load_state_dict(self, state: dict[str, list[int]]) -> None:
        """The inverse of ``state_dict``."""
        self.cursors = [int(cursor) for cursor in state["cursors"]]
