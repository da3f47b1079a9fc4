"""The compiled loops that merge. Pure arithmetic on tiles of one-dimensional arrays; knows no parameter's name.

How they are written, and why it matters for speed:
- Work goes block by block through scratch arrays that stay in the first cache level, and every inner loop runs over
  slices from 0: numba then drops the tests for negative indices, and LLVM turns the loop into vector instructions.
- Models come as an array of addresses: one compilation serves any number.
- Nothing is allocated: scratch comes from the caller, and the machine code needs nothing of numba's (see `machine.py`).
- float32 throughout and no fast-math: an element is rounded in the same places as in the torch functions.
"""

import numpy as np

from burnish.merge.kernels.bits import MAGNITUDE, Array, narrow, widen
from burnish.merge.kernels.modes import ALL, BAND, BLOCK, RANDOM, WHOLE
from burnish.merge.kernels.native import array_at, compiled
from burnish.merge.methods.scalars import GOLDEN, MIX_A, MIX_B

_GOLDEN, _MIX_A, _MIX_B = np.uint64(GOLDEN), np.uint64(MIX_A), np.uint64(MIX_B)


@compiled
def _equal(base: Array, model: Array, wanted: np.uint32) -> np.uint64:
    """How many magnitudes have exactly these bits."""
    hits = np.uint32(0)
    for i in range(base.size):
        delta = np.float32(widen(model[i], model) - widen(base[i], base))
        hits += np.uint32(np.uint32(delta.view(np.uint32) & MAGNITUDE) == wanted)
    return np.uint64(hits)


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
            delta = np.float32(widen(after[i], model) - widen(before[i], base))
            bits = np.uint32(np.float32(delta).view(np.uint32) & MAGNITUDE)
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
        delta = np.float32(widen(model[i], model) - widen(base[i], base))
        out[i] = delta if word < chance else np.float32(0)


@compiled
def _subtract(base: Array, model: Array, out: Array) -> None:
    for i in range(out.size):
        out[i] = np.float32(widen(model[i], model) - widen(base[i], base))


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

    `found`: float64 [2, 3]; `start`: the tile's first flat index; `row`: as for `mix`, used up likewise; `scratch`,
    float32, and `words`, uint64: [BLOCK].
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
        out[i] = narrow(np.float32(widen(base[i], base) + mixed[i] / divisor * factor), out)


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
        out[i] = narrow(np.float32(widen(base[i], base) + mixed / divisor * factor), out)


@compiled
def _add_to_base(base: Array, mixed: Array, divisor: np.float32, factor: np.float32, out: Array) -> None:
    for i in range(mixed.size):
        out[i] = narrow(np.float32(widen(base[i], base) + mixed[i] / divisor * factor), out)


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

    `start`: the tile's first flat index. `rows`, uint64 [models, 4]: of a BAND the thresholds and the room for ties,
    which is used up as tiles come in order; of a RANDOM part key, shift and chance. `elect`: mix over the entries that
    agree with the elected sign, and `divide` by their weights; else mix over all and divide by `divisor`. `scratch`,
    float32 [models + 3, BLOCK], and `words`, uint64 [BLOCK].
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
            total[i] = widen(model[i], model) * weight
    else:
        for i in range(total.size):
            total[i] += widen(model[i], model) * weight


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
            after[i] = narrow(np.float32(total[i] / divisor), out)
