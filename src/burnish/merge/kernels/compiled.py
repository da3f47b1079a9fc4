"""The compiled loops of the merge kernels. Pure arithmetic on one-dimensional arrays; knows no parameter's name.

How they are written, and why it matters for speed:
- Work goes block by block through scratch arrays that stay in the first cache level, and every inner loop runs over
  slices from 0: numba then drops the tests for negative indices, and LLVM turns the loop into vector instructions.
- Models come as an array of addresses: one compilation serves any number. All of it is in this file, because numba's
  cache sees a change in the file of a function, not in the files it imports.
- float32 throughout and no fast-math: an element is rounded in the same places as in the torch functions.
"""

from typing import Any

import numpy as np
from numba import carray
from numpy.typing import NDArray

from burnish.merge.kernels.native import compiled, pointer
from burnish.merge.methods.scalars import GOLDEN, MIX_A, MIX_B

Array = NDArray[Any]

BLOCK = 1024
_GOLDEN, _MIX_A, _MIX_B = np.uint64(GOLDEN), np.uint64(MIX_A), np.uint64(MIX_B)
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_ABOVE, _FAR = np.uint32(0xFFFFFFFF), np.int64(1 << 62)  # above every magnitude, beyond every index

WHOLE, BAND, RANDOM = 0, 1, 2  # what `mix` keeps of a delta: all, a band of magnitudes, a random part


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
def _count_lower(block: Array, upper: np.uint32, hits: Array, counts: Array) -> np.int64:
    """Count the lower 16 bits of the entries whose upper bits are `upper`; return how many have none.

    In bfloat16 most have none: vectors count them. Of the others there are few: the block is looked at as rows of a
    table, and only columns with a hit are gone through one by one.
    """
    without = np.int64(_hits(block, np.uint32(upper << np.uint32(16))))
    counts[0] += without
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
    return without


@compiled
def select(base: Array, address: int, count: int) -> tuple[np.uint32, int]:
    """The `count` largest |model - base|, lowest flat index first among equals.

    Returns (threshold, cut): kept is what has a bit pattern > threshold, and what equals it up to index `cut`, inclusive.
    Counting the upper 15 bits finds the threshold's bucket, counting the lower 16 inside it the threshold, and a scan that
    stops early the last tie that still fits.
    """
    size = base.size
    model = carray(pointer(address, base), size)
    scratch = np.empty(BLOCK, np.uint32)
    upper = np.zeros((2, 1 << 15), np.uint32)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        _magnitudes(base[start:stop], model[start:stop], scratch[: stop - start])
        _count_upper(scratch[: stop - start], upper)
    bucket = 1 << 15
    room = np.int64(count)
    here = np.int64(0)
    while here < room:
        room -= here
        bucket -= 1
        here = np.int64(upper[:, bucket].sum())

    lower = np.zeros(1 << 16, np.int64)
    hits = np.empty(BLOCK // 16, np.uint32)
    without = np.empty((size + BLOCK - 1) // BLOCK, np.int64)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        _magnitudes(base[start:stop], model[start:stop], scratch[: stop - start])
        without[start // BLOCK] = _count_lower(scratch[: stop - start], np.uint32(bucket), hits, lower)
    low = (1 << 16) - 1
    while lower[low] < room:
        room -= lower[low]
        low -= 1
    threshold = np.uint32((bucket << 16) | low)
    if lower[low] == room:
        return threshold, size

    for start in range(0, size, BLOCK):
        if low == 0 and without[start // BLOCK] < room:
            room -= without[start // BLOCK]
            continue
        stop = min(start + BLOCK, size)
        block = scratch[: stop - start]
        _magnitudes(base[start:stop], model[start:stop], block)
        equal = np.int64(_hits(block, threshold))
        if equal < room:
            room -= equal
            continue
        for i in range(block.size):
            room -= np.int64(block[i] == threshold)
            if room == 0:
                return threshold, start + i
    return threshold, size


@compiled
def _keep_band(
    base: Array,
    model: Array,
    start: int,
    inner: np.uint32,
    inner_cut: int,
    outer: np.uint32,
    outer_cut: int,
    out: Array,
) -> None:
    """Deltas that `select` keeps at `inner` but not at `outer`; zeros elsewhere. `start`: flat index of the first."""
    first = 0  # ties up to the cut are kept: on either side of it this is one comparison an element
    while first < out.size:
        flat = start + first
        stop = out.size
        low, high = inner, outer
        if flat <= inner_cut:
            stop = min(stop, inner_cut + 1 - start)
        else:
            low += np.uint32(1)
        if flat <= outer_cut:
            stop = min(stop, outer_cut + 1 - start)
        else:
            high += np.uint32(1)
        segment, before, after = out[first:stop], base[first:stop], model[first:stop]
        for i in range(segment.size):
            delta = np.float32(_widen(after[i], model) - _widen(before[i], base))
            bits = np.uint32(np.float32(delta).view(np.uint32) & _MAGNITUDE)
            segment[i] = delta if (bits >= low) & (bits < high) else np.float32(0)
        first = stop


@compiled
def _keep_at_random(
    base: Array, model: Array, start: int, key: np.uint64, shift: np.uint64, chance: np.uint64, out: Array
) -> None:
    """Deltas kept with probability chance / 2^32; see methods/counter.py."""
    first = np.uint64(start + 1) * _GOLDEN + key
    for i in range(out.size):
        state = first + np.uint64(i) * _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _MIX_A
        state = (state ^ (state >> np.uint64(27))) * _MIX_B
        state ^= state >> np.uint64(31)
        word = (state >> shift) & np.uint64(0xFFFFFFFF)
        delta = np.float32(_widen(model[i], model) - _widen(base[i], base))
        out[i] = delta if word < chance else np.float32(0)


@compiled
def _sparsify(base: Array, model: Array, start: int, mode: int, whole: Array, out: Array) -> None:
    """One block of one model's sparsified delta, by its row of `mode` and `whole` numbers."""
    if mode == BAND:
        inner, outer = np.uint32(whole[0]), np.uint32(whole[2])
        _keep_band(base, model, start, inner, np.int64(whole[1]), outer, np.int64(whole[3]), out)
    elif mode == RANDOM:
        _keep_at_random(base, model, start, whole[0], whole[1], whole[2], out)
    else:
        _keep_band(base, model, start, np.uint32(0), _FAR, _ABOVE, _FAR, out)


@compiled
def norms(base: Array, address: int, mode: int, whole: Array) -> Array:
    """The l1, squared l2 and linf norms of a delta, before and after its entries are dropped."""
    size = base.size
    model = carray(pointer(address, base), size)
    scratch = np.empty(BLOCK, np.float32)
    found = np.zeros((2, 3), np.float64)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        block = scratch[: stop - start]
        for after in range(2):
            _sparsify(base[start:stop], model[start:stop], start, mode if after else WHOLE, whole, block)
            for i in range(block.size):
                entry = np.float64(abs(block[i]))
                found[after, 0] += entry
                found[after, 1] += entry * entry
                found[after, 2] = max(found[after, 2], entry)
    return found


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
    modes: Array,
    whole: Array,
    scales: Array,
    weights: Array,
    elect: bool,
    divide: bool,
    divisor: np.float32,
    factor: np.float32,
    out: Array,
) -> None:
    """base + factor * mix_m(weights[m] * scales[m] * sparsified delta m), rounded once.

    `elect`: mix over the entries that agree with the elected sign, and `divide` by their weights; else mix over all and
    divide by `divisor`.
    """
    size = base.size
    count = addresses.size
    parts = np.empty((count, BLOCK), np.float32)
    totals = np.empty(BLOCK, np.float32)
    masses = np.empty(BLOCK, np.float32)
    merged = np.empty(BLOCK, np.float32)
    # Many small functions: LLVM vectorises each of these loops alone, and none of them in one long body.
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        length = stop - start
        before, after, total = base[start:stop], out[start:stop], totals[:length]
        for m in range(count):
            model = carray(pointer(addresses[m], base), size)[start:stop]
            _sparsify(before, model, start, modes[m], whole[m], parts[m, :length])
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
def average(addresses: Array, weights: Array, divisor: np.float32, out: Array) -> None:
    """sum_m weights[m] * model m, divided by `divisor`, rounded once."""
    size = out.size
    totals = np.empty(BLOCK, np.float32)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        total, after = totals[: stop - start], out[start:stop]
        for m in range(addresses.size):
            _add_weighted(carray(pointer(addresses[m], out), size)[start:stop], weights[m], m == 0, total)
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
def products(a: Array, b: Array) -> Array:
    """a.b, a.a and b.b in float64, each as 128 partial sums: one running sum could not be vectorised."""
    sums = np.zeros((3, 128), np.float64)
    for start in range(0, a.size, 128):
        left, right = a[start : start + 128], b[start : start + 128]
        _add_products(left, right, a, sums[0], sums[1], sums[2])
    return sums
