"""Film strips of some samples: what is easy, what is hard, what was chosen most often. Knows numpy and Pillow."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from burnish.distill.records import Clips
from burnish.distill.states import SampleStates

KINDS = ("easiest", "hardest", "chosen most often")
SHOWN = 5
"""Samples of each kind."""
FRAMES = 8
"""At most, equally far apart."""
HEIGHT = 72
"""Pixels of a strip."""


@dataclass(frozen=True)
class Strip:
    """What stands beside a strip.

    Attributes:
        id: of the sample.
        label: its class.
        difficulty: at the end.
        strength: likewise.
        chosen: how often.
    """

    id: str
    label: str
    difficulty: float
    strength: float
    chosen: int


def told_apart(states: SampleStates) -> dict[str, list[int]]:
    """Which samples to show of each kind; nothing is easy or hard where difficulty was not measured."""
    found: dict[str, list[int]] = {}
    if states.difficulty.any():
        order = np.argsort(states.difficulty, kind="stable")
        found[KINDS[0]], found[KINDS[1]] = order[:SHOWN].tolist(), order[::-1][:SHOWN].tolist()
    if states.counts.min() < states.counts.max():
        found[KINDS[2]] = np.argsort(-states.counts, kind="stable")[:SHOWN].tolist()
    return found


def captions(states: SampleStates, clips: Clips, labels: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    """What :func:`told_apart` shows, in words and numbers."""
    return {
        kind: [
            asdict(
                Strip(
                    clips.ids[row],
                    labels[int(clips.labels[row])],
                    round(float(states.difficulty[row]), 4),
                    round(float(states.strength[row]), 4),
                    int(states.counts[row]),
                )
            )
            for row in rows
        ]
        for kind, rows in told_apart(states).items()
    }


def film_strip(clips: Clips, row: int) -> bytes:
    """A sample's frames side by side, as PNG."""
    from PIL import Image

    pixels = clips.pixels[row]
    frames = pixels[np.linspace(0, len(pixels) - 1, min(FRAMES, len(pixels))).round().astype(int)]
    joined = np.concatenate(list(frames), axis=1)
    picture = Image.fromarray(joined)
    resampling = Image.Resampling.NEAREST if joined.shape[0] < HEIGHT else Image.Resampling.LANCZOS
    picture = picture.resize((max(1, round(joined.shape[1] * HEIGHT / joined.shape[0])), HEIGHT), resampling)
    file = io.BytesIO()
    picture.save(file, "png", optimize=True)
    return file.getvalue()
