"""Cells, blocks and the paths between them: an index by chunk, and A* on it."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence

from burnish.act.worlds.craftworld.rules import CHUNK, Cell, chunk_of, distance
from burnish.act.worlds.craftworld.terrain import is_solid

LONGEST_SEARCH = 8000  # cells looked at for one path
POCKET = 300  # cells looked at to see whether a goal is shut in
SOON = 100  # cells looked at for a path before that is asked: most are found sooner
_AROUND = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if (dx, dy) != (0, 0)]


class Grid:
    """The map.

    Args:
        size: cells on a side.
        blocks: block by cell; becomes the grid's own.
    """

    def __init__(self, size: int, blocks: dict[Cell, str]) -> None:
        self.size = size
        self.blocks = blocks
        self._chunks: dict[Cell, dict[str, set[Cell]]] = {}
        for cell, block in blocks.items():
            self._index(cell, block)

    def _index(self, cell: Cell, block: str) -> None:
        self._chunks.setdefault(chunk_of(cell), {}).setdefault(block, set()).add(cell)

    def put(self, cell: Cell, block: str) -> None:
        """Put a block onto a free cell."""
        self.blocks[cell] = block
        self._index(cell, block)

    def clear(self, cell: Cell) -> None:
        """Take a block away."""
        block = self.blocks.pop(cell)
        self._chunks[chunk_of(cell)][block].discard(cell)

    def inside(self, cell: Cell) -> bool:
        """Whether a cell is on the map."""
        return 0 <= cell[0] < self.size and 0 <= cell[1] < self.size

    def free(self, cell: Cell) -> bool:
        """Whether one can stand on a cell."""
        block = self.blocks.get(cell)
        return self.inside(cell) and (block is None or not is_solid(block))

    def chunks_around(self, chunk: Cell, reach: int) -> Iterator[Cell]:
        """Chunks of the map within ``reach`` chunks."""
        last = (self.size - 1) // CHUNK
        for cy in range(max(0, chunk[1] - reach), min(last, chunk[1] + reach) + 1):
            for cx in range(max(0, chunk[0] - reach), min(last, chunk[0] + reach) + 1):
                yield cx, cy

    def ring(self, chunk: Cell, reach: int) -> Iterator[Cell]:
        """Chunks of the map at exactly ``reach`` chunks."""
        last, (middle_x, middle_y) = (self.size - 1) // CHUNK, chunk
        for cy in range(max(0, middle_y - reach), min(last, middle_y + reach) + 1):
            whole = abs(cy - middle_y) == reach  # the upper and the lower side; of the rows between only the ends
            row = range(middle_x - reach, middle_x + reach + 1, 1 if whole else 2 * reach)
            yield from ((cx, cy) for cx in row if 0 <= cx <= last)

    def nearest(
        self, start: Cell, blocks: Collection[str], known: Collection[Cell], taken: Collection[Cell]
    ) -> Cell | None:
        """The nearest cell with one of the blocks in a known chunk that is not taken; ``None`` if there is none."""
        here = chunk_of(start)
        best: tuple[int, int, int] | None = None
        for reach, chunk in sorted((distance(here, each), each) for each in known):
            if best is not None and (reach - 1) * CHUNK >= best[0]:
                break
            found = self._chunks.get(chunk, {})
            for block in blocks:
                for cell in found.get(block, ()):
                    if cell not in taken:
                        rank = (distance(start, cell), cell[1], cell[0])
                        best = rank if best is None or rank < best else best
        return None if best is None else (best[2], best[1])

    def nearest_of_each(self, start: Cell, reach: int) -> dict[str, tuple[int, Cell]]:
        """Each block within ``reach`` cells, known or not: how far the nearest one is, and where."""
        x, y = start
        nearest: dict[str, tuple[int, Cell]] = {}
        chunks = []
        for chunk in self.chunks_around(chunk_of(start), -(-reach // CHUNK)):
            left, top = chunk[0] * CHUNK, chunk[1] * CHUNK
            chunks.append((max(0, left - x, x - left - CHUNK + 1, top - y, y - top - CHUNK + 1), chunk))
        # From near to far: most blocks of a chunk that is farther than one already found need not be looked at.
        for gap, chunk in sorted(chunks):
            for block, cells in self._chunks.get(chunk, {}).items():
                best = nearest.get(block)
                if cells and (best is None or gap <= best[0]):
                    rank = min([(max(abs(cell[0] - x), abs(cell[1] - y)), cell) for cell in cells])
                    if rank[0] <= reach and (best is None or rank < best):
                        nearest[block] = rank
        return nearest

    def unknown(self, start: Cell, known: Collection[Cell]) -> Cell | None:
        """The middle of the nearest chunk that is not known; ``None`` if all are."""
        here = chunk_of(start)
        for reach in range((self.size - 1) // CHUNK + 1):
            found = [chunk for chunk in self.ring(here, reach) if chunk not in known]
            if found:
                cx, cy = min(found, key=lambda each: ((each[0] * 7 + each[1] * 13 + here[0]) % 5, each))
                return min(self.size - 1, cx * CHUNK + CHUNK // 2), min(self.size - 1, cy * CHUNK + CHUNK // 2)
        return None

    def path(self, start: Cell, goal: Cell, near: int) -> list[Cell] | None:
        """Cells to step on, one after another, until within ``near`` cells of the goal; ``None`` if there is none."""
        straight = self._straight(start, goal, near)
        if straight is not None:
            return straight
        # From the goal nobody comes to who stands inside of a block, so for them it is asked before the search.
        if not self.free(start) and self._shut_in(start, goal, near):
            return None
        return self._search(start, goal, near)

    def towards(self, start: Cell, goal: Cell, near: Sequence[int]) -> list[Cell] | None:
        """The path to within the first of the distances ``near`` that can be reached; ``None`` if none can."""
        found = (self.path(start, goal, gap) for gap in near)
        return next((path for path in found if path is not None), None)

    def open_path(self, start: Cell, goal: Cell) -> None:
        """Make sure that one can walk from a cell to another; without a path, blocks in the straight line go."""
        if self.path(start, goal, 0) is not None:
            return
        here = start
        while here != goal:
            here = (here[0] + _sign(goal[0] - here[0]), here[1] + _sign(goal[1] - here[1]))
            if not self.free(here):
                self.clear(here)

    def _straight(self, start: Cell, goal: Cell, near: int) -> list[Cell] | None:
        cells, here = [], start
        while distance(here, goal) > near:
            here = (here[0] + _sign(goal[0] - here[0]), here[1] + _sign(goal[1] - here[1]))
            if not self.free(here):
                return None
            cells.append(here)
        return cells

    def _shut_in(self, start: Cell, goal: Cell, near: int) -> bool:
        """Whether all that is within ``near`` of the goal lies in pockets without a way out to ``start``.

        A search from the start would look at all of the map before it knew.
        """
        blocks, size = self.blocks, self.size
        (x, y), sides = goal, range(-near, near + 1)
        border = [cell for dx in sides for dy in sides if self.free(cell := (x + dx, y + dy))]
        seen = set(border)
        while border and len(seen) < POCKET:
            here_x, here_y = border.pop()
            for dx, dy in _AROUND:
                cell = (here_x + dx, here_y + dy)
                if cell in seen or not (0 <= cell[0] < size and 0 <= cell[1] < size):
                    continue
                block = blocks.get(cell)
                if block is None or not is_solid(block):
                    if cell == start:
                        return False
                    seen.add(cell)
                    border.append(cell)
        return not border

    def _search(self, start: Cell, goal: Cell, near: int) -> list[Cell] | None:
        # The inner loop is most of the time of a crowded world: nothing is called in it that can be written out.
        blocks, size, (goal_x, goal_y) = self.blocks, self.size, goal
        came: dict[Cell, Cell | None] = {start: None}
        steps = {start: 0}
        border = [(distance(start, goal), 0, start)]
        looked = 0
        while border and looked < LONGEST_SEARCH:
            if looked == SOON and self._shut_in(start, goal, near):
                return None
            _, _, here = heapq.heappop(border)
            looked += 1
            here_x, here_y = here
            if max(abs(here_x - goal_x), abs(here_y - goal_y)) <= near:
                return self._back(came, here)
            taken = steps[here] + 1
            for dx, dy in _AROUND:
                x, y = here_x + dx, here_y + dy
                if not (0 <= x < size and 0 <= y < size):
                    continue
                cell = (x, y)
                if taken >= steps.get(cell, 1 << 30):
                    continue
                block = blocks.get(cell)
                if block is None or not is_solid(block):
                    steps[cell], came[cell] = taken, here
                    far_x, far_y = x - goal_x, y - goal_y
                    far_x, far_y = (far_x if far_x > 0 else -far_x), (far_y if far_y > 0 else -far_y)
                    heapq.heappush(border, (taken + (far_x if far_x > far_y else far_y), -taken, cell))
        return None

    @staticmethod
    def _back(came: dict[Cell, Cell | None], here: Cell) -> list[Cell]:
        cells: list[Cell] = []
        at: Cell | None = here
        while at is not None:
            cells.append(at)
            at = came[at]
        return cells[-2::-1]


def around(cell: Cell) -> Iterator[Cell]:
    """The eight cells beside one."""
    return ((cell[0] + dx, cell[1] + dy) for dx, dy in _AROUND)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
