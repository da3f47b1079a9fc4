"""What an agent does before it has thought: rules on what happens, or a second, faster model."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from burnish.act.planner import Chat, parse_decision
from burnish.act.recipe import ReflexSettings
from burnish.act.skills.library import BadCall, Call, Library
from burnish.act.world import Happening

Ask = Callable[[Chat, Sequence[Mapping[str, str]]], Awaitable[str | None]]
"""Asks a chat model and keeps the call in the log; none where it gave no answer."""


@runtime_checkable
class Reactor(Protocol):
    """Decides at once, or not at all."""

    async def react(
        self, happening: Happening, seen: Mapping[str, Any], thought: str, library: Library, ask: Ask
    ) -> Call | None:
        """A skill to run now instead of what runs.

        Args:
            happening: what has just happened.
            seen: what the agent sees.
            thought: the unfinished reply of its planner; empty between calls.
            library: its skills.
            ask: for who has a model to ask.
        """


class Rules:
    """Reflexes of a recipe: the first rule whose conditions hold.

    Args:
        rules: in order.
        library: the skills that they name.

    Raises:
        BadCall: a rule names no skill, or its arguments do not fit.
    """

    def __init__(self, rules: Sequence[ReflexSettings], library: Library) -> None:
        self._rules = [(rule, library.call(rule.skill, rule.arguments)) for rule in rules]

    async def react(
        self, happening: Happening, seen: Mapping[str, Any], _thought: str, _library: Library, _ask: Ask
    ) -> Call | None:
        """See :class:`Reactor`."""
        for rule, call in self._rules:
            if rule.event in (None, happening.kind) and _holds(rule, seen):
                return call
        return None


def _holds(rule: ReflexSettings, seen: Mapping[str, Any]) -> bool:
    if rule.where is None:
        return True
    value: Any = seen
    for part in rule.where.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (rule.below is None or value < rule.below) and (rule.above is None or value > rule.above)


class SmallModel:
    """A second model that reads what has happened and the planner's unfinished thought (as in AgileThinker).

    Args:
        chat: the model.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def react(
        self, happening: Happening, seen: Mapping[str, Any], thought: str, library: Library, ask: Ask
    ) -> Call | None:
        """See :class:`Reactor`. No answer, none that can be used, or no budget left: no reflex."""
        rules = (
            "Something has just happened. Reply with one JSON object: `skill` (null if what the agent does is still "
            f"right), `interrupt` (true), `reason`. Schema: {json.dumps(library.reply_schema())}"
        )
        known = {
            "happened": {"kind": happening.kind, **happening.data},
            "see": dict(seen),
            "unfinished_thought": thought,
        }
        messages = [{"role": "system", "content": rules}, {"role": "user", "content": json.dumps(known)}]
        text = await ask(self._chat, messages)
        if text is None:
            return None
        try:
            return next(iter(parse_decision(text, library).calls), None)
        except BadCall:
            return None
