"""How the kernels reach machine code: the compiling decorator, and pointers for any number of models."""

import inspect
from collections.abc import Callable
from typing import Any

from numba import njit, types
from numba.extending import intrinsic


def compiled(function: Callable[..., Any]) -> Any:
    """Compile on first use, without the GIL; keep the machine code on disk where any cache folder is writable."""
    # The test suite's shape checks wrap every function of the package; numba wants the plain one.
    plain = inspect.unwrap(function)
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(plain)
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return njit(nogil=True, error_model="numpy")(plain)


@intrinsic  # type: ignore[untyped-decorator]
def pointer(_context: Any, address: Any, like: Any) -> Any:
    """Turn an address into a pointer to the element type of the array `like`."""
    signature = types.CPointer(like.dtype)(address, like)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return signature, generate
