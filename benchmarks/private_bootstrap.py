"""What a refresh costs that does not need the secret key: one bootstrap by Lattigo, in CPU seconds.

    python benchmarks/private_bootstrap.py [--ring 65536] [--slots 256] [--levels 8]

Needs the wheel orion-fhe (`pip install --no-deps orion-fhe`). With 8 levels of 40 bits left over, the bootstrap's own
primes make a modulus of about 1,500 bits: far too many at a ring of 32,768. At 65,536, where the standard's table does
not reach, Lattigo means such parameters with their sparse secret to be 128-bit secure; nobody here has verified it.
256 slots are what one query of 128 classes takes, and cheaper than a full ciphertext; 8 levels are fewer than one
comparison at eps 2^-8 takes: both favour the ways that have to be refreshed. Key generation takes a minute and over
ten gigabytes.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from burnish.private.encryption.lattigo import Lattigo
from burnish.private.encryption.parameters import Parameters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ring", type=int, choices=(32768, 65536), default=65536)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--levels", type=int, default=8)
    given = parser.parse_args()
    begun = time.process_time()
    library = Lattigo(Parameters(32768, 40, given.levels, 55), given.ring)
    library.prepare_bootstrap(given.slots)
    print(f"ring {given.ring}: keys {time.process_time() - begun:.1f} s", flush=True)
    numbers = np.zeros(given.ring // 2)  # the library sums over what lies beyond the slots that it is told of
    numbers[: given.slots] = np.random.default_rng(0).uniform(-1, 1, given.slots)
    cipher = library.encrypt_all(numbers, 0)
    for _ in range(2):
        begun = time.process_time()
        fresh = library.bootstrap(cipher, given.slots)
        seconds = time.process_time() - begun
        error = np.abs(library.decrypt(fresh) - numbers)[: given.slots].max()
        print(
            f"bootstrap of {given.slots} slots: {seconds:.2f} s, to level {fresh.level}, error {error:.1e}", flush=True
        )


if __name__ == "__main__":
    main()
