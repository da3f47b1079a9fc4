"""The compiled loops of the merge kernels. Pure arithmetic on tiles of one-dimensional arrays; knows no parameter's name.

How they are written, and why it matters for speed:
- Work goes block by block through scratch arrays that stay in the first cache level, and every inner loop runs over
  slices from 0: numba then drops the tests for negative indices, and LLVM turns the loop into vector instructions.
- Models come as an array of addresses: one compilation serves any number.
- Nothing is allocated: scratch comes from the caller, and the machine code needs nothing of numba's (see `machine.py`).
- float32 throughout and no fast-math: an element is rounded in the same places as in the torch functions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.merge.kernels.modes import ALL, BAND, BLOCK, RANDOM, WHOLE
from burnish.merge.kernels.native import array_at, compiled
from burnish.merge.methods.scalars import GOLDEN, MIX_A, MIX_B

Array = NDArray[Any]

_GOLDEN, _MIX_A, _MIX_B = np.uint64(GOLDEN), np.uint64(MIX_A), np.uint64(MIX_B)
_MAGNITUDE = np.uint32(0x7FFFFFFF)


@compiled
def _widen(word: Any, like: Array) -> np.float32:
    """The float32 value of an element: bfloat16 bits are its upper half, float32 is itself."""
    if like.itemsize == 2:
        return np.uint32(np.uint32(word) << np.uint32(16)).view(np.float32)
    return np.float32(word)


@compiled
def _narrow(value: Any, like: Array) -> np.float32 | np.uint32:
    """Round to nearest, ties to even, to the element type of `like`; a NaN becomes torch's."""
    if like.itemsize == 2:
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(bits >> np.uint32(16)) & np.uint32(1)
        rounded = np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        return np.uint32(0x7FC0) if value != value else np.uint32(rounded)
    return np.float32(value)


@compiled
def _magnitudes(base: Array, model: Array, out: Array) -> None:
    """The bit patterns of |model - base|: as whole numbers they are ordered like the magnitudes."""
    for i in range(out.size):
        delta = _widen(model[i], model) - _widen(base[i], base)
        out[i] = np.uint32(np.float32(delta).view(np.uint32) & _MAGNITUDE)


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
def _equal(base: Array, model: Array, wanted: np.uint32) -> np.uint64:
    """How many magnitudes have exactly these bits."""
    hits = np.uint32(0)
    for i in range(base.size):
        delta = np.float32(_widen(model[i], model) - _widen(base[i], base))
        hits += np.uint32(np.uint32(delta.view(np.uint32) & _MAGNITUDE) == wanted)
    return np.uint64(hits)


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
def _cut(base: Array, model: Array, threshold: np.uint32, room: Array) -> int:
    """Length of a block's head in which entries equal to the threshold still fit; takes them off `room`, uint64 [1]."""
    if room[0] == 0:
        return 0
    if room[0] >= ALL:
        return base.size
    ties = _equal(base, model, threshold)
    if ties <= room[0]:
        room[0] -= ties
        return base.size
    for i in range(base.size):
        room[0] -= _equal(base[i : i + 1], model[i : i + 1], threshold)
        if room[0] == 0:
            return i + 1
    return base.size


@compiled
def _keep_band(base: Array, model: Array, band: Array, out: Array) -> None:
    """One block's deltas that are among the largest, but not among the outliers; zeros elsewhere.

    `band`: threshold and room for ties of what is kept, and of the outliers. The first ties in index order are kept, so
    blocks must come in order; the room that is left goes on to the next.
    """
    inner, outer = np.uint32(band[0]), np.uint32(band[2])
    inner_cut = _cut(base, model, inner, band[1:2])
    outer_cut = _cut(base, model, outer, band[3:4])
    first = 0
    while first < out.size:  # on either side of a cut this is one comparison an element
        stop = out.size
        low, high = inner, outer
        if first < inner_cut:
            stop = min(stop, inner_cut)
        else:
            low += np.uint32(1)
        if first < outer_cut:
            stop = min(stop, outer_cut)
        else:
            high += np.uint32(1)
        segment, before, after = out[first:stop], base[first:stop], model[first:stop]
        for i in range(segment.size):
            delta = np.float32(_widen(after[i], model) - _widen(before[i], base))
            bits = np.uint32(np.float32(delta).view(np.uint32) & _MAGNITUDE)
            segment[i] = delta if (bits >= low) & (bits < high) else np.float32(0)
        first = stop


@compiled
def _random_words(start: int, key: np.uint64, out: Array) -> None:
    """The random words of the entries from flat index `start` on; see methods/counter.py."""
    first = np.uint64(start + 1) * _GOLDEN + key
    for i in range(out.size):
        state = first + np.uint64(i) * _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _MIX_A
        state = (state ^ (state >> np.uint64(27))) * _MIX_B
        out[i] = state ^ (state >> np.uint64(31))


@compiled
def _keep_at_random(base: Array, model: Array, words: Array, shift: np.uint64, chance: np.uint64, out: Array) -> None:
    """Deltas kept with probability chance / 2^32, by one half of each word."""
    for i in range(out.size):
        word = (words[i] >> shift) & np.uint64(0xFFFFFFFF)
        delta = np.float32(_widen(model[i], model) - _widen(base[i], base))
        out[i] = delta if word < chance else np.float32(0)


@compiled
def _subtract(base: Array, model: Array, out: Array) -> None:
    for i in range(out.size):
        out[i] = np.float32(_widen(model[i], model) - _widen(base[i], base))


@compiled
def _sparsify(
    base: Array, model: Array, start: int, mode: int, row: Array, words: Array, fresh: bool, out: Array
) -> None:
    """One block of one model's sparsified delta; `fresh`: the random words are not yet those of this block and key."""
    if mode == BAND:
        _keep_band(base, model, row, out)
    elif mode == RANDOM:
        if fresh:
            _random_words(start, row[0], words)
        _keep_at_random(base, model, words, row[1], row[2], out)
    else:
        _subtract(base, model, out)


@compiled
def norms(
    base: Array, address: int, start: int, mode: int, row: Array, found: Array, scratch: Array, words: Array
) -> None:
    """Add a tile to the l1, squared l2 and linf norms of a delta, before and after its entries are dropped.

    `found`: float64 [2, 3]; `start`: the tile's first flat index; `row`: as for `mix`, used up likewise; `scratch`, float32, and
    `words`, uint64: [BLOCK].
    """
    size = base.size
    model = array_at(address, base, size)
    for first in range(0, size, BLOCK):
        stop = min(first + BLOCK, size)
        block = scratch[: stop - first]
        for after in range(2):
            kept = mode if after else WHOLE
            _sparsify(base[first:stop], model[first:stop], start + first, kept, row, words[: stop - first], True, block)
            for i in range(block.size):
                entry = np.float64(abs(block[i]))
                found[after, 0] += entry
                found[after, 1] += entry * entry
                found[after, 2] = max(found[after, 2], entry)


@compiled
def _add_part(part: Array, scale: np.float32, weight: np.float32, first: bool, total: Array) -> None:
    """Weigh a sparsified delta in place and add it up; the first one starts the sum."""
    if first:
        for i in range(part.size):
            part[i] = part[i] * scale * weight
            total[i] = part[i]
    else:
        for i in range(part.size):
            part[i] = part[i] * scale * weight
            total[i] += part[i]


@compiled
def _agree(part: np.float32, total: np.float32) -> np.bool:
    """Whether an entry has the elected sign; a zero sum elects +. Turned round, so that a NaN agrees and is seen."""
    return ~(((part <= 0) & (total >= 0)) | ((part >= 0) & (total < 0)))


@compiled
def _add_agreeing(part: Array, total: Array, weight: np.float32, mixed: Array, mass: Array) -> None:
    """Add the entries with the elected sign, and their weight."""
    for i in range(part.size):
        agrees = _agree(part[i], total[i])
        mixed[i] += part[i] if agrees else np.float32(0)
        mass[i] += weight if agrees else np.float32(0)


@compiled
def _add_elected(base: Array, mixed: Array, mass: Array, divide: bool, factor: np.float32, out: Array) -> None:
    for i in range(mixed.size):
        divisor = mass[i] if divide & (mass[i] != 0) else np.float32(1)
        out[i] = _narrow(np.float32(_widen(base[i], base) + mixed[i] / divisor * factor), out)


@compiled
def _elect_two(
    base: Array, a: Array, b: Array, scales: Array, weights: Array, divide: bool, factor: np.float32, out: Array
) -> None:
    """The election of two models in one pass: the usual case, and nothing but the result goes through memory."""
    scale_a, scale_b, weight_a, weight_b = scales[0], scales[1], weights[0], weights[1]
    zero = np.float32(0)
    for i in range(out.size):
        part_a, part_b = a[i] * scale_a * weight_a, b[i] * scale_b * weight_b
        total = part_a + part_b
        agrees_a, agrees_b = _agree(part_a, total), _agree(part_b, total)
        mixed = (part_a if agrees_a else zero) + (part_b if agrees_b else zero)
        mass = (weight_a if agrees_a else zero) + (weight_b if agrees_b else zero)
        divisor = mass if divide & (mass != 0) else np.float32(1)
        out[i] = _narrow(np.float32(_widen(base[i], base) + mixed / divisor * factor), out)


@compiled
def _add_to_base(base: Array, mixed: Array, divisor: np.float32, factor: np.float32, out: Array) -> None:
    for i in range(mixed.size):
        out[i] = _narrow(np.float32(_widen(base[i], base) + mixed[i] / divisor * factor), out)


@compiled
def mix(
    base: Array,
    addresses: Array,
    start: int,
    modes: Array,
    rows: Array,
    scales: Array,
    weights: Array,
    elect: bool,
    divide: bool,
    divisor: np.float32,
    factor: np.float32,
    out: Array,
    scratch: Array,
    words: Array,
) -> None:
    """base + factor * mix_m(weights[m] * scales[m] * sparsified delta m) of one tile, rounded once.

    `start`: the tile's first flat index. `rows`, uint64 [models, 4]: of a BAND the thresholds and the room for ties, which
    is used up as tiles come in order; of a RANDOM part key, shift and chance. `elect`: mix over the entries that agree with
    the elected sign, and `divide` by their weights; else mix over all and divide by `divisor`. `scratch`, float32
    [models + 3, BLOCK], and `words`, uint64 [BLOCK].
    """
    size = base.size
    count = addresses.size
    parts, totals, masses, merged = scratch[:count], scratch[count], scratch[count + 1], scratch[count + 2]
    # Many small functions: LLVM vectorises each of these loops alone, and none of them in one long body.
    for first in range(0, size, BLOCK):
        stop = min(first + BLOCK, size)
        length = stop - first
        before, after, total = base[first:stop], out[first:stop], totals[:length]
        for m in range(count):
            model = array_at(addresses[m], base, size)[first:stop]
            # Two neighbours share their words.
            fresh = (m == 0) or (modes[m - 1] != RANDOM) or (rows[m, 0] != rows[m - 1, 0])
            _sparsify(before, model, start + first, modes[m], rows[m], words[:length], fresh, parts[m, :length])
        if elect and count == 2:
            _elect_two(before, parts[0, :length], parts[1, :length], scales, weights, divide, factor, after)
            continue
        for m in range(count):
            _add_part(parts[m, :length], scales[m], weights[m], m == 0, total)
        if elect:
            mixed, mass = merged[:length], masses[:length]
            mixed[:] = np.float32(0)
            mass[:] = np.float32(0)
            for m in range(count):
                _add_agreeing(parts[m, :length], total, weights[m], mixed, mass)
            _add_elected(before, mixed, mass, divide, factor, after)
        else:
            _add_to_base(before, total, divisor, factor, after)


@compiled
def _add_weighted(model: Array, weight: np.float32, first: bool, total: Array) -> None:
    # The first one starts the sum: 0 + (-0) would lose the sign.
    if first:
        for i in range(total.size):
            total[i] = _widen(model[i], model) * weight
    else:
        for i in range(total.size):
            total[i] += _widen(model[i], model) * weight


@compiled
def average(addresses: Array, weights: Array, divisor: np.float32, out: Array, totals: Array) -> None:
    """sum_m weights[m] * model m, divided by `divisor`, rounded once; `totals` is scratch, float32 [BLOCK]."""
    size = out.size
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        total, after = totals[: stop - start], out[start:stop]
        for m in range(addresses.size):
            _add_weighted(array_at(addresses[m], out, size)[start:stop], weights[m], m == 0, total)
        for i in range(total.size):
            after[i] = _narrow(np.float32(total[i] / divisor), out)


@compiled
def _add_products(a: Array, b: Array, like: Array, ab: Array, aa: Array, bb: Array) -> None:
    for i in range(a.size):
        x, y = np.float64(_widen(a[i], like)), np.float64(_widen(b[i], like))
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
    """The largest of `bits & mask` of a tile: `found`, [1] of the same element type."""
    most = bits[0] & mask
    for i in range(bits.size):
        most = max(most, bits[i] & mask)
    found[0] = most
