"""How the kernels become machine code. Importing this imports numba, which a machine needs once; see ``machine.py``."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from numba import config, from_dtype, njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numpy.typing import DTypeLike

from burnish.core.errors import UserError


def compiled(function: Callable[..., Any]) -> Any:
    """Compile on first use, without Python's lock, for calls from other compiled functions and from outside of
    Python."""
    # The test suite's shape checks wrap every function of the package; numba wants the plain one.
    plain = inspect.unwrap(function)
    # Without counting of references (nrt) and wrappers for Python the machine code needs nothing of numba's.
    return njit(nogil=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(plain)


@intrinsic  # type: ignore[untyped-decorator]
def array_at(_context: Any, address: Any, like: Any, size: Any) -> Any:
    """The `size` elements at an address, of the element type of the array `like`."""
    array = types.Array(like.dtype, 1, "C")

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        made = context.make_array(array)(context, builder)
        element = context.get_data_type(array.dtype)
        width = context.get_constant(types.intp, context.get_abi_sizeof(element))
        data = builder.inttoptr(arguments[0], element.as_pointer())
        populate_array(made, data=data, shape=[arguments[2]], strides=[width], itemsize=width, meminfo=None)
        return made._getvalue()

    return array(address, like, size), generate


def assembly(function: Any, kinds: Sequence[tuple[DTypeLike, int]]) -> tuple[str, str]:
    """Optimised LLVM assembly of a compiled function, and its name in it.

    Args:
        function: one that :func:`compiled` made.
        kinds: dtype and number of dimensions of each argument; 0 for a number.

    Raises:
        UserError: the user told numba not to compile.
    """
    if config.DISABLE_JIT:
        raise UserError("NUMBA_DISABLE_JIT is set, but what merges must be compiled once; unset it and run again")
    scalars = [(from_dtype(dtype), dimensions) for dtype, dimensions in kinds]
    signature = tuple(types.Array(each, dimensions, "C") if dimensions else each for each, dimensions in scalars)
    function.compile(signature)
    return function.inspect_llvm(signature), function.overloads[signature].fndesc.llvm_func_name
