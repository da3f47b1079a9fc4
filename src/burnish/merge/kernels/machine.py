"""The machine code of the kernels: made by numba once, kept in the user's cache, loaded from there without numba.

Importing numba and waking its caches takes longer than many a merge. What it compiles is plain: a function of addresses
and numbers. Knows how numba hands arrays to a function (its documented layout), and how code is loaded; knows no
kernel.
"""

import ctypes
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from burnish.core import paths
from burnish.core.errors import BurnishError
from burnish.core.files import write_atomic

Kind = tuple[np.dtype[Any], int]
"""Of an argument: dtype and number of dimensions; 0 for a number."""

_SYMBOL = "burnish_kernel"
_DIGEST = 32  # bytes of SHA-256 before the object code
_OTHER = ("NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT", "NUMBA_NUM_THREADS")  # settings of numba's that no code depends on
_lock = threading.Lock()
_loaded: dict[tuple[str, tuple[Kind, ...]], Callable[..., int]] = {}
_engines: list[Any] = []  # code lives as long as its engine
_PLACE = ctypes.byref(ctypes.c_void_p())  # no kernel has a result or an error to put there


def call(name: str, *arguments: Any) -> None:
    """Call a loop of ``mixing.py`` or ``counting.py``; other threads go on meanwhile.

    Args:
        name: of the function.
        arguments: C-contiguous arrays, and numbers: numpy's, bool, or int as int64.
    """
    kinds = tuple(_kind(argument) for argument in arguments)
    function = _loaded.get((name, kinds))
    if function is None:
        with _lock:
            if (name, kinds) not in _loaded:
                _loaded[name, kinds] = _function(name, kinds)
            function = _loaded[name, kinds]
    # By numba's convention a function returns a status, and gets the places of its result and its error first.
    status = function(_PLACE, _PLACE, *(part for each in arguments for part in _parts(each)))
    assert status == 0, f"{name}: status {status}, and no kernel raises"


def _kind(argument: Any) -> Kind:
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous, "kernels take arrays as they lie in memory"
        return argument.dtype, argument.ndim
    return np.dtype(type(argument)), 0  # bool, int (int64), or numpy's own


def _parts(argument: Any) -> tuple[Any, ...]:
    """What a function gets for an argument: of an array owner, parent, size, element size, address, shape and
    strides."""
    if not isinstance(argument, np.ndarray):
        return (argument if isinstance(argument, bool | int) else argument.item(),)
    address = argument.__array_interface__["data"][0]
    return None, None, argument.size, argument.itemsize, address, *argument.shape, *argument.strides


def _types(kind: Kind) -> list[Any]:
    dtype, dimensions = kind
    if not dimensions:
        return [np.ctypeslib.as_ctypes_type(dtype)]
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    return [pointer, pointer, size, size, pointer, *[size] * (2 * dimensions)]


def _function(name: str, kinds: tuple[Kind, ...]) -> Callable[..., int]:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(_object(name, kinds)))
    engine.finalize_object()
    _engines.append(engine)
    types = [ctypes.c_void_p, ctypes.c_void_p, *(part for kind in kinds for part in _types(kind))]
    function: Callable[..., int] = ctypes.CFUNCTYPE(ctypes.c_int32, *types)(engine.get_function_address(_SYMBOL))
    return function


def _object(name: str, kinds: tuple[Kind, ...]) -> bytes:
    """Object code from the cache, or made now. What the cache holds is run as it is, so it must be what was written."""
    asked = f"{_origin()} {name} {[(dtype.str, dimensions) for dtype, dimensions in kinds]}"
    path = paths.cache() / "kernels" / f"{name}-{hashlib.sha256(asked.encode()).hexdigest()[:24]}.o"
    kept = _kept(path)
    if kept[:_DIGEST] == hashlib.sha256(asked.encode() + kept[_DIGEST:]).digest():
        return kept[_DIGEST:]
    made = _make(name, kinds)
    # No room, not ours to write, or a file system that cannot flush a folder: it is made again next time.
    with suppress(BurnishError, OSError):
        write_atomic(path, hashlib.sha256(asked.encode() + made).digest() + made, mode=0o600)
    return made


def _kept(path: Path) -> bytes:
    """A file that nobody but this user can have written: in a cache that many share, any of them could give us code to
    run."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            ours = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            return file.read() if ours else b""
    except OSError:
        return b""


def _make(name: str, kinds: tuple[Kind, ...]) -> bytes:
    from burnish.merge.kernels import counting, mixing
    from burnish.merge.kernels.native import assembly

    loop = getattr(mixing, name, None) or getattr(counting, name)
    text, found = assembly(loop, kinds)
    module = llvm.parse_assembly(text)
    module.get_function(found).name = _SYMBOL
    code: bytes = _target().emit_object(module)
    return code


@cache
def _origin() -> str:
    """All that machine code depends on: the sources, who compiles them and how, and the processor."""
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), here.parent / "methods" / "scalars.py"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    versions = [version(name) for name in ("numba", "llvmlite", "numpy")]
    # NUMBA_OPT=0 in the surroundings, for a look at some other program, would make slow code to be kept for ever.
    settings = [
        f"{key}={os.environ[key]}" for key in sorted(os.environ) if key.startswith("NUMBA_") and key not in _OTHER
    ]
    return " ".join([digest, *versions, *settings, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()])


def _target() -> Any:
    """For this processor; a new one each time, for an engine owns its own."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="static" if target.name.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )
