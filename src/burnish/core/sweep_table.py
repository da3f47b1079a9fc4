"""The table of a sweep: what each run came to, and means over seeds. Knows no run and no method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from burnish.core.cells import Record
from burnish.core.intervals import four_figures, interval_of


class SweepCell(Record):
    """One run that ended."""

    settings: dict[str, Any]
    """Those that are varied."""
    seed: int
    """Of this run."""
    folder: str
    """Of the run, below the sweep's."""
    state: Literal["finished", "failed"]
    """A run fails by itself (a loss that is not finite); what the user must mend stops the sweep."""
    reason: str = ""
    """Why it failed."""
    numbers: dict[str, float]
    """The last of each number that it logged, and ``value`` where its loop returns a number."""
    wall_seconds: float
    """Of this run, all its sessions."""


def table(cells: Sequence[SweepCell]) -> list[dict[str, Any]]:
    """A row a combination, as data: settings, how many runs ended and failed, mean and interval of each number.

    An end of an interval that is not known (one seed, equal values) is none.
    """
    groups: dict[str, list[SweepCell]] = {}
    for cell in cells:
        groups.setdefault(json.dumps(cell.settings, sort_keys=True), []).append(cell)
    rows = []
    for group in groups.values():
        good = [cell for cell in group if cell.state == "finished"]
        row: dict[str, Any] = {**group[0].settings, "runs": len(group), "failed": len(group) - len(good)}
        for name in dict.fromkeys(name for cell in good for name in cell.numbers):
            values = [cell.numbers[name] for cell in good if name in cell.numbers]
            found = interval_of("mean", values)
            ends = [None, None] if found.boundless else [found.low, found.high]
            row[name] = {"mean": found.mean, "low": ends[0], "high": ends[1], "seeds": found.n}
        rows.append(row)
    return rows


def shown(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The table for a person."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: _text(row.get(name, "-")) for name in names} for row in rows]


def _text(value: Any) -> str:
    if not (isinstance(value, Mapping) and value.keys() == {"mean", "low", "high", "seeds"}):
        return str(value)
    ends = "" if value["low"] is None else f" [{four_figures(value['low'])}, {four_figures(value['high'])}]"
    return four_figures(value["mean"]) + ends
