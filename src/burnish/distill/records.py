"""What goes between the rooms of distill: samples, views, and what the teacher said of them. Knows numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8


@dataclass(frozen=True)
class Sample:
    """A labelled video or picture, not yet opened.

    Attributes:
        id: the same in any order of the data: its path relative to the source, or its row's own id.
        path: the file.
        label: place of its class among :attr:`Samples.labels`.
    """

    id: str
    path: Path
    label: int


@dataclass(frozen=True)
class LeftOut:
    """What a data set speaks of and does not give.

    Attributes:
        where: the file, or the place of the row.
        why: in a few words.
    """

    where: str
    why: str


@dataclass(frozen=True)
class Samples:
    """A data set: what is in it, and what its classes are called.

    Attributes:
        items: in a fixed order; a sample's place is its index everywhere (states, tables, selections).
        labels: names of the classes, in the order of their numbers.
        left_out: rows that name no file, or no class; files that are not there.
    """

    items: tuple[Sample, ...]
    labels: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Clips:
    """Decoded samples.

    Attributes:
        pixels: frames of each sample, time 1 for pictures; a memory map.
        labels: of each.
        ids: of each.
        left_out: files that gave no clip.
    """

    pixels: UInt8[np.ndarray, "samples time height width 3"]
    labels: Int64[np.ndarray, " samples"]
    ids: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Taught:
    """What a frozen model says of samples.

    Attributes:
        logits: before any temperature.
        features: what goes into its last layer.
    """

    logits: Float32[np.ndarray, "samples classes"]
    features: Float32[np.ndarray, "samples features"]


@dataclass(frozen=True)
class States:
    """What is known of every sample of the training set, by its index.

    Attributes:
        difficulty: 0 easy, 1 hard.
        strength: share of the distillation loss.
        counts: how often each was selected.
        features: of the teacher, moving average.
        losses: last loss seen in training of each; none seen: NaN. The distillation loss, which difficulty is made of,
            or (for ``infobatch``) the whole.
    """

    difficulty: Float32[np.ndarray, " samples"]
    strength: Float32[np.ndarray, " samples"]
    counts: Int64[np.ndarray, " samples"]
    features: Float32[np.ndarray, "samples features"]
    losses: Float32[np.ndarray, " samples"]
