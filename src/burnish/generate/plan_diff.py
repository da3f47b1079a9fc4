"""What differs between a plan that was asked for and what was drawn. Knows plans only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from burnish.generate.plan import Element, Plan, Wording, numbers


@dataclass(frozen=True)
class Difference:
    """How a drawn plan differs from the one that was asked for; each unit stands in one field at most.

    Attributes:
        kept: pairs of an asked unit and the drawn one that is as asked.
        moved: as asked but for the place.
        changed: in the asked place, something else.
        missing: asked for and not there.
        extra: there and not asked for.
    """

    kept: tuple[tuple[Element, Element], ...] = ()
    moved: tuple[tuple[Element, Element], ...] = ()
    changed: tuple[tuple[Element, Element], ...] = ()
    missing: tuple[Element, ...] = ()
    extra: tuple[Element, ...] = ()

    @property
    def faults(self) -> int:
        """How many units are not as asked."""
        return len(self.moved) + len(self.changed) + len(self.missing) + len(self.extra)

    def lines(self, wording: Wording) -> list[str]:
        """One line a fault, for a person."""

        def at(unit: Element) -> str:
            return wording.place(unit.box) or (numbers(unit.box) if unit.box else "any place")

        return [
            *(f"moved: {a.phrase} asked at {at(a)}, drawn at {at(b)}" for a, b in self.moved),
            *(f"changed: {a.phrase} asked at {at(a)}, drawn {b.phrase}" for a, b in self.changed),
            *(f"missing: {unit.phrase} at {at(unit)}" for unit in self.missing),
            *(f"extra: {unit.phrase} at {at(unit)}" for unit in self.extra),
        ]


def diff(asked: Plan, drawn: Plan) -> Difference:
    """Match units so that the fewest faults remain, and say what differs.

    A drawn unit is as asked if it has the name, at least the attributes, and its centre in the asked box.
    """
    # Late: the plan's rooms are imported by the manifest's recipe, scipy's optimizers take a third of a second.
    from scipy.optimize import linear_sum_assignment

    ours, theirs = asked.units(), drawn.units()
    cost = np.array([[_cost(a, b) for b in theirs] for a in ours]).reshape(len(ours), len(theirs))
    pairs = [(a, b, cost[a, b]) for a, b in zip(*linear_sum_assignment(cost), strict=True)]
    taken = [(a, b, c) for a, b, c in pairs if c < _APART]
    left, right = {a for a, _, _ in taken}, {b for _, b, _ in taken}
    chosen = {c: tuple((ours[a], theirs[b]) for a, b, each in taken if each == c) for c in (0.0, _MOVED, _CHANGED)}
    return Difference(
        chosen[0.0],
        chosen[_MOVED],
        chosen[_CHANGED],
        tuple(unit for number, unit in enumerate(ours) if number not in left),
        tuple(unit for number, unit in enumerate(theirs) if number not in right),
    )


_MOVED, _CHANGED, _APART = 1.0, 1.25, 2.0


def _cost(asked: Element, drawn: Element) -> float:
    same = asked.name == drawn.name and set(asked.attributes) <= set(drawn.attributes)
    if asked.box is None or drawn.box is None:
        return 0.0 if same else _APART
    x, y = (drawn.box[0] + drawn.box[2]) / 2, (drawn.box[1] + drawn.box[3]) / 2
    there = asked.box[0] <= x <= asked.box[2] and asked.box[1] <= y <= asked.box[3]
    return (0.0 if there else _MOVED) if same else (_CHANGED if there else _APART)
