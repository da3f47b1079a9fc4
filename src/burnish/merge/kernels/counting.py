"""The compiled loops that look at tensors: histograms of magnitudes, inner products, the largest element.

Pure arithmetic on tiles of one-dimensional arrays; see ``mixing.py`` for how such loops are written.
"""

from typing import Any

import numpy as np

from burnish.merge.kernels.bits import MAGNITUDE, Array, widen
from burnish.merge.kernels.modes import BLOCK
from burnish.merge.kernels.native import array_at, compiled


@compiled
def _magnitudes(base: Array, model: Array, out: Array) -> None:
    """The bit patterns of |model - base|: as whole numbers they are ordered like the magnitudes."""
    for i in range(out.size):
        delta = widen(model[i], model) - widen(base[i], base)
        out[i] = np.uint32(np.float32(delta).view(np.uint32) & MAGNITUDE)


@compiled
def _count_upper(block: Array, counts: Array) -> None:
    """Count the upper 15 bits, in two histograms: equal neighbours would else wait for each other's store."""
    half = block.size // 2
    for j in range(half):
        pair = block[2 * j : 2 * j + 2]
        counts[0, pair[0] >> np.uint32(16)] += np.uint32(1)
        counts[1, pair[1] >> np.uint32(16)] += np.uint32(1)
    for i in range(2 * half, block.size):
        counts[0, block[i] >> np.uint32(16)] += np.uint32(1)


@compiled
def _hits(block: Array, wanted: np.uint32) -> np.uint32:
    hits = np.uint32(0)
    for i in range(block.size):
        hits += np.uint32(block[i] == wanted)
    return hits


@compiled
def _mark(row: Array, upper: np.uint32, hits: Array) -> None:
    for i in range(row.size):
        inside = np.uint32(row[i] >> np.uint32(16)) == upper
        hits[i] |= np.uint32(inside & (np.uint32(row[i] & np.uint32(0xFFFF)) != 0))


@compiled
def _count_one(bits: Any, upper: np.uint32, counts: Array) -> None:
    low = np.uint32(bits & np.uint32(0xFFFF))
    if (np.uint32(bits >> np.uint32(16)) == upper) & (low != 0):
        counts[low] += 1


@compiled
def _count_lower(block: Array, upper: np.uint32, hits: Array, counts: Array) -> None:
    """Count the lower 16 bits of the entries whose upper bits are `upper`.

    In bfloat16 most have none: vectors count them. Of the others there are few: the block is looked at as rows of a
    table, and only columns with a hit are gone through one by one.
    """
    counts[0] += np.int64(_hits(block, np.uint32(upper << np.uint32(16))))
    columns = hits.size
    rows = block.size // columns
    hits[:] = np.uint32(0)
    for r in range(rows):
        _mark(block[columns * r : columns * (r + 1)], upper, hits)
    for c in range(columns):
        if hits[c]:
            for i in range(c, rows * columns, columns):
                _count_one(block[i], upper, counts)
    for i in range(rows * columns, block.size):
        _count_one(block[i], upper, counts)


@compiled
def count_upper(base: Array, address: int, counts: Array, scratch: Array) -> None:
    """Add a tile's |model - base| to the histogram of their upper 15 bits: `counts`, uint32 [2, 2^15], to be summed.

    `scratch`: uint32 [BLOCK].
    """
    size = base.size
    model = array_at(address, base, size)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        _magnitudes(base[start:stop], model[start:stop], scratch[: stop - start])
        _count_upper(scratch[: stop - start], counts)


@compiled
def count_lower(base: Array, address: int, upper: np.uint32, counts: Array, scratch: Array, hits: Array) -> None:
    """Add a tile's |model - base| with these upper 15 bits to the histogram of their lower 16: `counts`, int64 [2^16].

    `scratch`, `hits`: uint32 [BLOCK] and [BLOCK / 16].
    """
    size = base.size
    model = array_at(address, base, size)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        _magnitudes(base[start:stop], model[start:stop], scratch[: stop - start])
        _count_lower(scratch[: stop - start], np.uint32(upper), hits, counts)


@compiled
def _add_products(a: Array, b: Array, like: Array, ab: Array, aa: Array, bb: Array) -> None:
    for i in range(a.size):
        x, y = np.float64(widen(a[i], like)), np.float64(widen(b[i], like))
        ab[i] += x * y
        aa[i] += x * x
        bb[i] += y * y


@compiled
def products(a: Array, address: int, sums: Array) -> None:
    """Add a tile to a.b, a.a and b.b: `sums`, float64 [3, 128]. One running sum each could not be vectorised."""
    b = array_at(address, a, a.size)
    for start in range(0, a.size, 128):
        left, right = a[start : start + 128], b[start : start + 128]
        _add_products(left, right, a, sums[0], sums[1], sums[2])


@compiled
def largest(bits: Array, mask: Any, found: Array) -> None:
    """The largest of `bits & mask` of a tile and `found`, [1] of the same element type, goes there.

    No number is wider than an element: left to itself numba computes in 64 bits, of which a vector holds few.
    """
    most = found[0]
    for i in range(bits.size):
        masked = found.dtype.type(bits[i] & mask)
        if masked > most:
            most = masked
    found[0] = most
