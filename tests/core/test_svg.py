import re

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from burnish.core.report import NARROW, subplots
from burnish.core.svg import broken, described, inline_svg


def test_a_figure_is_said_in_words_and_has_the_page_for_a_ground() -> None:
    figure, grid = subplots(1, 2)
    grid[0, 0].plot([1, 2], [3, 4], label="ours & theirs", color="#111827")
    grid[0, 0].plot([1, 2], [3, 4], color="#1f6fb4")
    grid[0, 0].set(xlabel="steps", ylabel="loss", title="left")
    grid[0, 0].legend()
    grid[0, 1].set_visible(False)
    text = inline_svg(figure, "A title.")
    assert 'role="img" aria-label="A title. left: loss by steps: ours &amp; theirs"' in text
    assert "#ffffff" not in text
    assert not re.search(r"(stroke|fill): #(000000|111827)", text)
    assert "stroke: #1f6fb4" in text
    figure.set_label("In the user's own words")
    assert described(figure) == "In the user's own words"


def test_text_on_a_picture_stays_dark() -> None:
    figure, grid = subplots()
    grid[0, 0].imshow(np.ones((2, 2, 3)))
    on_picture = grid[0, 0].text(0, 0, "here")
    inline_svg(figure)
    assert to_hex(on_picture.get_color()) != "#000000"


def test_what_stands_outside_the_figure_is_inside_the_picture() -> None:
    """A box left of and above a figure of 2 x 1 inches: edges by hand, in points, with a margin."""
    figure = Figure(figsize=(2, 1))
    box = Rectangle((-0.25, 0.5), 0.1, 0.75, linewidth=0, transform=figure.transFigure)
    figure.add_artist(box)
    text = inline_svg(figure)
    left, top, width, height = map(float, re.search(r'viewBox="([^"]+)"', text)[1].split())  # type: ignore[index]
    margin = 0.04 * 72
    assert (left, top) == pytest.approx((-0.5 * 72 - margin, -0.25 * 72 - margin), abs=0.01)
    assert (width, height) == pytest.approx((0.2 * 72 + 2 * margin, 0.75 * 72 + 2 * margin), abs=0.01)
    assert f'width="{width:.2f}pt" height="{height:.2f}pt"' in text
    assert figure.dpi == 100


def test_a_long_label_is_broken_and_a_short_figure_shrinks_no_further_than_it_can_be_read() -> None:
    figure, grid = subplots()
    grid[0, 0].set_xlabel("accuracy of the ensemble less that of the single prompt, in points of a hundred")
    text = inline_svg(figure)
    assert "\n" in grid[0, 0].get_xlabel()
    width = float(re.search(r'width="([\d.]+)pt"', text)[1])  # type: ignore[index]
    assert width / 72 <= NARROW + 0.1
    least = float(re.search(r"min-width: (\d+)px", text)[1])  # type: ignore[index]
    assert abs(least - 0.85 * width / 72 * 96) < 1
    assert "min-width: 0px" in inline_svg(figure, least=0)
    assert broken("two words", 20.0, 10.0) == "two\nwords"
    assert broken("a\nlong one that was broken by hand", 20.0, 10.0).count("\n") == 1
