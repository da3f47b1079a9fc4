"""What a search costs in architectures and blocks, whatever the number of workers and however often it was interrupted.

Caches are empty after a restart and every worker has its own, so what was really run depends on both. Counted here is
what one process that was never stopped runs: the same prefix cache, holding sizes instead of activations.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

from burnish.merge.rmm.cache import PrefixCache
from burnish.merge.rmm.reward import Chunk, Subset

Sizes = dict[Chunk, tuple[int, ...]]
"""Bytes that a block's output takes on these items, per stack."""


@dataclass
class Ledger:
    """Counts evaluations.

    Attributes:
        limit: bytes of the cache; 0: none.
        sizes: of the outputs seen so far; chunks that are missing are never cached (a user's function).
        evaluated: architectures.
        blocks_run: block evaluations, one a block and forward pass.
        blocks_saved: those that the cache answered.
    """

    limit: int
    sizes: Sizes = field(default_factory=dict)
    evaluated: int = 0
    blocks_run: int = 0
    blocks_saved: int = 0

    def __post_init__(self) -> None:
        self._cache = PrefixCache(self.limit)

    def count(self, stem: Hashable, tokens: tuple[tuple[Hashable, ...], ...], subset: Subset) -> None:
        """One architecture on a subset.

        Args:
            stem: tells its stem from others.
            tokens: tell its blocks from others, per stack; see ``Weights``.
            subset: the items, one forward pass a chunk.
        """
        self.evaluated += 1
        for chunk in subset:
            self._count_chunk(chunk, stem, tokens)

    def _count_chunk(self, chunk: Chunk, stem: Hashable, tokens: tuple[tuple[Hashable, ...], ...]) -> None:
        blocks = sum(map(len, tokens))
        if not self.limit or chunk not in self.sizes:
            self.blocks_run += blocks
            return
        path = (chunk, stem, *(token for side in tokens for token in (*side, "|")))
        spans, start = [], 2
        for side in tokens:  # as an assembly does: all stacks are looked up before the first one runs
            stop = start + len(side)
            depth, _ = self._cache.longest(path[:stop], start)
            spans.append((depth, stop))
            self.blocks_saved += depth - start
            start = stop + 1
        for (depth, stop), size in zip(spans, self.sizes[chunk], strict=True):
            self.blocks_run += stop - depth
            for end in range(depth + 1, stop + 1):
                self._cache.put(path[:end], None, size)
