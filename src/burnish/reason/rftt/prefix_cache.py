"""Keys and values of paths that share their beginnings: every node keeps its own slice, up to so many bytes.

Knows tensors; knows no model and no search. A slice is found under the tokens of its step and of all before it, so
equal steps share one, and what a path is called does not matter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.dialogue.prefixes import Ids, Slice
from burnish.reason.rftt.generators.protocol import Proposal

Chain = tuple[Ids, ...]
"""The tokens of a path, cut where its nodes begin: the prompt, the first step, the second."""


@dataclass(frozen=True)
class NodeSlice(Slice):
    """The slice of one node.

    Attributes:
        proposal: what may follow the node's last token; none where it was not asked for.
    """

    proposal: Proposal | None = None


def names_of(chain: Chain) -> list[int]:
    """A name for each node of a path, out of its tokens and all before."""
    found, name = [], 0
    for ids in chain:
        name = hash((name, ids))
        found.append(name)
    return found


class PrefixCache:
    """Slices up to so many bytes; the one that was longest not used goes first, a node before what it follows.

    Args:
        budget: the most bytes of keys and values that it holds.

    Attributes:
        held: bytes now.
        peak: the most that it ever held.
        dropped: slices given up, or never taken in, for want of room.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.held = self.peak = self.dropped = 0
        self._slices: OrderedDict[int, NodeSlice] = OrderedDict()

    def get(self, name: int, ids: Ids) -> NodeSlice | None:
        """The slice of a node, if it is held."""
        found = self._slices.get(name)
        return found if found is not None and found.ids == ids else None

    def keep(self, path: Sequence[tuple[int, NodeSlice]]) -> None:
        """Take in the slices of a path, first node first, or mark them as used now."""
        for name, piece in reversed(path):  # what comes later in the path is older, and goes before
            old = self._slices.pop(name, None)
            self.held -= old.nbytes if old is not None else 0
            while self._slices and self.held + piece.nbytes > self.budget:
                self.held -= self._slices.popitem(last=False)[1].nbytes
                self.dropped += 1
            if self.held + piece.nbytes > self.budget:
                self.dropped += 1
                continue
            self._slices[name] = piece
            self.held += piece.nbytes
            self.peak = max(self.peak, self.held)

    def clear(self) -> None:
        """Forget all."""
        self._slices.clear()
        self.held = 0
