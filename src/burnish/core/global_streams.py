"""The random streams that libraries share (Python, NumPy, torch): seeded with a run, part of every checkpoint."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def seed_streams(seed: int) -> None:
    """Seed all three."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    import torch

    torch.manual_seed(seed)


def stream_states() -> dict[str, Any]:
    """What a checkpoint keeps of them."""
    import torch

    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, np.asarray(keys), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else [],
    }


@contextmanager
def streams_kept() -> Iterator[None]:
    """Inside, anything may seed and draw; afterwards the streams stand where they stood."""
    before = stream_states()
    try:
        yield
    finally:
        set_streams(before)


def set_streams(state: dict[str, Any]) -> None:
    """Go on from what :func:`stream_states` gave."""
    import torch

    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
