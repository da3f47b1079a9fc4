"""What the reference thinks of every pair, computed once before a round and written down.

A step then needs one forward pass less and no second model. The table names the weights that made it and the rows it is
of: a resumed run reads it, another model or another set of pairs never does. Knows files and tensors; no trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor

from burnish.core.files import write_atomic


@dataclass(frozen=True)
class ReferenceTable:
    """Log-probabilities of the reference.

    Attributes:
        chosen: of each pair's winner, summed over its tokens (those beyond the shorter answer weighted by
            ``ld_alpha``), in nats.
        rejected: likewise, of its loser.
    """

    chosen: Float32[Tensor, " pairs"]
    rejected: Float32[Tensor, " pairs"]


def write_reference(path: Path, table: ReferenceTable, keys: Sequence[str], made_with: str) -> Path:
    """Write a table as one safetensors file, whole or not at all.

    Args:
        path: the file.
        table: in the order of ``keys``.
        keys: of :class:`burnish.align.pair_table.PairRow`, hexadecimal SHA-256.
        made_with: the reference's weights and whatever else decides its numbers, in words.

    Raises:
        BurnishError: the disk is full.
    """
    from safetensors.torch import save

    tensors = {"chosen": table.chosen, "rejected": table.rejected, "keys": _bytes(keys)}
    return write_atomic(path, save(tensors, {"made_with": made_with}))


def read_reference(path: Path, keys: Sequence[str], made_with: str) -> ReferenceTable | None:
    """A table for pairs in the order of their keys; none if there is none that has them all and was made alike."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("made_with") != made_with:
                return None
            stored, chosen, rejected = (file.get_tensor(name) for name in ("keys", "chosen", "rejected"))
    except (OSError, SafetensorError):
        return None
    places = {bytes(key): place for place, key in enumerate(stored.numpy())}
    wanted = [places.get(bytes.fromhex(key)) for key in keys]
    order = torch.tensor([place for place in wanted if place is not None], dtype=torch.long)
    return None if len(order) < len(keys) else ReferenceTable(chosen[order], rejected[order])


def _bytes(keys: Sequence[str]) -> Tensor:
    return torch.frombuffer(bytearray(bytes.fromhex("".join(keys))), dtype=torch.uint8).reshape(len(keys), -1)
