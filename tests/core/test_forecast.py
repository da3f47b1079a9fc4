"""What a forecast says, and how the checkpoints that are kept enter it."""

import pytest

from burnish.core.forecast import NAMES, START, Forecast, checkpoint_bytes
from burnish.core.recipe import Recipe


def test_its_rows_are_numbers_with_their_unit() -> None:
    assert Forecast(3, 2, 0.5).rows() == [("memory_bytes", 3), ("disk_bytes", 2), ("seconds", START + 0.5)]
    assert dict(Forecast(3, 2, 0.5).rows(start=0))["seconds"] == 0.5
    assert NAMES == ("memory_bytes", "disk_bytes", "seconds")


@pytest.mark.parametrize(
    ("every", "seconds", "kept"),
    [(30, 10, 0), (30, 59, 1), (30, 61, 2), (30, 1e6, 3), (0, 0.1, 3)],
)
def test_checkpoints_are_kept_as_they_fall_due(every: float, seconds: float, kept: int) -> None:
    recipe = Recipe(method="x", checkpoint_every=every, keep=3)
    assert checkpoint_bytes(recipe, 100, seconds) == 100 * kept
