"""Whether a table of functional tokens is a grammar: names, rows, and that every way leads to an end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from burnish.core.errors import UserError, nearest

if TYPE_CHECKING:
    from burnish.reason.rftt.grammar import Grammar

Place = tuple[str | None, int]
"""An action and its depth; the question is none at 0."""


def check_grammar(grammar: Grammar) -> None:
    """Refuse a table that is no grammar.

    Raises:
        UserError: as :class:`burnish.reason.rftt.grammar.Grammar` says.
    """
    _check_names(grammar)
    _check_rows(grammar)
    _check_ways(grammar)


def _check_names(grammar: Grammar) -> None:
    """No two actions share a name or a tag, and every name that is used is one."""
    names = [action.name for action in grammar.actions]
    tags = [tag for action in grammar.actions for tag in (action.opens, action.closes)]
    for what, values in (("name", names), ("tag", tags)):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise UserError(f"grammar: the {what} `{twice[0]}` stands twice; every action needs its own")
    for tag in tags:
        if len(tag) < 2 or tag != tag.strip():  # text that holds a tag is cut inside it
            raise UserError(f"grammar: the tag `{tag}` is shorter than 2 signs or has space around it; choose another")
        inside = next((other for other in tags if other != tag and other in tag), None)
        if inside is not None:
            raise UserError(f"grammar: the tag `{inside}` is part of `{tag}`; a reader could not tell them apart")
    used = [("the start", name) for name in grammar.start]
    used += [(f"what follows `{action.name}`,", name) for action in grammar.actions for name in action.follows]
    for where, name in used:
        if name not in names:
            raise UserError(f"grammar: {where} `{name}` is no action; {nearest(name, names)}")


def _check_rows(grammar: Grammar) -> None:
    """Each row by itself."""
    for action in grammar.actions:
        if action.tokens < 1:
            raise UserError(f"grammar: `{action.name}` may have {action.tokens} tokens; give it at least 1")
        first, last = action.depth
        if first < 1 or (last is not None and last < first):
            raise UserError(f"grammar: `{action.name}` may stand from depth {first} to {last}; depths run from 1 up")
        if action.ends and action.follows:
            raise UserError(f"grammar: `{action.name}` ends a trace, so nothing may follow it; drop one of the two")
        if not action.description.strip():
            raise UserError(f"grammar: `{action.name}` has no description; its new tokens start from those words")


def _check_ways(grammar: Grammar) -> None:
    """From the question every action can be reached, and from every place that can be reached, an end.

    Of the table, however deep; that an end lies within the depth of this grammar is asked last.
    """
    if not any(action.ends for action in grammar.actions):
        raise UserError("grammar: no action ends a trace; mark one with `ends`")
    after = _places(grammar)
    reached = {name for name, _ in after}
    for action in grammar.actions:
        if action.name not in reached:
            raise UserError(
                f"grammar: `{action.name}` can never be reached from the question; let something lead to it, or drop it"
            )
    steps = _steps_to_an_end(grammar, after)
    for (name, depth), followers in sorted(after.items(), key=lambda item: len(item[1])):
        if (name, depth) not in steps:
            what = "nothing may follow" if not followers else "no end can be reached from"
            raise UserError(f"grammar: {what} `{name}` at depth {depth}; let it lead to an action that ends")
    if steps[None, 0] > grammar.max_depth:
        raise UserError(
            f"grammar: an end takes {steps[None, 0]} steps and {grammar.max_depth} are allowed; allow more steps"
        )
    for fork in grammar.forks:
        if (
            len(fork) != 3
            or fork[0] not in grammar.start
            or any(fork[place + 1] not in grammar.action(fork[place]).follows for place in range(2))
        ):
            raise UserError(
                f"grammar: the fork {' '.join(fork)} is not three actions of which each may follow the last"
            )


def _places(grammar: Grammar) -> dict[Place, list[Place]]:
    """Every place that can be reached, and where each leads; depths beyond every window are one."""
    deepest = 1 + max(max(first, last or 0) for first, last in (action.depth for action in grammar.actions))
    after: dict[Place, list[Place]] = {}
    waiting: list[Place] = [(None, 0)]
    while waiting:
        place = waiting.pop()
        if place not in after:
            last, depth = place
            followers = grammar.start if last is None else grammar.action(last).follows
            after[place] = [
                (name, min(depth + 1, deepest)) for name in followers if grammar.action(name).stands_at(depth + 1)
            ]
            waiting += after[place]
    return after


def _steps_to_an_end(grammar: Grammar, after: Mapping[Place, Sequence[Place]]) -> dict[Place, int]:
    """How many steps from each place to the nearest end, for those places from which there is one."""
    steps = {place: 0 for place in after if place[0] is not None and grammar.action(place[0]).ends}
    distance = 0
    while True:
        distance += 1
        nearer = set(steps)
        fresh = [place for place, nexts in after.items() if place not in steps and nearer & set(nexts)]
        if not fresh:
            return steps
        steps |= dict.fromkeys(fresh, distance)
