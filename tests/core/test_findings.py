"""Units, means and paired differences by hand; the picture of them."""

import numpy as np
import pytest

from burnish.core.findings import average, paired, units
from burnish.core.intervals import share_interval, t_interval
from burnish.core.report import subplots
from burnish.core.study_picture import Dots, draw_dots

CELLS = [("b", 4.0, 1.0), ("a", 1.0, 0.0), ("b", 2.0, 1.0), ("a", 2.0, 1.0)]


def test_cells_of_a_unit_are_averaged_and_units_come_in_rising_order() -> None:
    assert units(CELLS, lambda cell: cell[1], lambda cell: cell[0]) == [1.5, 3.0]
    assert units(CELLS, lambda cell: cell[1]) == [4.0, 1.0, 2.0, 2.0]


def test_differences_are_paired_within_a_cell() -> None:
    found = paired(CELLS, lambda cell: cell[1], lambda cell: cell[2], by=lambda cell: cell[0])
    assert found.interval == t_interval([1.0, 2.0])
    assert (found.ours, found.baseline) == (2.25, 0.75)
    shares = paired([(1.0, 0.0), (1.0, 0.5)], lambda cell: cell[0], lambda cell: cell[1], "share difference")
    assert (shares.interval.mean, shares.interval.high) == (0.75, 1.0)


def test_a_mean_stands_beside_what_it_is_held_against() -> None:
    found = average(CELLS, lambda cell: cell[2], 0.5, "mean share")
    assert (found.ours, found.baseline, found.interval.kind) == (0.75, 0.5, "mean share")


def test_dots_and_lines_are_where_the_numbers_are() -> None:
    _, grid = subplots()
    rows = [
        Dots("first", share_interval(7, 10), {"x": [0.5], "y": [0.9, 1.0]}),
        Dots("alone", t_interval([0.3])),
    ]
    draw_dots(grid[0, 0], rows, "{:.1f}", lines=(0.5,))
    axes = grid[0, 0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "alone"]
    assert [text.get_text() for text in axes.texts] == ["0.7", "0.3"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["x", "y"]
    drawn = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    assert len(drawn) == 1, "one value has no line"
    assert np.asarray(drawn[0]) == pytest.approx((0.3475, 0.9333), abs=1e-4)
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "from top to bottom"
