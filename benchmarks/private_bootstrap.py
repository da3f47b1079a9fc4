"""What a refresh costs that does not need the secret key: one bootstrap by Lattigo, in CPU seconds.

    python benchmarks/private_bootstrap.py [--ring 65536] [--slots 256] [--levels 8]

Needs the wheel orion-fhe (`pip install --no-deps orion-fhe`). Which parameters, and whom they favour, stands in
`burnish.private.encryption.bootstrap`. Key generation takes half a minute and over nine gigabytes.
"""

from __future__ import annotations

import argparse

from burnish.private.encryption.bootstrap import measure_bootstrap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ring", type=int, default=65536)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--levels", type=int, default=8)
    given = parser.parse_args()
    found = measure_bootstrap(given.ring, given.slots, given.levels, repeats=2)
    print(f"ring {found.ring}: keys {found.keys_seconds:.1f} s")
    print(f"bootstrap of {found.slots} slots: {found.seconds:.2f} s, to level {found.level}, error {found.error:.1e}")


if __name__ == "__main__":
    main()
