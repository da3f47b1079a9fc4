"""Captions of scenes, and questions about them with their answers; words only. Knows numpy.

there are two red circles and a blue square        (every thing, in groups; read back exactly)
how many circles ? two          what colour is the square ? blue
is there a red square ? no      where is the square ? r2c3
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from burnish.testbeds.easel.prompts import AND, NUMBERS, Group, parse_prompt
from burnish.testbeds.easel.world import Thing, World, plural

DESCRIBE = "what is in the picture ?"
KINDS = ("count", "colour", "presence", "place")
NONE = "none"
_WORDS = "how many what colour is the there where in picture ? yes no none"


def describe(things: Sequence[Thing], world: World) -> str:
    """A caption that names everything, groups in the order of the world's names and colours."""
    counts = Counter((thing.name, thing.colour) for thing in things)
    order = [which for which in world.looks.which if which in counts]
    return f" {AND} ".join(Group(name, counts[name, colour], colour).words() for name, colour in order)


def describes(caption: str, things: Sequence[Thing], world: World) -> bool:
    """Whether a caption names exactly these things, in whatever order and grouping; other text does not."""
    counts: Counter[tuple[str, str | None]] = Counter()
    for part in caption.split(f" {AND} "):
        try:
            group = parse_prompt(part, world).groups[0]
        except ValueError:
            return False
        counts[group.name, group.colour] += group.count
    return counts == Counter((thing.name, thing.colour) for thing in things)


def ask(things: Sequence[Thing], world: World, rng: np.random.Generator) -> tuple[str, str, str]:
    """A question about a scene: its kind (of :data:`KINDS`), its words, and the answer.

    Questions for a colour or a place are asked of things of whose name there is one; where there is none such, a
    question for a number is asked instead. Presence is asked of what is there as often as not.
    """
    names = Counter(thing.name for thing in things)
    single = [thing for thing in things if names[thing.name] == 1]
    kind = KINDS[int(rng.integers(len(KINDS)))]
    if kind == "presence":
        there = rng.random() < 0.5
        shown = [(thing.name, thing.colour) for thing in things]
        choice = shown if there else [which for which in world.looks.which if which not in shown]
        name, colour = choice[int(rng.integers(len(choice)))]
        return kind, f"is there a {colour} {name} ?", "yes" if there else "no"
    if kind in ("colour", "place") and single:
        thing = single[int(rng.integers(len(single)))]
        if kind == "colour":
            return kind, f"what colour is the {thing.name} ?", thing.colour
        return kind, f"where is the {thing.name} ?", f"r{thing.row + 1}c{thing.column + 1}"
    name = str(rng.choice(world.names))
    words = {count: word for word, count in NUMBERS.items()} | {0: NONE, 1: "one"}
    return "count", f"how many {plural(name)} ?", words.get(names[name], "many")


def words_of(world: World) -> list[str]:
    """Every word of questions and answers that prompts do not have, places included."""
    places = [f"r{row + 1}c{column + 1}" for row in range(world.grid) for column in range(world.grid)]
    return [*_WORDS.split(), "one", "many", *places]
