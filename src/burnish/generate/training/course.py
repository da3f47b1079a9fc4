"""Which samples each step of each stage has, by number alone: a training that goes on needs no other memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from burnish.generate.recipe import StageSettings, Task

TASKS: tuple[Task, ...] = ("draw", "describe", "reflect", "correct", "read")


def rows_by_task(stage: StageSettings) -> dict[Task, int]:
    """Rows of a step, by task, at least one each: the batch by shares, what is left to the largest remainders."""
    named = [task for task in TASKS if task in stage.tasks]
    shares = np.array([stage.tasks[task] for task in named]) / sum(stage.tasks.values()) * (stage.batch - len(named))
    rows = np.floor(shares).astype(int)
    for place in np.argsort(rows - shares, kind="stable")[: stage.batch - len(named) - rows.sum()]:
        rows[place] += 1
    return {task: int(count) + 1 for task, count in zip(named, rows, strict=True)}


def rows_of(
    candidates: Sequence[int], seed: int, stage: int, task: Task, step: int, count: int
) -> Int64[np.ndarray, " count"]:
    """Samples of a step: each once before any comes again, in another order every time round."""
    places = np.arange(step * count, (step + 1) * count)
    rounds, at = places // len(candidates), places % len(candidates)
    kind = TASKS.index(task)
    orders = {number: _order(len(candidates), seed, stage, kind, number) for number in set(rounds.tolist())}
    chosen = [orders[number][place] for number, place in zip(rounds.tolist(), at.tolist(), strict=True)]
    return np.asarray(candidates, dtype=np.int64)[chosen]


@lru_cache(maxsize=16)
def _order(count: int, seed: int, stage: int, task: int, number: int) -> Int64[np.ndarray, " count"]:
    return np.random.default_rng([seed, stage, task, number, 11]).permutation(count)


def stage_of(stages: Sequence[StageSettings], step: int) -> tuple[int, int]:
    """The stage of a step and the step's number in it; the last stage's end for a step beyond it."""
    for number, stage in enumerate(stages):
        if step < stage.steps or number == len(stages) - 1:
            return number, step
        step -= stage.steps
    raise ValueError("no stages")


def rate_of(stage: StageSettings, step: int) -> float:
    """Learning rate of a step of a stage."""
    risen = min(1.0, (step + 1) / stage.warmup_steps) if stage.warmup_steps else 1.0
    if stage.schedule == "constant":
        return stage.learning_rate * risen
    done = max(0.0, (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps))
    return float(stage.learning_rate * risen * (0.05 + 0.95 * (1 + np.cos(np.pi * done)) / 2))


def mix_said(tasks: Mapping[Task, int]) -> str:
    """ "24 draw, 8 describe"."""
    return ", ".join(f"{count} {task}" for task, count in tasks.items())
