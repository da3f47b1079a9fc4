"""Activations after each prefix of chosen blocks, kept within a memory cap. Knows no model.

A prefix is a path from the root of a trie, (data chunk, block, block, ...); it is stored under the whole path, so that
looking up, counting and evicting the least recently used node are dictionary operations.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from torch import Tensor

Path = tuple[Hashable, ...]


class PrefixCache:
    """Least-recently-used store of block outputs by path.

    Args:
        limit: bytes of activations kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._nodes: OrderedDict[Path, tuple[Any, int]] = OrderedDict()

    def longest(self, path: Path, shortest: int) -> tuple[int, Any]:
        """The deepest stored prefix of ``path``.

        Args:
            path: root first.
            shortest: prefixes of this length or less do not count.

        Returns:
            Its length and what it holds, or ``shortest`` and None.
        """
        for length in range(len(path), shortest, -1):
            node = self._nodes.get(path[:length])
            if node is not None:
                self._nodes.move_to_end(path[:length])
                return length, node[0]
        return shortest, None

    def put(self, path: Path, output: Any, size: int | None = None) -> None:
        """Stores an output, pushing out what was used least recently.

        Args:
            path: root first.
            output: activations.
            size: bytes it counts for; default: what it takes.
        """
        size = size_of(output) if size is None else size
        if size > self.limit or path in self._nodes:
            return
        self._nodes[path] = (output, size)
        self.used += size
        while self.used > self.limit:
            _, (_, freed) = self._nodes.popitem(last=False)
            self.used -= freed

    def __len__(self) -> int:
        return len(self._nodes)


def size_of(output: Any) -> int:
    """Bytes of a tensor, or of all in a tuple."""
    if isinstance(output, Tensor):
        return output.element_size() * output.nelement()
    return sum(size_of(part) for part in output) if isinstance(output, tuple | list) else 0
