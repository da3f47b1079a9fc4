"""Where scores lie: by hand for three classes, and what does not fit."""

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.private.argmax.all_pairs import scores_in_rows
from burnish.private.argmax.records import Row, Tournament, blocks_of, halvings, power_of_two


def test_a_square_by_hand():
    layout = Tournament(classes=3, slots=32)
    assert (layout.width, layout.queries, layout.rotations) == (4, 2, (2, 1))
    scores = np.array([[0.1, 0.4, 0.2], [0.0, -0.5, 0.5]])
    first, second = layout.differences(scores).reshape(2, 4, 4)
    assert np.allclose(first, np.array([[0, -0.3, -0.1, 0], [0.3, 0, 0.2, 0], [0.1, -0.2, 0, 0], [0, 0, 0, 0]]))
    assert np.allclose(second[:3, :3], [[0, 0.5, -0.5], [-0.5, 0, -1], [0.5, 1, 0]])
    assert layout.unopposed().reshape(2, 4, 4)[1].tolist() == [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0] * 4]
    assert np.flatnonzero(layout.answers()).tolist() == [0, 4, 8, 16, 20, 24]
    assert [layout.place(1, label) for label in range(3)] == [16, 20, 24]
    assert np.flatnonzero(scores_in_rows(layout, scores)).tolist() == [0, 1, 2, 17, 18]


def test_a_row_by_hand():
    layout = Row(classes=3, slots=16)
    assert (layout.width, layout.queries) == (4, 2)
    assert layout.spread(np.array([[0.1, 0.2, 0.3]])).tolist() == [*[0.1, 0.2, 0.3, -0.5] * 2, *[-0.5] * 8]
    assert layout.place(1, 2) == 10


def test_blocks_are_few_and_even():
    assert [layout.classes for layout in blocks_of(16, 4096)] == [16]
    assert [(layout.classes, layout.width) for layout in blocks_of(129, 16384)] == [(65, 128), (64, 128)]
    assert [layout.classes for layout in blocks_of(11, 16)] == [4, 4, 3]


def test_small_helpers():
    assert [power_of_two(n) for n in (1, 2, 3, 4, 5, 128, 129)] == [1, 2, 4, 4, 8, 128, 256]
    assert halvings(8) == (4, 2, 1)


@pytest.mark.parametrize("classes", [1, 0, -3])
@pytest.mark.parametrize("layout", [Tournament, Row])
def test_nothing_to_decide(layout, classes):
    with pytest.raises(UserError, match="nothing to decide"):
        layout(classes, 4096)


def test_too_many_classes():
    assert Tournament(64, 4096).queries == 1
    with pytest.raises(UserError, match="up to 64 classes fit"):
        Tournament(65, 4096)
    with pytest.raises(UserError, match="do not fit"):
        Row(2049, 4096)
