"""Compiled CPU kernels for the merge methods that move the most bytes: raw bits in, bits rounded once out, no GIL.

A kernel's result is its torch function's (burnish.merge.methods), rounded once; the tests hold it to that bit for bit.
They need no compiler: numba brings its own, compiles on the first call and keeps the machine code in the user's cache
folder.
"""

from burnish.merge.kernels.call import Kernel, Stream, kernel

__all__ = ["Kernel", "Stream", "kernel"]
