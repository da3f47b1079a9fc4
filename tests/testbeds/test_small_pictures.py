import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.testbeds.small_pictures import collection


@pytest.mark.parametrize(("name", "count", "side"), [("digits", 1797, 8), ("mnist", 5000, 14)])
def test_grey_collections_are_bytes(name: str, count: int, side: int) -> None:
    pictures = collection(name)
    assert pictures.shape == (count, side, side, 1)
    assert pictures.dtype == np.uint8
    assert pictures.max() == 255


def test_an_unknown_collection_is_named() -> None:
    with pytest.raises(UserError, match="digitz"):
        collection("digitz")
