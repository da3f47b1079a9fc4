import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.prove.evidence.merkle import root


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_by_hand() -> None:
    a, b, c = (sha(b"\x00" + leaf) for leaf in (b"a", b"b", b"c"))
    assert root([b"a"]) == a
    assert root([b"a", b"b"]) == sha(b"\x01" + a + b)
    assert root([b"a", b"b", b"c"]) == sha(b"\x01" + sha(b"\x01" + a + b) + c)
    assert root([]) == sha(b"")


# Roots of the first 1, 2, 3 and 8 leaves, as the reference implementation of Certificate Transparency has them.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("count", ROOTS)
def test_known_roots(count: int) -> None:
    assert root([bytes.fromhex(leaf) for leaf in LEAVES[:count]]).hex() == ROOTS[count]


def recursive(leaves: list[bytes]) -> bytes:
    """The definition of RFC 9162, word for word."""
    if len(leaves) == 1:
        return sha(b"\x00" + leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha(b"\x01" + recursive(leaves[:split]) + recursive(leaves[split:]))


@given(leaves=st.lists(st.binary(max_size=4), min_size=1, max_size=40))
def test_the_definition(leaves: list[bytes]) -> None:
    assert root(leaves) == recursive(leaves)


@given(
    leaves=st.lists(st.binary(max_size=2), min_size=1, max_size=12),
    other=st.lists(st.binary(max_size=2), min_size=1, max_size=12),
)
def test_other_leaves_have_another_root(leaves: list[bytes], other: list[bytes]) -> None:
    assert (root(leaves) == root(other)) == (leaves == other)
