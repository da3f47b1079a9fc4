"""From a user's parameters to the numbers the compiled loops take. No numba: machine.py has it where it is needed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from burnish.merge.kernels import machine
from burnish.merge.kernels.modes import ALL, BAND, BLOCK, RANDOM, WHOLE
from burnish.merge.methods import registry
from burnish.merge.methods.family import FAMILY, ROWS, TaskVectorMethod
from burnish.merge.methods.scalars import band_counts, chance, kept_by_density, key, slerp_coefficients

Bits = NDArray[Any]
Survey = Callable[[Sequence[Bits], int], None]
"""Looks at one tile of every input, the base first, and the flat index of its first entry."""

# Keep probabilities by rank need a sort of every row: torch has those methods (della) to itself.
_COMPILED = frozenset(("linear", "slerp", *(row.name for row in FAMILY if row.keep != "ranked")))
_NOTHING = 2**32 - 1  # above every magnitude


def kernel(name: str, dtype: str) -> "Kernel | None":
    """Return the kernel of a merge method for a safetensors dtype, or `None` where there is none.

    Args:
        name: of the merge method.
        dtype: "bfloat16", "float16" (both as uint16 arrays) or "float32".
    """
    known = name in _COMPILED and dtype in ("bfloat16", "float16", "float32")
    return Kernel(name, dtype) if known else None


@runtime_checkable
class Stream(Protocol):
    """One tensor's merge, tile by tile: nothing of its size is ever held.

    Tiles are whole blocks (`BLOCK` entries) but for the last, and come in order.

    Attributes:
        spreads: a NaN or an infinity in any input is one in the result, so that only the result needs to be looked at.
    """

    spreads: bool

    def surveys(self) -> Iterator[Survey]:
        """What must be known of the whole tensor first: each survey sees every tile before the next is asked for."""
        ...

    def merge(self, arrays: Sequence[Bits], start: int, out: Bits, /) -> None:
        """Merge one tile of every input, the base first, into `out`, which shares no memory with them."""
        ...


@dataclass(frozen=True)
class Kernel:
    """One merge method over raw bits of one dtype."""

    name: str
    dtype: str

    def stream(
        self,
        size: int,
        count: int,
        model_parameters: Mapping[str, Sequence[Any]],
        parameters: Mapping[str, Any],
        seed: int,
    ) -> Stream:
        """The merge of one tensor of `size` entries from `count` models; parameters as in `MergeMethod.__call__`.

        Scratch: at most 1.3 MB a model, and for float16 float32 copies of a tile (numba has no half floats on the CPU).

        Raises:
            UserError: as `MergeMethod.arguments`.
        """
        arguments = registry.get(self.name).arguments(count, model_parameters, parameters)
        made: Stream
        if self.name == "linear":
            made = _Linear(arguments)
        elif self.name == "slerp":
            made = _Slerp(arguments["t"])
        else:
            made = _Mix(ROWS[self.name], size, count, arguments, seed)
        return _Halves(made) if self.dtype == "float16" else made

    def __call__(
        self,
        base: Bits | None,
        models: Sequence[Bits],
        *,
        model_parameters: Mapping[str, Sequence[Any]],
        parameters: Mapping[str, Any],
        seed: int = 0,
        out: Bits,
    ) -> None:
        """Merge one flattened tensor that is in memory into `out`: one tile.

        Raises:
            UserError: as `MergeMethod.__call__`.
            ValueError: arrays that are not one-dimensional, contiguous, aligned and of one size and the kernel's dtype,
                or an `out` that is read-only.
        """
        method = registry.get(self.name)
        method.check_inputs(base, models)
        used = [*models] if base is None or method.base == "unused" else [base, *models]
        element = np.float32 if self.dtype == "float32" else np.uint16
        for array in (*used, out):
            plain = array.ndim == 1 and array.flags.c_contiguous and array.flags.aligned
            if not plain or array.dtype != element or array.size != out.size:
                raise ValueError(
                    f"{self.name} kernel: expected contiguous, aligned {element.__name__}[{out.size}], "
                    f"got {array.dtype}{list(array.shape)}"
                )
        if not out.flags.writeable:  # machine code gets an address and would not ask
            raise ValueError(f"{self.name} kernel: out is read-only")
        stream = self.stream(out.size, len(models), model_parameters, parameters, seed)
        if out.size == 0:
            return
        for survey in stream.surveys():
            survey(used, 0)
        stream.merge(used, 0, out)


class _Halves:
    """A stream over float32 copies of half floats."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.spreads = stream.spreads

    def surveys(self) -> Iterator[Survey]:
        for survey in self._stream.surveys():

            def widened(arrays: Sequence[Bits], start: int, survey: Survey = survey) -> None:
                survey(_widened(arrays), start)

            yield widened

    def merge(self, arrays: Sequence[Bits], start: int, out: Bits) -> None:
        wide = np.empty(out.size, np.float32)
        self._stream.merge(_widened(arrays), start, wide)
        # Beyond 65504 a half float is infinite, as in torch.
        with np.errstate(over="ignore"):
            out.view(np.float16)[:] = wide


class _Linear:
    spreads = True  # times any weight, 0 too, what is no number stays none

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        weight = arguments["weight"]
        self._weight = np.array(weight, np.float32)
        self._divisor = np.float32((sum(weight) or 1.0) if arguments["normalize"] else 1.0)

    def surveys(self) -> Iterator[Survey]:
        yield from ()

    def merge(self, arrays: Sequence[Bits], _start: int, out: Bits) -> None:
        machine.call("average", _addresses(arrays), self._weight, self._divisor, out, _floats(BLOCK))


class _Slerp:
    spreads = False  # its factors come from the whole tensor: the tile that shows a NaN is not the one that has it

    def __init__(self, t: float) -> None:
        self._t = t
        self._factors = np.zeros(2, np.float32)

    def surveys(self) -> Iterator[Survey]:
        sums = np.zeros((3, 128))
        yield lambda arrays, _start: machine.call("products", arrays[0], _address(arrays[1]), sums)
        dot, square_base, square_model = sums.sum(axis=1)
        self._factors[:] = slerp_coefficients(dot, square_base, square_model, self._t)

    def merge(self, arrays: Sequence[Bits], _start: int, out: Bits) -> None:
        machine.call("average", _addresses(arrays), self._factors, np.float32(1), out, _floats(BLOCK))


class _Mix:
    """Task vectors, sparsified by a band of magnitudes or at random, mixed with or without an election of signs."""

    spreads = False  # what is dropped does not show

    def __init__(self, row: TaskVectorMethod, size: int, count: int, arguments: Mapping[str, Any], seed: int) -> None:
        self._arguments, self._size, self._count = arguments, size, count
        self._elect = row.elect
        sparse = [row.keep != "all" and arguments["density"][m] < 1 for m in range(count)]
        mode = RANDOM if row.random else BAND
        self._modes = np.where(sparse, mode, WHOLE).astype(np.int64)
        self._scales = np.ones(count, np.float32)
        # Per model, by its mode; see `mixing.mix`.
        self._rows = np.zeros((count, 4), np.uint64)
        for m in self._models(RANDOM):
            self._rows[m] = np.array([key(seed, m), 0 if m % 2 else 32, chance(arguments["density"][m]), 0], np.uint64)

    def surveys(self) -> Iterator[Survey]:
        banded = self._models(BAND)
        if banded:
            yield from self._bands(banded)
        sparse = banded + self._models(RANDOM)
        if sparse and self._arguments["rescale"]:
            yield from self._rescaling(sparse)

    def _models(self, mode: int) -> list[int]:
        found: list[int] = np.flatnonzero(self._modes == mode).tolist()
        return found

    def _bands(self, banded: list[int]) -> Iterator[Survey]:
        """Find the thresholds: count the upper 15 bits of all magnitudes, then the lower 16 in the buckets that
        matter."""
        upper = np.zeros((self._count, 2, 1 << 15), np.uint32)
        scratch, hits = np.empty(BLOCK, np.uint32), np.empty(BLOCK // 16, np.uint32)

        def count_upper(arrays: Sequence[Bits], _start: int) -> None:
            for m in banded:
                machine.call("count_upper", arrays[0], _address(arrays[1 + m]), upper[m], scratch)

        yield count_upper
        wanted = []
        for m in banded:
            kept, outliers = self._counts(m)
            for column, count in ((0, kept + outliers), (2, outliers)):
                self._rows[m, column : column + 2] = _NOTHING, 0
                if count > 0:
                    bucket, room = _bucket(upper[m].sum(axis=0, dtype=np.int64), count)
                    wanted.append((m, column, bucket, room, np.zeros(1 << 16, np.int64)))

        def count_lower(arrays: Sequence[Bits], _start: int) -> None:
            for m, _, bucket, _, counts in wanted:
                address = _address(arrays[1 + m])
                machine.call("count_lower", arrays[0], address, np.uint32(bucket), counts, scratch, hits)

        yield count_lower
        for m, column, bucket, room, counts in wanted:
            low, ties = _bucket(counts, room)
            self._rows[m, column : column + 2] = bucket << 16 | low, ALL if ties == counts[low] else ties

    def _counts(self, m: int) -> tuple[int, int]:
        """How many of the largest entries the model keeps, and how many outliers above them it drops."""
        density = self._arguments["density"][m]
        if "gamma" in self._arguments:
            return band_counts(self._size, density, self._arguments["gamma"][m])
        return kept_by_density(self._size, density), 0

    def _rescaling(self, sparse: list[int]) -> Iterator[Survey]:
        density, norm = self._arguments["density"], self._arguments["rescale_norm"]
        if norm == "probability":
            for m in sparse:
                self._scales[m] = 1 / density[m] if chance(density[m]) else 1.0
            return
        found = np.zeros((self._count, 2, 3))
        rows = self._rows.copy()  # the room for ties is used up by every pass
        scratch, words = _floats(BLOCK), np.empty(BLOCK, np.uint64)

        def measure(arrays: Sequence[Bits], start: int) -> None:
            for m in sparse:
                address, mode = _address(arrays[1 + m]), self._modes[m]
                machine.call("norms", arrays[0], address, start, mode, rows[m], found[m], scratch, words)

        yield measure
        for m in sparse:
            before, after = found[m, :, ("l1", "l2", "linf").index(norm)]
            if norm == "l2":
                before, after = before**0.5, after**0.5
            self._scales[m] = before / after if min(before, after) >= 1e-7 else 1.0

    def merge(self, arrays: Sequence[Bits], start: int, out: Bits) -> None:
        arguments = self._arguments
        divisor = sum(arguments["weight"]) if arguments["normalize"] else 1.0
        machine.call(
            "mix",
            arrays[0],
            _addresses(arrays[1:]),
            start,
            self._modes,
            self._rows,
            self._scales,
            np.array(arguments["weight"], np.float32),
            self._elect,
            arguments["normalize"],
            np.float32(1.0 if abs(divisor) < 1e-8 else divisor),
            np.float32(arguments["lambda_"]),
            out,
            _floats(self._count + 3, BLOCK),
            np.empty(BLOCK, np.uint64),
        )


def _bucket(counts: NDArray[np.int64], wanted: int) -> tuple[int, int]:
    """Where the `wanted`-th largest entry lies in a histogram, and how many of that bucket's entries are wanted."""
    at_or_above = counts[::-1].cumsum()[::-1]
    bucket = int(np.flatnonzero(at_or_above >= wanted)[-1])
    return bucket, int(wanted - (at_or_above[bucket] - counts[bucket]))


def _widened(arrays: Sequence[Bits]) -> list[Bits]:
    return [array.view(np.float16).astype(np.float32) for array in arrays]


def _floats(*shape: int) -> NDArray[np.float32]:
    return np.empty(shape, np.float32)


def _addresses(arrays: Sequence[Bits]) -> NDArray[np.uint64]:
    return np.array([array.ctypes.data for array in arrays], np.uint64)


def _address(array: Bits) -> np.uint64:
    return np.uint64(array.ctypes.data)
