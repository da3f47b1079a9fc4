"""The samples as one of the two models sees them, and batches of them on the device.

Knows clips, views and how processes share a batch. A batch is dealt round: process p of w takes rows p, p + w, ...; all
processes hold equally many (short ones repeat the first row), so that no collective ever waits or is ragged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from xxhash import xxh3_128

from burnish.distill.augment import make_view
from burnish.distill.models import Classifier
from burnish.distill.recipe import AugmentSettings
from burnish.distill.records import Clips

PLAIN = AugmentSettings()
"""No augmentation: how samples are judged and tested."""
Rows = Int64[np.ndarray, " _"]
"""Indices of samples."""


@dataclass(frozen=True)
class Footage:
    """Samples as one model sees them.

    Attributes:
        clips: decoded for it.
    """

    clips: Clips

    def __len__(self) -> int:
        return len(self.clips.ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """Of each sample."""
        return self.clips.ids

    @property
    def labels(self) -> Rows:
        """Of each sample."""
        return self.clips.labels

    @property
    def frames(self) -> int:
        """Of a clip; 1 for pictures."""
        return int(self.clips.pixels.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.clips.pixels.shape[2]), int(self.clips.pixels.shape[3])

    def key(self, row: int) -> bytes:
        """16 bytes that tell a sample, by what is in it and by its id, from any other of any data set."""
        pixels = np.ascontiguousarray(self.clips.pixels[row])
        digest = xxh3_128(f"{self.ids[row]} {pixels.shape}".encode())
        digest.update(pixels.data)
        return digest.digest()

    def seen_by(
        self, classifier: Classifier, rows: Rows, device: Any, augment: AugmentSettings, view: int, seed: int
    ) -> Float[Tensor, "batch time channels height width"]:
        """A view of some samples, as the classifier takes it.

        Args:
            classifier: whose channels, mean and deviation.
            rows: of samples.
            device: where to.
            augment: of the view; ``PLAIN`` for none.
            view: its number.
            seed: of the run.
        """
        pixels = torch.from_numpy(self.clips.pixels[rows]).to(device)
        names = [self.ids[row] for row in rows]
        return classifier.prepared(make_view(pixels, names, view, augment, seed))


def dealt(rows: Rows, accelerator: Any) -> Rows:
    """This process's share of a batch; where it has one less than others, the first row once more."""
    processes, own = accelerator.num_processes, accelerator.process_index
    share = rows[own::processes]
    return np.append(share, rows[0]) if len(share) < -(-len(rows) // processes) else share


def gathered(shares: Float[Tensor, "share ..."], count: int, accelerator: Any) -> Float[Tensor, "batch ..."]:
    """What the processes made of their shares of a batch of ``count``, in the batch's order, in every process."""
    if accelerator.num_processes == 1:
        return shares
    every = accelerator.gather(shares.contiguous())
    stacked = every.reshape(accelerator.num_processes, -1, *shares.shape[1:]).transpose(0, 1)
    whole: Tensor = stacked.reshape(-1, *shares.shape[1:])[:count]
    return whole


def batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Rows in runs of ``size``; the last may be shorter."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def named(rows: Sequence[int] | Rows, footage: Footage) -> list[str]:
    """Ids of some samples."""
    return [footage.ids[row] for row in rows]
