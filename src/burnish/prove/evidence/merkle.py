"""The Merkle tree of RFC 9162 (section 2.1.1): one hash that fixes a list of any length. Knows bytes only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

LEAF, NODE = b"\x00", b"\x01"  # told apart, so that no inner node can pass for a leaf


def leaf_hash(data: bytes) -> bytes:
    """SHA-256 of a leaf."""
    return hashlib.sha256(LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of two children, in order."""
    return hashlib.sha256(NODE + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over ``leaves``: 32 bytes. Of none, the hash of nothing.

    The left subtree of n > 1 leaves has the largest power of two below n. Pairing level by level, with an odd last node
    carried up, builds exactly that tree.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = [leaf_hash(leaf) for leaf in leaves]
    while len(level) > 1:
        paired = [node_hash(level[place], level[place + 1]) for place in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]
