"""Plans as YAML that a person edits: written by ``burnish generate draw``, read by its ``--plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from burnish.core.errors import nearest
from burnish.core.recipe import Settings, explain
from burnish.core.yaml_marks import KeyPath, dump_yaml, load_yaml
from burnish.generate.plan import Box, Element, Plan, PlanError, Wording, validate


class ElementRow(Settings):
    """An element as the file holds it: where it stands is a `place` or a `box`."""

    name: str
    """What it is, in the singular."""
    count: int = 1
    """How many."""
    attributes: tuple[str, ...] = ()
    """Colours and the like."""
    place: str | None = None
    """A cell of the model's grid: r1c2 is the second of the first row."""
    box: Box | None = None
    """Or left, top, right and bottom as shares of the picture's sides."""


class PlanFile(Settings):
    """The whole file."""

    prompt: str = ""
    """What the plan was made for."""
    caption: str = ""
    """The dense caption, if the model writes one."""
    elements: tuple[ElementRow, ...] = Field(default=())
    """What the picture shall show."""


def to_yaml(plan: Plan, wording: Wording, prompt: str = "") -> str:
    """A plan as YAML that :func:`from_yaml` reads."""
    rows = []
    for element in plan.elements:
        row: dict[str, Any] = {"name": element.name}
        if element.count != 1:
            row["count"] = element.count
        if element.attributes:
            row["attributes"] = list(element.attributes)
        place = wording.place(element.box)
        if place is not None:
            row["place"] = place
        elif element.box is not None:
            row["box"] = [round(value, 3) for value in element.box]
        rows.append(row)
    caption = {"caption": plan.caption} if plan.caption else {}
    return dump_yaml({"prompt": prompt, **caption, "elements": rows})


def from_yaml(
    source: Path | str, wording: Wording, patches: tuple[int, int] | None = None, name: str = "plan"
) -> tuple[Plan, str]:
    """The plan of a file (or of YAML text) and the prompt it was made for.

    Args:
        source: a path, or the text itself.
        wording: what the model knows.
        patches: of its codec, see :func:`burnish.generate.plan.problems`.
        name: what to call a text in errors; a file is called by its path.

    Raises:
        PlanError: no such file, not YAML, a wrong key with its line, or a plan that contradicts itself.
    """
    data, locate = load_yaml(source, None if isinstance(source, Path) else name)
    said = str(source) if isinstance(source, Path) else name

    def where(path: KeyPath) -> str:
        return f"{said}:{locate(path)}"

    if not isinstance(data, dict):
        raise PlanError(f"{said}:1: a plan is a mapping with `elements:`")
    try:
        file = PlanFile.model_validate(data)
    except ValidationError as error:
        raise PlanError(explain(error, PlanFile, where)) from None
    elements = []
    for number, row in enumerate(file.elements):
        at = where(("elements", number))
        if row.place is not None and row.box is not None:
            raise PlanError(f"{at}: `place` and `box`: give one of them")
        if row.place is not None and row.place not in wording.places:
            known = nearest(row.place, wording.places) if wording.places else "this model has no cells; give a `box`"
            raise PlanError(f"{at}: unknown place `{row.place}`; {known}")
        box = row.box if row.place is None else wording.places[row.place]
        elements.append(Element(row.name, row.count, row.attributes, box))
    return validate(Plan(tuple(elements), file.caption), wording, patches, said), file.prompt
