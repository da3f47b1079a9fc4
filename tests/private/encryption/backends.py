"""A client and an evaluator of each back end, made once; the ring is the smallest that is secure."""

from functools import cache

import pytest

from burnish.private.encryption.choose import make_client, make_evaluator
from burnish.private.encryption.parameters import Parameters

try:
    import openfhe  # noqa: F401
except ImportError as error:
    why_not = f"openfhe does not load: {error}"
else:
    why_not = ""
needs_openfhe = pytest.mark.skipif(bool(why_not), reason=why_not)

SMALL = Parameters(ring=8192, scale_bits=35, levels=3, end_bits=50)
ROTATIONS = (1, 2, 5, -3)


@cache
def pair(backend):
    client = make_client(SMALL, backend)
    return client, make_evaluator(SMALL, client.evaluation_keys(ROTATIONS), backend)
