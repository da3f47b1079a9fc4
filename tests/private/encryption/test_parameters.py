"""Only 128-bit parameters can be made, and a stranger's text makes none."""

import json

import pytest

from burnish.core.errors import UserError
from burnish.private.encryption.parameters import STANDARD, Parameters, most_levels


def test_sizes_by_hand():
    small = Parameters(ring=8192, scale_bits=35, levels=3, end_bits=50)
    assert small.slots == 4096
    assert small.modulus_bits == 50 + 3 * 35 + 60
    assert small.prime_bits == (50, 35, 35, 35, 60)
    assert small.ciphertext_bytes(level=3) == 2 * 8192 * 4 * 8
    assert small.ciphertext_bytes(level=0, parts=3) == 3 * 8192 * 8
    assert Parameters(32768, 40, 19).key_bytes == 20 * 2 * 32768 * 21 * 8  # about 220 MB, as measured


def test_the_specs_rings():
    assert Parameters(32768, 40, 19).modulus_bits == 880
    assert Parameters(32768, 34, 22).modulus_bits == 868
    assert most_levels(32768, 40, 60) == 19
    assert most_levels(16384, 40, 60) == 7
    assert most_levels(16384, 35, 60) == 9


@pytest.mark.parametrize("ring", STANDARD)
def test_one_level_more_than_secure_is_refused(ring):
    levels = most_levels(ring, 40, 55)
    assert Parameters(ring, 40, levels, 55).modulus_bits <= STANDARD[ring]
    with pytest.raises(UserError, match=f"128-bit secure up to {STANDARD[ring]}"):
        Parameters(ring, 40, levels + 1, 55)


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        ({"ring": 65536, "scale_bits": 40, "levels": 5}, "standard's table"),
        ({"ring": 8192, "scale_bits": 20, "levels": 1}, "scale_bits"),
        ({"ring": 8192, "scale_bits": 58, "levels": 1}, "scale_bits"),
        ({"ring": 8192, "scale_bits": 40, "levels": 1, "end_bits": 44}, "end_bits"),
        ({"ring": 8192, "scale_bits": 40, "levels": 1, "end_bits": 61}, "end_bits"),
        ({"ring": 8192, "scale_bits": 40, "levels": 0}, "levels"),
    ],
)
def test_what_is_no_ckks_is_refused(made, complaint):
    with pytest.raises(UserError, match=complaint):
        Parameters(**made)


def test_text_and_digest():
    one = Parameters(8192, 35, 3, 50)
    assert Parameters.from_json(one.to_json()) == one
    assert one.digest == Parameters(8192, 35, 3, 50).digest != Parameters(8192, 35, 2, 50).digest


GOOD = {"ring": 8192, "scale_bits": 35, "levels": 3, "end_bits": 50}
BAD = [GOOD | {"ring": 8192.0}, GOOD | {"ring": True}, GOOD | {"levels": 30}, GOOD | {"more": 1}]


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", "[" * 100_000, *map(json.dumps, BAD)])
def test_a_strangers_text_is_refused_in_one_line(text):
    Parameters.from_json(json.dumps(GOOD))
    with pytest.raises(UserError) as caught:
        Parameters.from_json(text)
    assert "\n" not in str(caught.value)
