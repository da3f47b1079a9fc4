"""Runs beside each other: the settings that differ, the numbers that came out, the curves over each other.

Knows run folders only; the runs may be of any methods.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.core.metrics import read_metrics
from burnish.core.recipe import flatten
from burnish.core.report import Section, moment, subplots, whole_steps, write_report
from burnish.core.run import run_record
from burnish.core.yaml_marks import load_yaml


@dataclass(frozen=True)
class Comparison:
    """What several runs have apart.

    Attributes:
        settings: a row each setting that differs: ``setting``, and its value in every run by the run's name (none: the
            method has no such setting).
        numbers: a row each quantity: ``number``, and its value in every run; metrics as logged last (``last loss``),
            numbers that the loop returned, seconds and bytes.
        report: the page, with the curves.
    """

    settings: list[dict[str, Any]]
    numbers: list[dict[str, Any]]
    report: Path


@dataclass(frozen=True)
class _Side:
    """One run: settings by dotted key, numbers, logged rows, and what the code was."""

    settings: dict[str, Any]
    numbers: dict[str, Any]
    rows: list[dict[str, Any]]


def compare_runs(paths: Sequence[Path], out: Path) -> Comparison:
    """Compare two runs or more, finished or not, and write the page.

    Args:
        paths: run folders.
        out: the HTML file.

    Raises:
        UserError: fewer than two, the same one twice, or a folder that is no run.
    """
    if len(paths) < 2:
        raise UserError("compare: give two run folders or more")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError("compare: the same run is given twice")
    names = [path.name for path in paths]
    if len(set(names)) < len(names) or "" in names:
        names = [str(path) for path in paths]
    sides = {name: _side(path) for name, path in zip(names, paths, strict=True)}
    settings = _rows("setting", {name: side.settings for name, side in sides.items()}, differing=True)
    numbers = _rows("number", {name: side.numbers for name, side in sides.items()}, differing=False)
    sections = [
        Section(
            "Settings that differ",
            "" if settings else "None: the runs were asked for the same.",
            table=[shown_row(row) for row in settings] or None,
        ),
        Section("What came out", table=[shown_row(row) for row in numbers]),
    ]
    figure = overlaid({name: side.rows for name, side in sides.items()})
    if figure is not None:
        sections.append(Section("Curves", "Everything that was logged more than once, by step.", figure=figure))
    command = f"burnish compare {' '.join(map(str, paths))} --out {out}"
    page = write_report(
        out, f"Comparison of {len(paths)} runs", ", ".join(names), sections, command, moment(time.time())
    )
    return Comparison(settings, numbers, page)


def overlaid(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
    """Small multiples, one a metric, one line a run; none if no run logged anything twice."""
    series: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for run, rows in runs.items():
        for name in {name for row in rows for name, value in row.items() if name != "step" and _is_number(value)}:
            points = [(row["step"], row[name]) for row in rows if _is_number(row.get(name))]
            if len(points) > 1:
                series.setdefault(name, {})[run] = points
    if not series:
        return None
    columns = min(3, len(series))
    lines = -(-len(series) // columns)
    figure, grid = subplots(lines, columns, width=max(5.0, 3.4 * columns), height=2.3 * lines + 0.3 * len(runs))
    order = list(runs)
    for axes, name in zip(grid.flat, sorted(series), strict=False):
        for run, points in series[name].items():
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, linewidth=1.2, color=f"C{order.index(run)}", label=run)
        whole_steps(axes)
        axes.set_title(name, fontsize=9)
    for axes in list(grid.flat)[len(series) :]:
        axes.set_visible(False)
    handles = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
    figure.legend(handles.values(), handles, loc="outside lower left", fontsize=8, frameon=False)
    return figure


def _side(path: Path) -> _Side:
    record = run_record(path)
    if not record or not (path / "recipe.yaml").is_file():
        raise UserError(f"{path}: not a run folder (no run.json that can be read)")
    settings = flatten(load_yaml(path / "recipe.yaml")[0] or {})
    for name, lent in record.get("code", {}).get("files", {}).items():
        settings[f"code of {name} (SHA-256)"] = lent["sha256"][:12]
    rows = read_metrics(path / "metrics.jsonl")
    numbers: dict[str, Any] = {"status": record["status"]}
    for row in rows:
        numbers |= {f"last {name}": value for name, value in row.items() if name != "step" and _is_number(value)}
    value = record.get("value")
    returned = flatten(value, "result") if isinstance(value, dict) else {"result": value}
    numbers |= {name: found for name, found in returned.items() if _is_number(found)}
    numbers |= {name: record.get(name) for name in ("wall_seconds", "cpu_seconds", "peak_memory_bytes")}
    return _Side(settings, numbers, rows)


def _rows(what: str, sides: Mapping[str, Mapping[str, Any]], *, differing: bool) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for side in sides.values() for name in side)
    rows = [{what: name, **{run: side.get(name) for run, side in sides.items()}} for name in names]
    return [row for row in rows if not differing or any(row[run] != row[next(iter(sides))] for run in sides)]


def shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for a person: short numbers, a dash where a run has none."""

    def said(value: Any) -> Any:
        if value is None:
            return "-"
        return f"{value:.5g}" if isinstance(value, float) else value

    return {name: said(value) for name, value in row.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
