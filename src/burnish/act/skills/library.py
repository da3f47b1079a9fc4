"""Skills: typed async functions that an agent can run, and their JSON schema for the model that chooses among them.

A skill's first parameter is its :class:`~burnish.act.skill_context.SkillContext`, whatever its name; the others are its
arguments, described by their type hints. Nothing that a model writes is ever executed: its reply names a skill and
gives arguments, and both are validated here.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from burnish.core.errors import BurnishError, UserError, nearest


class BadCall(BurnishError):
    """A reply named no skill, or gave it arguments of a wrong type. The message goes back to the model once."""


Function = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Skill:
    """One skill.

    Attributes:
        name: what the model calls it.
        description: what the model is told.
        function: ``async def name(context, **arguments)``.
        arguments: the model of its arguments.
        precondition: from an observation and the arguments to why it cannot work now; ``None`` if it can.
    """

    name: str
    description: str
    function: Function
    arguments: type[BaseModel]
    precondition: Callable[..., str | None] | None = None


def skill(function: Function, *, precondition: Callable[..., str | None] | None = None) -> Skill:
    """A skill from an async function; its docstring's first paragraph is its description.

    Raises:
        UserError: no docstring, or a parameter without a type hint.
    """
    name = function.__name__
    hints = get_type_hints(function)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.name not in hints:
            raise UserError(f"skill {name}: the parameter `{parameter.name}` has no type hint")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    if not function.__doc__:
        raise UserError(f"skill {name}: has no docstring; the model is told what it does from it")
    description = " ".join(inspect.cleandoc(function.__doc__).split("\n\n")[0].split())
    arguments = create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)
    return Skill(name, description, function, arguments, precondition)


@dataclass(frozen=True)
class Call:
    """A skill with valid arguments."""

    skill: Skill
    arguments: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As it stands in the log and in prompts."""
        return {"name": self.skill.name, "arguments": dict(self.arguments)}


class Library:
    """The skills of a world.

    Args:
        skills: functions (see :func:`skill`) or skills.

    Raises:
        UserError: two skills of one name.
    """

    def __init__(self, skills: Iterable[Skill | Function]) -> None:
        self._skills: dict[str, Skill] = {}
        self._schemas: dict[int, dict[str, Any]] = {}
        self._schema_texts: dict[int, str] = {}
        for one in skills:
            made = one if isinstance(one, Skill) else skill(one)
            if made.name in self._skills:
                raise UserError(f"skill {made.name}: defined twice")
            self._skills[made.name] = made

    def __iter__(self) -> Iterator[Skill]:
        return iter(self._skills.values())

    def call(self, name: Any, arguments: Any) -> Call:
        """A call from what a model wrote.

        Raises:
            BadCall: no such skill, or arguments that do not fit; says what is expected.
        """
        if not isinstance(name, str) or name not in self._skills:
            hint = nearest(str(name)[:80], sorted(self._skills))
            raise BadCall(f"there is no skill `{str(name)[:80]}`; {hint}")
        found = self._skills[name]
        try:
            valid = found.arguments.model_validate(arguments if arguments is not None else {})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "arguments"
            raise BadCall(f"{name}: {where}: {first['msg']}") from None
        return Call(found, valid.model_dump(mode="json"))

    def reply_schema(self, horizon: int = 1) -> dict[str, Any]:
        """JSON Schema of a reply: ``{"skill": {"name", "arguments"} | null, "interrupt": bool, "reason": str}``.

        Args:
            horizon: steps of a plan; above 1 a reply also has ``then``, the calls after the first.
        """
        # Every planning call sends it; to make it takes longer than all else in a call.
        if horizon not in self._schemas:
            self._schemas[horizon] = self._reply_schema(horizon)
        return self._schemas[horizon]

    def reply_schema_text(self, horizon: int = 1) -> str:
        """The same as JSON text, as a prompt shows it."""
        if horizon not in self._schema_texts:
            self._schema_texts[horizon] = json.dumps(self.reply_schema(horizon))
        return self._schema_texts[horizon]

    def _reply_schema(self, horizon: int) -> dict[str, Any]:
        calls = [
            {
                "type": "object",
                "description": one.description,
                "properties": {"name": {"const": one.name}, "arguments": one.arguments.model_json_schema()},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for one in self._skills.values()
        ]
        properties: dict[str, Any] = {
            "reason": {"type": "string"},
            "skill": {"anyOf": [*calls, {"type": "null"}]},
            "interrupt": {"type": "boolean"},
        }
        if horizon > 1:
            properties["then"] = {"type": "array", "items": {"anyOf": calls}, "maxItems": horizon - 1}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
