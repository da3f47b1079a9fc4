import math
import re
from pathlib import Path
from typing import Any

import pytest

from burnish.core.errors import UserError
from burnish.core.recipe import Recipe
from burnish.core.report import (
    Section,
    curve_figure,
    logged_series,
    machine_rows,
    mean_of,
    moment,
    run_report,
    running_mean,
    subplots,
    write_report,
)
from burnish.core.run import Run
from burnish.core.svg import inline_svg


def drawn(rows: list[dict[str, Any]]) -> Any:
    return curve_figure(logged_series(rows))


def section() -> Section:
    figure, grid = subplots(1, 2)
    grid[0, 0].plot([1, 2], [3, 4])
    return Section("A <title>", "One.\n\nTwo & three.", table=[{"a": "<b>", "verdict": "does not hold"}], figure=figure)


def test_self_contained_escaped_and_repeatable(tmp_path: Path) -> None:
    one = write_report(tmp_path / "a.html", "T & T", "lead", [section()], "burnish tour").read_text()
    other = write_report(tmp_path / "b.html", "T & T", "lead", [section()], "burnish tour").read_text()
    assert one == other
    assert "A &lt;title&gt;" in one
    assert "&lt;b&gt;" in one
    assert 'class="verdict does-not-hold"' in one
    assert one.count("<p>") == 2
    assert "<svg" in one
    assert not re.search(r"""(src|href)=["']?https?:|@import|<script""", one)


def test_tables_have_headers_words_and_badges(tmp_path: Path) -> None:
    bars, _ = subplots()
    rows = [{"claim": "<one>", "flag": True, "none": None, "many": [], "few": [1, "b"], "bars": bars}]
    verdicts = [{"claim": "two", "verdict": "undecided (about 3 more seeds)"}]
    parts = [Section("t", table=rows), Section("", table=verdicts, compact=True)]
    html = write_report(tmp_path / "a.html", "T", "lead", parts, when=moment(1796002763.0)).read_text()
    assert '<th scope="row">&lt;one&gt;</th><td data-label="flag">yes</td><td data-label="none">-</td>' in html
    assert '<td data-label="many">-</td><td data-label="few">1, b</td>' in html
    assert 'aria-label="&lt;one&gt;"' in html
    assert '<span class="verdict undecided">undecided</span> <small>(about 3 more seeds)</small>' in html
    assert "<time>2026-11-30 01:39 UTC</time>" in html
    assert not re.search(r"<th(?!ead)(?![^>]*scope)", html)
    assert "<h2></h2>" not in html


def test_sizes_of_a_machine_are_in_gib() -> None:
    rows = machine_rows({"memory_bytes": 25276059648, "cores": 2}, None)
    assert [tuple(row.values()) for row in rows] == [
        ("memory", "23.5 GiB"),
        ("cores", 2),
        ("git revision", "installed package"),
    ]


def test_backticks_are_code_and_stay_escaped(tmp_path: Path) -> None:
    one = Section(
        "t", "Type `burnish study rmm --store` or `<b>`; a lone ` stays.", table=[{"a": 1, "interval": "1 [0, 2]"}]
    )
    html = write_report(tmp_path / "a.html", "T", "lead", [one]).read_text()
    assert "Type <code>burnish study rmm --store</code> or <code>&lt;b&gt;</code>; a lone ` stays." in html
    assert '<td data-label="interval" class="whole">1 [0, 2]</td>' in html


def test_steps_are_whole() -> None:
    figure = drawn([{"step": step, "a": step} for step in (1, 2)])
    assert all(tick == round(tick) for tick in figure.axes[0].get_xticks())


def test_curves() -> None:
    assert drawn([{"step": 0, "a": 1}]) is None
    figure = drawn([{"step": n, "a": n, "b": n, "c": n, "d": -n, "note": "x", "flag": True} for n in range(3)])
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == ["a", "b", "c", "d"]


def test_what_never_changed_is_said_and_not_drawn(tmp_path: Path) -> None:
    rows = [{"step": step, "falls": -step, "still": 0.25, "once": 1} for step in range(3)]
    del rows[0]["once"], rows[1]["once"]
    figure = drawn(rows)
    assert [axes.get_title() for axes in figure.axes] == ["falls"]
    assert drawn([{"step": step, "still": 0.25} for step in range(3)]) is None
    with Run(Recipe(method="rmm"), tmp_path / "run", quiet=True) as run:
        for step in range(3):
            run.log(step, still=0.25)
    html = run_report(tmp_path / "run").read_text()
    assert "Everything the run logged, by step. Never changed: <code>still</code> 0.25." in html


def test_labels_of_curves_do_not_meet() -> None:
    """Their room is fixed: the longest numbers that are written still keep clear of the curves at their left."""
    figure = drawn([{"step": step, **dict.fromkeys("abcdef", -0.00012 * step)} for step in range(9)])
    text = inline_svg(figure)
    width = float(re.search(r'width="([\d.]+)pt"', text)[1]) / 72  # type: ignore[index]
    assert width < figure.get_size_inches()[0] + 0.1
    left, right = (figure.axes[number] for number in (0, 1))
    labels = [label.get_window_extent() for label in right.get_yticklabels() if label.get_text()]
    assert min(label.x0 for label in labels) > left.get_window_extent().x1
    title = figure.axes[3].title.get_window_extent()
    assert title.y1 < min(label.get_window_extent().y0 for label in left.get_xticklabels() if label.get_text())


def test_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        run_report(tmp_path)


def test_means_over_the_steps_of_a_run() -> None:
    rows: list[dict[str, Any]] = [{"step": 1, "a": 1.0}, {"step": 2}, {"step": 3, "a": 4.0}]
    assert mean_of(rows, "a") == 2.5
    assert math.isnan(mean_of(rows, "b"))
    assert running_mean(rows, "a", steps=2) == [1.0, 0.5, 2.0]
