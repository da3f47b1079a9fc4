"""From a user's parameters to the numbers the compiled loops take. Imports numba only when a kernel is called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.merge.methods import registry
from burnish.merge.methods.scalars import band_counts, chance, kept_by_density, key, slerp_coefficients

Bits = NDArray[Any]
_TIES = ("ties", "breadcrumbs_ties", "dare_ties")
_BAND = ("ties", "breadcrumbs", "breadcrumbs_ties")
_RANDOM = ("dare_linear", "dare_ties")
_TASK_VECTORS = ("task_arithmetic", *_BAND, *_RANDOM)
_NAMES = ("linear", "slerp", *_TASK_VECTORS)
_NOTHING = 2**32 - 1


def kernel(name: str, dtype: str) -> "Kernel | None":
    """Return the kernel of a merge method for a safetensors dtype, or `None` where there is none.

    Args:
        name: of the merge method.
        dtype: "bfloat16", "float16" (both as uint16 arrays) or "float32".
    """
    known = name in _NAMES and dtype in ("bfloat16", "float16", "float32")
    return Kernel(name, dtype) if known else None


@dataclass(frozen=True)
class Kernel:
    """One merge method over raw bits of one dtype."""

    name: str
    dtype: str

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
        """Merge one flattened tensor into `out`; parameters as in `MergeMethod.__call__`.

        `out` may not share memory with an input. Scratch: a few hundred kilobytes, and for float16 float32 copies of
        all tensors (numba has no half floats on the CPU).

        Raises:
            UserError: as `MergeMethod.__call__`.
            ValueError: arrays that are not one-dimensional, contiguous and of one size and the kernel's dtype.
        """
        method = registry.get(self.name)
        method.check_inputs(base, models)
        arguments = method.arguments(len(models), model_parameters, parameters)
        used = [*models, out] if base is None or method.base == "unused" else [base, *models, out]
        element = np.float32 if self.dtype == "float32" else np.uint16
        for array in used:
            if array.ndim != 1 or not array.flags.c_contiguous or array.dtype != element or array.size != out.size:
                raise ValueError(
                    f"{self.name} kernel: expected contiguous {element.__name__}[{out.size}], "
                    f"got {array.dtype}{list(array.shape)}"
                )
        if out.size == 0:
            return
        if self.dtype == "float16":
            wide = np.empty(out.size, np.float32)
            halves = [array.view(np.float16).astype(np.float32) for array in used[:-1]]
            _run(self.name, [*halves, wide], arguments, seed)
            # Beyond 65504 a half float is infinite, as in torch.
            with np.errstate(over="ignore"):
                out.view(np.float16)[:] = wide
        else:
            _run(self.name, used, arguments, seed)


def _run(name: str, arrays: list[Bits], arguments: Mapping[str, Any], seed: int) -> None:
    if name == "linear":
        _linear(arrays[:-1], arguments, arrays[-1])
    elif name == "slerp":
        _slerp(arrays[0], arrays[1], arguments["t"], arrays[2])
    else:
        _mix(name, arrays[0], arrays[1:-1], arguments, seed, arrays[-1])


def _linear(models: list[Bits], arguments: Mapping[str, Any], out: Bits) -> None:
    from burnish.merge.kernels import compiled

    weight = arguments["weight"]
    divisor = np.float32((sum(weight) or 1.0) if arguments["normalize"] else 1.0)
    compiled.average(_addresses(models), np.array(weight, np.float32), divisor, out)


def _slerp(base: Bits, model: Bits, t: float, out: Bits) -> None:
    from burnish.merge.kernels import compiled

    dot, square_base, square_model = compiled.products(base, model).sum(axis=1)
    factors = slerp_coefficients(dot, square_base, square_model, t)
    compiled.average(_addresses([base, model]), np.array(factors, np.float32), np.float32(1), out)


def _mix(name: str, base: Bits, models: list[Bits], arguments: Mapping[str, Any], seed: int, out: Bits) -> None:
    from burnish.merge.kernels import compiled

    weight = arguments["weight"]
    scales = np.ones(len(models), np.float32)
    modes = np.zeros(len(models), np.int64)
    whole = np.zeros((len(models), 4), np.uint64)
    for m, model in enumerate(models):
        if name not in _BAND + _RANDOM or arguments["density"][m] >= 1:
            continue
        density = arguments["density"][m]
        modes[m] = compiled.BAND if name in _BAND else compiled.RANDOM
        if name in _RANDOM:
            whole[m] = _random(density, seed, m)
        else:
            whole[m] = _band(base, model, density, arguments["gamma"][m] if "gamma" in arguments else None)
        if arguments["rescale"]:
            scales[m] = _scale(base, model, int(modes[m]), whole[m], density, arguments["rescale_norm"])
    divisor = sum(weight) if arguments["normalize"] else 1.0
    compiled.mix(
        base,
        _addresses(models),
        modes,
        whole,
        scales,
        np.array(weight, np.float32),
        name in _TIES,
        arguments["normalize"],
        np.float32(1.0 if abs(divisor) < 1e-8 else divisor),
        np.float32(arguments["lambda_"]),
        out,
    )


def _band(base: Bits, model: Bits, density: float, gamma: float | None) -> NDArray[np.uint64]:
    """Threshold and cut of what is kept, and of the outliers that are not."""
    kept, outliers = kept_by_density(base.size, density), 0
    if gamma is not None:
        kept, outliers = band_counts(base.size, density, gamma)
    # Nothing has magnitude bits above 2^31, so a threshold there keeps nothing.
    bounds = [*_select(base, model, kept + outliers), *_select(base, model, outliers)]
    return np.array(bounds, np.int64).astype(np.uint64)


def _select(base: Bits, model: Bits, count: int) -> tuple[int, int]:
    from burnish.merge.kernels import compiled

    if count <= 0:
        return _NOTHING, base.size
    threshold, cut = compiled.select(base, np.uint64(model.ctypes.data), count)
    return int(threshold), int(cut)


def _random(density: float, seed: int, model: int) -> NDArray[np.uint64]:
    return np.array([key(seed, model), 0 if model % 2 else 32, chance(density), 0], np.uint64)


def _scale(base: Bits, model: Bits, mode: int, whole: NDArray[np.uint64], density: float, norm: str) -> float:
    from burnish.merge.kernels import compiled

    if norm == "probability":
        return 1 / density if chance(density) else 1.0
    found = compiled.norms(base, np.uint64(model.ctypes.data), mode, whole)
    before, after = found[:, ("l1", "l2", "linf").index(norm)]
    if norm == "l2":
        before, after = before**0.5, after**0.5
    return float(before / after) if min(before, after) >= 1e-7 else 1.0


def _addresses(arrays: Sequence[Bits]) -> NDArray[np.uint64]:
    return np.array([array.ctypes.data for array in arrays], np.uint64)
