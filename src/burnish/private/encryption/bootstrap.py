"""What a refresh costs that does not need the secret key: one bootstrap by Lattigo, where `orion-fhe` is installed.

With 8 levels of 40 bits left over, the bootstrap's own primes make a modulus of about 1,500 bits: far too many at
a ring of 32,768. At 65,536, where the standard's table does not reach, Lattigo means such parameters with their sparse
secret to be 128-bit secure; nobody here has verified it. 256 slots are what one query of 128 classes takes, and cheaper
than a full ciphertext; 8 levels are fewer than a comparison takes: both favour who has to refresh.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from burnish.core.parallel import follow_parent
from burnish.private.encryption.lattigo import Lattigo
from burnish.private.encryption.parameters import Parameters


@dataclass(frozen=True)
class Bootstrap:
    """One that was measured.

    Attributes:
        ring: whose slots are half as many.
        slots: that are refreshed.
        level: multiplications that the refreshed ciphertext has left.
        keys_seconds: CPU seconds that making the keys took.
        seconds: CPU seconds of the bootstrap, the quickest of its repeats.
        error: largest difference of a refreshed number.
    """

    ring: int
    slots: int
    level: int
    keys_seconds: float
    seconds: float
    error: float


def can_bootstrap() -> bool:
    """Whether the library is installed."""
    return importlib.util.find_spec("orion") is not None


def measure_bootstrap(ring: int = 65536, slots: int = 256, levels: int = 8, repeats: int = 1) -> Bootstrap:
    """Run it, in a process of its own: the library keeps one scheme in a process, and its keys take nine gigabytes.

    Args:
        ring: of Lattigo's scheme.
        slots: to refresh.
        levels: that are left afterwards.
        repeats: of the bootstrap.

    Raises:
        UserError: `orion-fhe` is not installed.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=follow_parent) as pool:
        return pool.submit(_measured, ring, slots, levels, repeats).result()


def _measured(ring: int, slots: int, levels: int, repeats: int) -> Bootstrap:
    begun = time.process_time()
    library = Lattigo(Parameters(32768, 40, levels, 55), ring)
    library.prepare_bootstrap(slots)
    keys = time.process_time() - begun
    numbers = np.zeros(ring // 2)  # the library sums over what lies beyond the slots that it is told of
    numbers[:slots] = np.random.default_rng(0).uniform(-1, 1, slots)
    cipher, taken = library.encrypt_all(numbers, 0), []
    for _ in range(repeats):
        begun = time.process_time()
        fresh = library.bootstrap(cipher, slots)
        taken.append(time.process_time() - begun)
    error = float(np.abs(library.decrypt(fresh) - numbers)[:slots].max())
    return Bootstrap(ring, slots, fresh.level, keys, min(taken), error)
