"""A matplotlib figure as part of a page: ink that follows the page's, words for who cannot see it, nothing cut.

Knows matplotlib and a little of SVG; knows no report.
"""

from __future__ import annotations

import io
import re
import textwrap
from html import escape
from typing import Any

INK = "#111827"
"""Text that stands on a picture or in a box of its own colour: it must not turn light with the page."""
LETTER = 0.5
"""Width of a letter, mean, as a share of the height of its font."""
LEAST = 0.85
"""A figure is shown no smaller than this share of its size: where it does not fit, it is scrolled."""
POINTS, PIXELS = 72, 96
"""To an inch."""
MARGIN = 0.04
"""Inches around what is drawn."""


def inline_svg(figure: Any, title: str = "", least: float = LEAST) -> str:
    """Markup of a figure. The same figure gives the same markup, byte for byte.

    Black text and areas, and lines that are nearly black, take the colour of the page's text; what is white behind the
    figure becomes the page.

    Args:
        figure: matplotlib's. Its long titles and labels are broken into lines.
        title: what it is said to show, before :func:`described`.
        least: share of its size below which it is not shrunk; 0 for a figure that may be of any size.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    _clear(figure)
    _fit(figure)
    buffer, dots = io.StringIO(), figure.dpi
    # A fixed salt and no date: the same run writes the same report. `savefig` would draw all of it twice for its edges.
    with matplotlib.rc_context({"svg.hashsalt": "burnish", "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    text = buffer.getvalue()
    text = re.sub(r"stroke: #([0-3][0-9a-f]){3}(?![0-9a-f])", "stroke: currentColor", text[text.index("<svg") :])
    text = re.sub(r"(?<![-\w])fill: #000000", "fill: currentColor", text)
    # A glyph or an area without a fill of its own is black in SVG: here it takes the page's.
    left, top, width, height = _edges(figure)
    figure.dpi = dots  # for who draws it next; SVG has its own
    words = escape(". ".join(part for part in (title.rstrip("."), described(figure)) if part))
    tag, drawn = text.removeprefix("<svg").split(">", 1)
    others = re.sub(r' (width|height|viewBox)="[^"]*"', "", tag)
    return (
        f'<svg role="img" aria-label="{words}" width="{width:.2f}pt" height="{height:.2f}pt" '
        f'viewBox="{left:.2f} {top:.2f} {width:.2f} {height:.2f}" '
        f'style="fill: currentColor; min-width: {least * width / POINTS * PIXELS:.0f}px"{others}>{drawn}'
    )


def _edges(figure: Any) -> tuple[float, float, float, float]:
    """Left, top, width and height, in points, of all that is drawn, also outside the axes."""
    box = figure.get_tightbbox().padded(MARGIN)
    high = figure.get_size_inches()[1]
    return POINTS * box.x0, POINTS * (high - box.y1), POINTS * box.width, POINTS * box.height


def described(figure: Any) -> str:
    """What a figure shows, in words: its own label if it has one (``figure.set_label``), else what its axes say."""
    if figure.get_label():
        return str(figure.get_label())
    return "; ".join(part for axes in figure.axes if axes.get_visible() for part in [_described(axes)] if part)


def _described(axes: Any) -> str:
    if axes.get_label() == "<colorbar>":
        return f"colours: {axes.get_ylabel()}" if axes.get_ylabel() else ""
    across, up = _one_line(axes.get_xlabel()), _one_line(axes.get_ylabel())
    named = " by ".join(part for part in (up, across) if part)
    legend = axes.get_legend()
    lines = [_one_line(text.get_text()) for text in legend.get_texts()] if legend else []
    found = [_one_line(axes.get_title()), named, axes.get_label(), ", ".join(lines)]
    return ": ".join(part for part in found if part)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _clear(figure: Any) -> None:
    """Take the white from behind a figure; keep text dark where it stands on something that stays light."""
    white, black = (1.0, 1.0, 1.0), "#000000"
    for part in (figure, *figure.axes):
        if part.get_facecolor()[:3] == white:
            part.set_facecolor("none")
    from matplotlib.colors import to_hex

    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is not None:
            legend.get_frame().set_alpha(0)
        for text in axes.texts:
            if (axes.images or text.get_bbox_patch() is not None) and to_hex(text.get_color()) == black:
                text.set_color(INK)


def _fit(figure: Any) -> None:
    """Break titles and axis labels that are longer than the room of their axes."""
    wide, high = (POINTS * side for side in figure.get_size_inches())
    for axes in figure.axes:
        place = axes.get_subplotspec()
        if place is None:
            continue
        grid = place.get_gridspec()
        room = wide / grid.ncols * len(place.colspan)
        for text in (axes.title, axes.xaxis.label):
            text.set_text(broken(text.get_text(), 0.92 * room, text.get_fontsize()))
        up = axes.yaxis.label
        up.set_text(broken(up.get_text(), high / grid.nrows * len(place.rowspan), up.get_fontsize()))


def broken(text: str, room: float, size: float) -> str:
    """A text in as many lines as it needs; one that has line breaks already is left alone.

    Args:
        text: a label.
        room: points.
        size: of its font, points.
    """
    letters = max(8, int(room / (LETTER * size)))
    return text if "\n" in text or len(text) <= letters else textwrap.fill(text, letters, break_long_words=False)
