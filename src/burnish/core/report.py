"""One self-contained HTML file a run: what was asked, what happened, curves, tables, pictures, how to repeat it.

Knows jinja2 and matplotlib. A method adds sections of its own; no section needs the network.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.core.files import write_atomic
from burnish.core.metrics import duration, read_metrics
from burnish.core.svg import POINTS, broken, inline_svg
from burnish.core.yaml_marks import load_yaml

Series = dict[str, list[tuple[int, float]]]
NARROW = 4.6
"""Inches of a figure: no wider than a telephone shows with its text still to be read."""


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: heading.
        text: plain words above the rest; an empty line starts a paragraph, `backticks` hold code.
        table: rows as mappings with the same keys; the keys are the header, the first value names its row. A value that
            is a figure is drawn small; yes and no, nothing and lists are written in words.
        figure: a matplotlib figure, drawn as inline SVG; said in words by the section's title and the figure's label
            (``figure.set_label``) or, without one, by its axes.
        html: markup that the caller vouches for.
        parts: sections within this one.
        folded: shown as its heading only, until somebody opens it (by mouse or keyboard).
        compact: over the whole width of the page and in small print: a table to take in at one look.
    """

    title: str
    text: str = ""
    table: Sequence[Mapping[str, Any]] | None = None
    figure: Any = None
    html: str = ""
    parts: Sequence[Section] = ()
    folded: bool = False
    compact: bool = False


def write_report(
    path: Path, title: str, lead: str, sections: Sequence[Section], command: str = "", when: str = ""
) -> Path:
    """Render ``sections`` into one HTML file without any outside reference.

    Args:
        path: the file.
        title: headline.
        lead: one or two sentences under it.
        sections: parts, in order.
        command: how to get this again, shown at the end.
        when: it ran (:func:`moment`), shown above the headline.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("burnish.core"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"prose": _prose, "svg": inline_svg, "words": in_words, "verdict": _verdict}
    environment.tests["figure"] = lambda value: hasattr(value, "savefig")
    template = environment.get_template("report.html")
    html = template.render(title=title, lead=lead, sections=sections, command=command, when=when)
    return write_atomic(path, html)


def run_report(
    path: Path, sections: Sequence[Section] = (), out: Path | None = None, command: str = "burnish run {recipe}"
) -> Path:
    """Write ``report.html`` of a run folder: the method's ``sections`` first, then curves, recipe and machine.

    Args:
        path: the run's folder.
        sections: of its method.
        out: the file to write; none: ``report.html`` in the folder.
        command: that ran it, without its folder; ``{recipe}`` stands for the stored recipe.

    Raises:
        UserError: ``path`` is no run.
    """
    from burnish.core.run import run_record

    run = run_record(path)
    if not run:
        raise UserError(f"{path}: not a run folder (no run.json that can be read)")
    recipe, _ = load_yaml(path / "recipe.yaml")
    took = duration(run["wall_seconds"])
    resumed = len(run["sessions"]) - 1
    lead = f"Status: {run['status']}. Took {took} of wall time and {duration(run['cpu_seconds'])} of CPU time"
    lead += f", in {resumed + 1} sessions." if resumed else "."
    parts = list(sections)
    series = logged_series(read_metrics(path / "metrics.jsonl"))
    if series:
        said = f"Everything the run logged, by step. {_never_changed(series)}".rstrip()
        parts.append(Section("Curves", said, figure=curve_figure(series)))
    settings = [{"setting": key, "value": value} for key, value in _flat(recipe)]
    parts.append(Section("What was asked", "The recipe with every default written out.", table=settings))
    machine = machine_rows({**run["hardware"], **run["versions"]}, run.get("git_revision"))
    machine += [{"what": "peak memory", "value": f"{run['peak_memory_bytes'] / 2**30:.2f} GiB"}]
    parts.append(Section("Where it ran", table=machine))
    again = f"{command.format(recipe=path / 'recipe.yaml')} --out {path}-again"
    when = moment(run["sessions"][0]["start"])
    method = re.sub("^(study|sweep):", lambda kind: f"{kind[1].title()} of ", run["method"])
    return write_report(out or path / "report.html", f"{method}: {path.name}", lead, parts, again, when)


def moment(seconds: float) -> str:
    """A time as a report writes it, ``2026-11-30 01:39 UTC``; seconds since 1970."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def machine_rows(found: Mapping[str, Any], revision: str | None) -> list[dict[str, Any]]:
    """Hardware and versions as rows of a table; sizes in GiB."""
    rows = []
    for name, value in _flat(found):
        size = name.endswith("_bytes") and _is_number(value)
        what = name.removesuffix("_bytes").replace("_", " ")
        rows.append({"what": what, "value": f"{value / 2**30:.1f} GiB"} if size else {"what": name, "value": value})
    return [*rows, {"what": "git revision", "value": revision or "installed package"}]


def in_words(value: Any) -> Any:
    """A value as a person writes it: yes and no, a dash for nothing, lists without brackets.

    >>> [in_words(value) for value in (True, None, [], [1, "a"], {"lr": 0.1, "warm": False}, 3)]
    ['yes', '-', '-', '1, a', 'lr: 0.1, warm: no', 3]
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {in_words(each)}" for key, each in value.items()) or "-"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(str(in_words(each)) for each in value) or "-"
    return "-" if value is None or value == "" else value


def checked_sections(found: Any, method: str) -> list[Section]:
    """What a method's ``report`` gave, if it can be drawn.

    Raises:
        UserError: it is no list of sections, or one has a table that is no list of mappings, or a figure that is not
            matplotlib's; says which.
    """
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        raise UserError(f"report: of {method} gave a {type(found).__name__}; give a list of Section(title, text, ...)")
    sections = list(found)
    for number, section in enumerate(sections, 1):
        if not isinstance(section, Section):
            kind = type(section).__name__
            raise UserError(
                f"report: part {number} of {method} is a {kind}; give burnish.core.report.Section(title, ...)"
            )
        whose = f"report: section `{section.title}` of {method}"
        rows = section.table
        if rows is not None and not (isinstance(rows, list | tuple) and all(isinstance(row, Mapping) for row in rows)):
            raise UserError(f"{whose}: a table is a list of mappings with the same keys")
        if section.figure is not None and not hasattr(section.figure, "savefig"):
            raise UserError(
                f"{whose}: a figure is matplotlib's (see core.report.subplots), not a {type(section.figure).__name__}"
            )
        if section.parts:
            checked_sections(section.parts, method)
    return sections


def logged_series(rows: Sequence[Mapping[str, Any]]) -> Series:
    """Step and value of every number that was logged more than once, by name."""
    names = sorted({name for row in rows for name, value in row.items() if name != "step" and _is_number(value)})
    found = {name: [(row["step"], row[name]) for row in rows if _is_number(row.get(name))] for name in names}
    return {name: points for name, points in found.items() if len(points) > 1}


def curve_figure(logged: Series) -> Any:
    """Small multiples of every logged number that changed, by step; ``None`` if none did."""
    series = {name: points for name, points in logged.items() if _changes(points)}
    if not series:
        return None
    columns = min(3, len(series))
    lines = -(-len(series) // columns)
    width = 3.4
    figure, grid = subplots(lines, columns, width=width * columns, height=2.3 * lines)
    titles = [broken(name, 0.92 * POINTS * width, 9) for name in series]
    _space_evenly(figure, lines, columns, between=0.4 + 0.15 * max(title.count("\n") + 1 for title in titles))
    for axes, title, points in zip(grid.flat, titles, series.values(), strict=False):
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, linewidth=1.2)
        axes.locator_params(nbins=5)
        whole_steps(axes)
        axes.set_title(title, fontsize=9)
    for axes in list(grid.flat)[len(series) :]:
        axes.set_visible(False)
    return figure


def _changes(points: Sequence[tuple[int, float]]) -> bool:
    first = str(points[0][1])  # as text: a number that is none equals not even itself
    return any(str(value) != first for _, value in points)


def _never_changed(logged: Series) -> str:
    """The others in a sentence; empty if there is none."""
    found = {name: points[0][1] for name, points in logged.items() if not _changes(points)}
    still = [
        f"`{name}` {value:.6g}" if isinstance(value, float) else f"`{name}` {value}" for name, value in found.items()
    ]
    return f"Never changed: {', '.join(still)}." if still else ""


def subplots(rows: int = 1, columns: int = 1, width: float | None = None, height: float = 3.0) -> tuple[Any, Any]:
    """A figure without a display and its axes as a ``(rows, columns)`` array, in the house style.

    Args:
        rows: of axes.
        columns: of axes. On a telephone a figure of several columns is scrolled: prefer rows.
        width: inches; none: as wide as a telephone can show, or 4 a column.
        height: inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if width is None:
        width = NARROW if columns == 1 else 4.0 * columns
    with matplotlib.rc_context():
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8)
    return figure, grid


def _space_evenly(figure: Any, rows: int, columns: int, between: float, beside: float = 0.75) -> None:
    """Fixed room for numbers and titles: to measure every label of fifty axes takes as long as to draw them.

    Args:
        figure: of :func:`subplots`.
        rows, columns: of its axes.
        between: inches for the numbers below axes and the title of the next.
        beside: inches for the numbers at the left of axes.
    """
    width, height = figure.get_size_inches()
    figure.set_layout_engine(None)
    figure.subplots_adjust(
        left=(beside - 0.1) / width,
        right=1 - 0.1 / width,
        bottom=between / 2 / height,
        top=1 - between / 2 / height,
        wspace=beside / (width / columns - beside),
        hspace=between / (height / rows - between),
    )


def whole_steps(axes: Any) -> None:
    """Ticks at whole numbers on the axis of steps: a run of two steps has no step 1.2."""
    axes.xaxis.get_major_locator().set_params(integer=True)


def _prose(text: Any) -> Any:
    """Escaped text in which what stands between backticks is code, as in the messages of the command line."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text))))


def _verdict(text: str) -> str:
    """The class of a verdict's badge, whatever else its words say."""
    return next(
        (word.replace(" ", "-") for word in ("holds", "does not hold", "undecided") if text.startswith(word)), ""
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flat(data: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(data, dict) and data:
        return [item for key, value in data.items() for item in _flat(value, f"{prefix}.{key}" if prefix else str(key))]
    return [(prefix, data)]


def mean_of(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """Mean of a metric over the steps that have it; NaN if none has."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return sum(values) / len(values) if values else float("nan")


def running_mean(rows: Sequence[Mapping[str, Any]], name: str, steps: int = 10) -> list[float]:
    """A metric at each step, the mean of the last ``steps``; a step without it counts as 0."""
    values = [row.get(name) or 0.0 for row in rows]
    windows = (values[max(0, end - steps) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]
