"""A plan: which elements a picture shall show, how many, of what kind, and where. Knows no model and no text format.

The "element-wise decoupled" plan of MINT (arXiv 2503.01298, section on planning): every element has a phrase of its own
and a region of its own. Boxes are shares of the picture's sides, (left, top, right, bottom) from the top left corner.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pydantic import Field, field_validator

from burnish.core.errors import UserError, nearest
from burnish.core.recipe import Settings

Box = tuple[float, float, float, float]
SAME_PLACE = 0.8
"""Two boxes that share this much (intersection over union) are one place."""
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")
RESERVED = ("end", "anywhere", "|")
"""Words of the text form, which no phrase may hold."""


class PlanError(UserError):
    """A plan that cannot be read or contradicts itself: the user's to mend, or a model's slip to be tolerated."""


@dataclass(frozen=True)
class Element:
    """One element of a picture, or a group of equal ones.

    Attributes:
        name: what it is, in the singular: "circle", "fire hydrant".
        count: how many stand in the box.
        attributes: words such as colours, in the order in which they are said.
        box: where, as shares of the picture's sides; none leaves the place open.
    """

    name: str
    count: int = 1
    attributes: tuple[str, ...] = ()
    box: Box | None = None

    @property
    def phrase(self) -> str:
        """ "red circle", with the count before it where there are several."""
        words = " ".join([*self.attributes, self.name])
        return words if self.count == 1 else f"{self.count} {words}"


@dataclass(frozen=True)
class Plan:
    """What a picture shall show.

    Attributes:
        elements: in the order in which they are written.
        caption: the dense caption that comes before the layout, where the model writes one.
    """

    elements: tuple[Element, ...]
    caption: str = ""

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]], caption: str = "") -> Plan:
        """From rows of ``name`` and, where given, ``count``, ``attributes`` and ``box``, as layouts' JSON holds them.

        Raises:
            PlanError: a row that is no element, by its number.
        """
        found = []
        for number, row in enumerate(rows, 1):
            try:
                box = row.get("box")
                found.append(
                    Element(
                        str(row["name"]),
                        int(row.get("count", 1)),
                        tuple(map(str, row.get("attributes", ()))),
                        None if box is None else _box(box),
                    )
                )
            except (KeyError, TypeError, ValueError) as error:
                raise PlanError(f"element {number}: {type(error).__name__} {error}; give a name and a box") from None
        return cls(tuple(found), caption)

    def to_rows(self) -> list[dict[str, Any]]:
        """The rows that :meth:`from_rows` reads."""
        return [
            {"name": e.name, "count": e.count, "attributes": list(e.attributes), "box": e.box and list(e.box)}
            for e in self.elements
        ]

    def units(self) -> list[Element]:
        """Every single thing asked for: an element of count three is three units of one box."""
        return [replace(element, count=1) for element in self.elements for _ in range(element.count)]


class Wording(Settings):
    """What plans of a model may say and how places are written. Belongs to the model and is stored with it."""

    names: tuple[str, ...] = ()
    """All names there are; none: any."""
    attributes: dict[str, tuple[str, ...]] = Field(default={"colour": COLOURS})
    """Words for attributes by kind, each a single word; an element has at most one of a kind."""
    grid: tuple[int, int] | None = None
    """Rows and columns, where places are cells (`r1c2`: first row, second column); none: boxes of three decimals."""
    most: int = Field(default=16, ge=1)
    """Elements of a plan at most."""
    most_count: int = Field(default=16, ge=1)
    """Things of one element at most."""
    caption: bool = False
    """Whether a plan begins with a dense caption."""

    @field_validator("attributes")
    @classmethod
    def _single_words(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        words = [word for kind in value.values() for word in kind]
        wrong = [word for word in words if not word or len(word.split()) > 1 or word in RESERVED]
        wrong += [word for word, times in Counter(words).items() if times > 1]
        if wrong:
            raise ValueError(f"`{wrong[0]}` is not a single word, or stands for two attributes")
        return value

    @field_validator("grid")
    @classmethod
    def _cells(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and min(value) < 1:
            raise ValueError("a grid has a row and a column at least")
        return value

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of each attribute's word."""
        return {word: kind for kind, words in self.attributes.items() for word in words}

    @cached_property
    def places(self) -> dict[str, Box]:
        """The cells' words and boxes, row by row; empty where places are boxes."""
        if self.grid is None:
            return {}
        rows, columns = self.grid
        # As many digits everywhere: no place is another's beginning.
        digits = len(str(max(self.grid)))
        return {
            f"r{row + 1:0{digits}}c{column + 1:0{digits}}": (
                column / columns,
                row / rows,
                (column + 1) / columns,
                (row + 1) / rows,
            )
            for row in range(rows)
            for column in range(columns)
        }

    def place(self, box: Box | None) -> str | None:
        """The word of the cell that a box is; none where it is no cell, or where there are none."""
        return next((word for word, cell in self.places.items() if box is not None and _near(cell, box)), None)


def problems(plan: Plan, wording: Wording, patches: tuple[int, int] | None = None) -> list[str]:
    """All that is wrong with a plan, each in a few words that name the element.

    Args:
        plan: any.
        wording: what the model knows.
        patches: rows and columns of image tokens of its codec: a box must hold one for each of its things.
    """
    found: list[str] = []
    if not plan.elements:
        found.append("a plan that asks for nothing; give an element")
    if len(plan.elements) > wording.most:
        found.append(f"{len(plan.elements)} elements; the model knows plans of {wording.most} at most")
    if not _plain(plan.caption, blank_ok=not wording.caption) or "|" in plan.caption:
        found.append("the caption is empty, or holds a line break or `|`")
    for number, element in enumerate(plan.elements, 1):
        said = f"element {number} (`{element.phrase}`)"
        found += [f"{said}: {problem}" for problem in _of_element(element, wording, patches)]
    for number, element in enumerate(plan.elements, 1):
        for other, earlier in enumerate(plan.elements[: number - 1], 1):
            if element.box and earlier.box and overlap(element.box, earlier.box) > SAME_PLACE:
                where = wording.place(element.box) or "the same box"
                found.append(
                    f"elements {other} (`{earlier.phrase}`) and {number} (`{element.phrase}`) are both at {where};"
                    " give one of them another place"
                )
    return found


def validate(plan: Plan, wording: Wording, patches: tuple[int, int] | None = None, source: str = "plan") -> Plan:
    """The plan itself if nothing is wrong with it.

    Raises:
        PlanError: the first of its :func:`problems`, and how many more there are.
    """
    found = problems(plan, wording, patches)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise PlanError(f"{source}: {found[0]}{more}")
    return plan


def _of_element(element: Element, wording: Wording, patches: tuple[int, int] | None) -> list[str]:
    found = []
    if not 1 <= element.count <= wording.most_count:
        what = "leave the element out" if element.count < 1 else f"{wording.most_count} at most"
        found.append(f"count {element.count}; {what}")
    if not _plain(element.name) or element.name.split()[0].isdecimal():
        found.append(f"`{element.name}` is no name")
    elif set(element.name.split()) & {*RESERVED, *wording.places} or "[" in element.name:
        found.append(f"the name `{element.name}` holds a word of the plan's own; choose another")
    elif wording.names and element.name not in wording.names:
        found.append(f"unknown name `{element.name}`; {nearest(element.name, wording.names)}")
    elif not wording.names and len(element.name.split()) > 1 and element.name.split()[0] in wording.kinds:
        found.append(f"the name begins with the attribute `{element.name.split()[0]}`; write it among the attributes")
    unknown = [word for word in element.attributes if word not in wording.kinds]
    found += [f"unknown attribute `{word}`; {nearest(word, wording.kinds)}" for word in unknown]
    for kind, words in wording.attributes.items():
        of_kind = [word for word in element.attributes if word in words]
        if len(of_kind) > 1:
            found.append(f"{' and '.join(of_kind)}: one {kind} at most")
    return found + _of_box(element, wording, patches)


def _of_box(element: Element, wording: Wording, patches: tuple[int, int] | None) -> list[str]:
    if element.box is None:
        return [f"has no place; give a cell of {_range(wording)}"] if wording.grid else []
    left, top, right, bottom = element.box
    if not all(map(math.isfinite, element.box)) or not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        return [f"box {numbers(element.box)}: is not left < right and top < bottom within 0 and 1"]
    if wording.grid and wording.place(element.box) is None:
        return [f"box {numbers(element.box)}: is no cell; the model knows {_range(wording)}"]
    if patches is not None:
        held = max(1e-9, (right - left) * patches[1]) * max(1e-9, (bottom - top) * patches[0])
        if held + 1e-6 < element.count or min((right - left) * patches[1], (bottom - top) * patches[0]) < 1 - 1e-6:
            return [
                f"box {numbers(element.box)}: holds {held:.2g} of the codec's {patches[0]} x {patches[1]} patches,"
                f" too few for {element.count}; make it larger"
            ]
    return []


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes.

    >>> overlap((0.0, 0.0, 0.5, 1.0), (0.25, 0.0, 0.75, 1.0))
    0.3333333333333333
    """
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    both = max(0.0, width) * max(0.0, height)
    either = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - both
    return both / either if either > 0 else 0.0


def _box(values: Any) -> Box:
    left, top, right, bottom = map(float, values)
    return left, top, right, bottom


def _near(first: Box, second: Box) -> bool:
    return all(abs(a - b) < 1e-3 for a, b in zip(first, second, strict=True))


def _plain(text: str, blank_ok: bool = False) -> bool:
    """Whether words of one line, single blanks between them."""
    return text.isprintable() and text == " ".join(text.split()) and (blank_ok or bool(text))


def numbers(box: Box) -> str:
    """A box as plans write it."""
    return "[" + " ".join(f"{value:.3f}" for value in box) + "]"


def _range(wording: Wording) -> str:
    cells = list(wording.places)
    return f"the cells {cells[0]} to {cells[-1]}"
