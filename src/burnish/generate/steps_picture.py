"""All steps of a drawing side by side: the plan's boxes, the draft and its heat, each correction. Knows matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.core.report import subplots
from burnish.generate.plan import Plan
from burnish.generate.steps.state import Event, State

GROUND, INK = "#12141c", "#e8eaf0"
PANEL = 2.3
"""Inches of a panel's side."""


def steps_figure(states: Sequence[State]) -> Any:
    """A row of panels a state, as a matplotlib figure.

    Args:
        states: after the chain; those without a picture are left out.
    """
    rows = [(state, _panels(state)) for state in states if state.picture is not None]
    columns = max(len(panels) for _, panels in rows)
    figure, axes = subplots(len(rows), columns, width=PANEL * columns, height=(PANEL + 0.55) * len(rows))
    grid = np.atleast_1d(np.asarray(axes, dtype=object)).reshape(len(rows), columns)
    for (state, panels), row in zip(rows, grid, strict=True):
        for place, each in enumerate(row):
            each.set_axis_off()
            if place < len(panels):
                title, draw = panels[place]
                draw(each)
                each.set_title(title, fontsize=8)
        said = row[0].text(0.0, -0.04, state.prompt, transform=row[0].transAxes, fontsize=9, va="top", weight="bold")
        said.set_in_layout(False)  # else a long prompt moves the panels apart
    return figure


def _panels(state: State) -> list[tuple[str, Any]]:
    panels: list[tuple[str, Any]] = []
    if state.plan is not None:
        panels.append(("plan", lambda axes: _draw_plan(axes, state.plan)))
    first = next((event for event in state.events if event.picture is not None), None)
    if first is not None and first.step != "act":
        panels.append(("given", lambda axes: _show(axes, first.picture)))
    number = 0
    for event in state.events:
        if event.step == "act":
            panels.append(("draft", lambda axes, e=event: _show(axes, e.picture)))
        elif event.step == "reflect":
            panels.append((f"heat {_sum(event):.2f}", lambda axes, e=event: _show_heat(axes, e)))
        elif event.step == "correct" and event.picture is not None:
            number += 1
            verdict = "accepted" if event.accepted else "not accepted"
            title = f"correction {number}: {verdict}\nheat {_sum(event):.2f}"
            panels.append((title, lambda axes, e=event: _show_heat(axes, e, masked=True)))
    panels.append(("picture", lambda axes: _show(axes, state.picture)))
    return panels


def _sum(event: Event) -> float:
    return 0.0 if event.heat is None else float(event.heat.sum())


def _show(axes: Any, picture: Any) -> None:
    axes.imshow(picture, interpolation="nearest", extent=(0, 1, 1, 0))


def _show_heat(axes: Any, event: Event, masked: bool = False) -> None:
    """The picture with its heat over it; the patches that were drawn again have a line around them."""
    _show(axes, event.picture)
    if event.heat is not None:
        colour = np.zeros((*event.heat.shape, 4))
        colour[..., 0] = 1.0
        colour[..., 3] = 0.75 * event.heat
        axes.imshow(colour, interpolation="nearest", extent=(0, 1, 1, 0))
    if masked and event.mask is not None:
        rows, columns = event.mask.shape
        for row, column in np.argwhere(event.mask).tolist():
            _frame(axes, (column / columns, row / rows, (column + 1) / columns, (row + 1) / rows), "#ffd633")


def _draw_plan(axes: Any, plan: Plan | None) -> None:
    """The boxes, in the elements' colours where these are words for colours."""
    from matplotlib.colors import is_color_like

    axes.imshow(np.zeros((2, 2, 3)) + np.array([0x12, 0x14, 0x1C]) / 255, extent=(0, 1, 1, 0))
    for element in () if plan is None else plan.elements:
        if element.box is None:
            continue
        left, top, right, bottom = element.box
        colour = next((word for word in element.attributes if is_color_like(word)), INK)
        _frame(axes, element.box, colour)
        words = element.phrase.replace(" ", "\n")
        axes.text((left + right) / 2, (top + bottom) / 2, words, color=INK, fontsize=5.5, ha="center", va="center")


def _frame(axes: Any, box: tuple[float, float, float, float], colour: str) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = box
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.2))
