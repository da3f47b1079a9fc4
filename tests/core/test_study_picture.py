from burnish.core.intervals import Interval, interval_of
from burnish.core.report import subplots
from burnish.core.study_picture import Dots, draw_dots, reach, small_bars


def test_two_worlds_do_not_stretch_the_axis() -> None:
    """Two values 40 apart have a t interval of over 500: the axis is made for the values, and says that it is cut."""
    values = [300.0, 340.0]
    _, grid = subplots()
    draw_dots(grid[0, 0], [Dots("ours", interval_of("mean", values), {"": values})], "{:.0f}")
    low, high = grid[0, 0].get_xlim()
    assert low > 200
    assert high < 440
    assert [text.get_text() for text in grid[0, 0].texts][-1] == "1 of 1 intervals go on beyond the arrows (n = 2)"
    assert {line.get_marker() for line in grid[0, 0].lines} >= {"<", ">"}
    assert grid[0, 0].get_label() == "ours 320 [66, 574]"


def test_an_interval_of_a_share_is_drawn_whole() -> None:
    wide = Interval(mean=0.99, low=0.4, high=1.0, n=3, kind="mean share")
    low, high = reach([Dots("ours", wide, {"": [0.98, 0.99, 1.0]})])
    assert low < 0.4
    assert high > 1.0
    _, grid = subplots()
    draw_dots(grid[0, 0], [Dots("a label that is far too long for one line", wide)])
    assert not {line.get_marker() for line in grid[0, 0].lines} & {"<", ">"}
    assert "\n" in grid[0, 0].get_yticklabels()[0].get_text()


def test_small_bars_are_said_in_words() -> None:
    assert small_bars({"ours": 0.5, "theirs": 0.25}).axes[0].get_label() == "ours 50%, theirs 25%"
