"""Prompts in seven categories, what they ask for, and scenes that fulfil them. Knows numpy.

    single     a circle
    two        a circle and a square
    counting   three circles
    colours    a red circle
    position   a circle left of a square
    attribute  a red circle and a blue square
    complex    two red circles and three blue squares;  two red circles left of a blue square

What a prompt does not name is free; what it names is exact: no thing more, and none less. "Left of" means that every
thing of the first group is farther left than every one of the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from burnish.testbeds.easel.world import MOST_THINGS, Thing, World, plural

CATEGORIES = ("single", "two", "counting", "colours", "position", "attribute", "complex")
HELD_OUT = ("counting", "colours", "attribute", "complex")
"""Categories whose prompts name a count or a colour, so that a combination can be one that training never shows."""
NUMBERS = {"a": 1, "two": 2, "three": 3, "four": 4}
RELATIONS = ("left of", "right of", "above", "below")
AND = "and"


@dataclass(frozen=True)
class Group:
    """Equal things that a prompt asks for; ``colour`` is none where it is free."""

    name: str
    count: int = 1
    colour: str | None = None

    def words(self) -> str:
        """ "two red circles"."""
        number = next(word for word, count in NUMBERS.items() if count == self.count)
        return " ".join(filter(None, (number, self.colour, self.name if self.count == 1 else plural(self.name))))


@dataclass(frozen=True)
class Ask:
    """What a prompt asks for: groups, the first of which stands in ``relation`` to the second, if in any."""

    groups: tuple[Group, ...]
    relation: str | None = None

    def words(self) -> str:
        """The prompt."""
        return f" {self.relation or AND} ".join(group.words() for group in self.groups)


def parse_prompt(text: str, world: World) -> Ask:
    """What a prompt asks for; :meth:`Ask.words` writes it again.

    Raises:
        ValueError: words that are none of this world's prompts.
    """
    for relation in RELATIONS:
        first, found, second = text.partition(f" {relation} ")
        if found:
            return _distinct(text, Ask((_group(first, world), _group(second, world)), relation))
    return _distinct(text, Ask(tuple(_group(each, world) for each in text.split(f" {AND} "))))


def _distinct(text: str, ask: Ask) -> Ask:
    if len({group.name for group in ask.groups}) < len(ask.groups):
        raise ValueError(f"`{text}`: names one kind of thing twice")
    return ask


def _group(text: str, world: World) -> Group:
    words = text.split()
    names = {name: name for name in world.names} | {plural(name): name for name in world.names}
    colour = words[1] if len(words) == 3 and words[1] in world.colours else None
    if len(words) != 2 + (colour is not None) or words[0] not in NUMBERS or words[-1] not in names:
        raise ValueError(f"`{text}`: not a group of things, such as `two red {plural(world.names[0])}`")
    return Group(names[words[-1]], NUMBERS[words[0]], colour)


@dataclass(frozen=True)
class Scene:
    """A prompt and things that fulfil it, the prompt's first group first, each group row by row."""

    category: str
    ask: Ask
    things: tuple[Thing, ...]

    @property
    def prompt(self) -> str:
        """In words."""
        return self.ask.words()


def draw_scene(category: str, world: World, rng: np.random.Generator, held_out: bool = False) -> Scene:
    """A prompt of a category and a scene that fulfils it.

    Args:
        category: of :data:`CATEGORIES`.
        world: of the things.
        rng: of everything.
        held_out: a scene with a combination that training scenes do not have, where the category names one (counting:
            a held-out count; colours, attribute, complex: a held-out pair); else without any.

    Raises:
        ValueError: the category names nothing that could be held out, or no scene was found in 10,000 attempts.
    """
    if held_out and category not in HELD_OUT:
        raise ValueError(f"`{category}` names neither a colour nor a count, so nothing in it is held out")
    for _ in range(10_000):
        ask = _draw_ask(category, world, rng)
        if _is_held_out(ask, world) != held_out:
            continue
        things = _place(ask, world, rng)
        if things is not None and (held_out or not _shows_held_out(things, world)):
            return Scene(category, ask, things)
    raise ValueError(f"no scene of category `{category}` in 10,000 attempts; this world holds out too much")


def _draw_ask(category: str, world: World, rng: np.random.Generator) -> Ask:
    first, second = (world.names[index] for index in rng.permutation(len(world.names))[:2])
    red, blue = (str(rng.choice(world.colours)) for _ in range(2))
    relation = RELATIONS[int(rng.integers(len(RELATIONS)))]
    if category == "single":
        return Ask((Group(first),))
    if category == "two":
        return Ask((Group(first), Group(second)))
    if category == "counting":
        return Ask((Group(first, int(rng.integers(2, 5))),))
    if category == "colours":
        return Ask((Group(first, 1, red),))
    if category == "position":
        return Ask((Group(first), Group(second)), relation)
    if category == "attribute":
        return Ask((Group(first, 1, red), Group(second, 1, blue)))
    if category == "complex":
        some, others = ((1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (2, 3), (3, 2))[int(rng.integers(7))]
        groups = (Group(first, some, red), Group(second, others, blue))
        return Ask(groups, relation if rng.random() < 0.5 else None)
    raise ValueError(f"`{category}` is no category; there are {', '.join(CATEGORIES)}")


def _is_held_out(ask: Ask, world: World) -> bool:
    return any(
        (group.name, group.colour) in world.held_out or (group.name, group.count) in world.held_out_counts
        for group in ask.groups
    )


def _shows_held_out(things: Sequence[Thing], world: World) -> bool:
    return any((thing.name, thing.colour) in world.held_out for thing in things)


def _place(ask: Ask, world: World, rng: np.random.Generator) -> tuple[Thing, ...] | None:
    """Random cells, and colours where they are free; none if the cells do not keep to the relation."""
    counts = [group.count for group in ask.groups]
    assert sum(counts) <= MOST_THINGS
    cells = rng.permutation(world.grid**2)[: sum(counts)]
    things: list[Thing] = []
    for group, mine in zip(ask.groups, np.split(cells, np.cumsum(counts)[:-1]), strict=True):
        for cell in sorted(mine.tolist()):
            colour = group.colour or str(rng.choice(world.colours))
            things.append(Thing(group.name, colour, *divmod(cell, world.grid)))
    fulfilled = ask.relation is None or related(
        [(thing.row, thing.column) for thing in things[: counts[0]]],
        [(thing.row, thing.column) for thing in things[counts[0] :]],
        ask.relation,
    )
    return tuple(things) if fulfilled else None


def related(
    first: Sequence[tuple[float, float]], second: Sequence[tuple[float, float]], relation: str, margin: float = 0.5
) -> bool:
    """Whether every place of the first group is beyond every one of the second, by more than a margin.

    Args:
        first: rows and columns, in cells.
        second: likewise.
        relation: of :data:`RELATIONS`.
        margin: in cells.
    """
    axis = 1 if relation in ("left of", "right of") else 0
    one, other = [place[axis] for place in first], [place[axis] for place in second]
    if relation in ("right of", "below"):
        one, other = other, one
    return max(one) + margin < min(other)


def words_of(world: World) -> list[str]:
    """Every word of this world's prompts, each once."""
    relations = [word for relation in RELATIONS for word in relation.split()]
    plurals = [plural(name) for name in world.names]
    return list(dict.fromkeys([*NUMBERS, AND, *relations, *world.colours, *world.names, *plurals]))
