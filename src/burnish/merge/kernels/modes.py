"""Numbers that the compiled loops and their callers must share. No numba."""

import numpy as np

BLOCK = 1024
"""Entries that the loops take at a time."""
ALL = np.uint64(1 << 62)
"""Room for more ties than any tensor has."""
WHOLE, BAND, RANDOM = 0, 1, 2
"""What `mix` keeps of a delta: all, a band of magnitudes, a random part."""
