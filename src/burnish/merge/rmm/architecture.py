"""What a search chooses: an ordered list of blocks, or a table of scales. Immutable, hashable, to and from plain
data."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from burnish.core.errors import UserError


class Block(NamedTuple):
    """One block of the merged model.

    Attributes:
        side: index of the stack it belongs to (0: the only one, or the encoder; 1: the decoder).
        layer: its index within that stack of the source model.
        candidate: which model it comes from: experts first, then merges.
    """

    side: int
    layer: int
    candidate: int


@dataclass(frozen=True)
class Blocks:
    """Chosen blocks in the order they were taken. Blocks of one side keep that order; sides never mix."""

    blocks: tuple[Block, ...]

    def of_side(self, side: int) -> tuple[Block, ...]:
        """The blocks of one stack, in running order."""
        return tuple(block for block in self.blocks if block.side == side)

    def ordered(self) -> tuple[Block, ...]:
        """All blocks in running order: the encoder's before the decoder's."""
        return tuple(sorted(self.blocks, key=lambda block: block.side))

    def to_plain(self) -> dict[str, Any]:
        """For YAML or JSON."""
        return {"kind": "blocks", "blocks": [list(block) for block in self.ordered()]}


@dataclass(frozen=True)
class Scales:
    """Layer l is base + sum_e values[l][e] * task vector e. Rows run over all stacks' layers, the encoder's first."""

    values: tuple[tuple[float, ...], ...]

    def to_plain(self) -> dict[str, Any]:
        """For YAML or JSON."""
        return {"kind": "scales", "values": [list(row) for row in self.values]}


Architecture = Blocks | Scales


def from_plain(data: dict[str, Any]) -> Architecture:
    """The inverse of ``to_plain``.

    Raises:
        UserError: the data describe neither blocks nor scales.
    """
    match data:
        case {"kind": "blocks", "blocks": list(rows)} if all(len(row) == 3 for row in rows):
            return Blocks(tuple(Block(*(int(value) for value in row)) for row in rows))
        case {"kind": "scales", "values": list(rows)}:
            return Scales(tuple(tuple(float(value) for value in row) for row in rows))
    raise UserError(
        f"architecture: expected kind: blocks with [side, layer, candidate] rows or kind: scales, got {data!r:.120}"
    )


def uniform(lengths: tuple[int, ...], candidate: int) -> Blocks:
    """The candidate itself, whole.

    Args:
        lengths: number of layers of each stack.
        candidate: its index.
    """
    return Blocks(
        tuple(Block(side, layer, candidate) for side, length in enumerate(lengths) for layer in range(length))
    )
