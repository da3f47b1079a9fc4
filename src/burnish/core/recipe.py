"""What a user may set. A recipe is a frozen pydantic model; a method's own recipe subclasses :class:`Recipe`.

Knows YAML, overrides and how to say what is wrong in one line. Knows no method.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from burnish.core.errors import UserError, nearest
from burnish.core.packages import Need, importable, needs_named
from burnish.core.recipe_source import Written, as_written, hidden, plain, read_settings, with_variables
from burnish.core.yaml_marks import KeyPath, dump_yaml, load_yaml

R = TypeVar("R", bound="Recipe")
Overrides = Sequence[str] | Mapping[str, Any]
"""Settings that replace a recipe's: ``["a.b=1"]``, each value read as YAML, or ``{"a.b": 1}``."""


class Settings(BaseModel):
    """Base of every group of settings: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)

    @property
    def needed_packages(self) -> tuple[Need, ...]:
        """What must be installed for these very values; a group whose values decide that overrides it."""
        return ()

    def needs(self) -> list[Need]:
        """What must be installed for all of them, inner groups and the functions that they name included."""
        return list(dict.fromkeys([*self.needed_packages, *_needs_in(list(dict(self).values()))]))


def _needs_in(value: Any) -> Iterator[Need]:
    if isinstance(value, Settings):
        yield from value.needs()
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _needs_in(inner)
    else:
        yield from needs_named(value)


class Tracking(Settings):
    """Where metrics go besides ``metrics.jsonl``."""

    to: list[Literal["tensorboard", "wandb", "mlflow", "comet_ml", "aim"]] = Field(default_factory=list)
    """Trackers of accelerate; each needs its own package installed."""
    project: str = "burnish"
    """Project (or experiment) name under which a tracker files the run."""

    @property
    def needed_packages(self) -> tuple[Need, ...]:
        """Each tracker's own; TensorBoard's writer comes in two packages."""
        either = importable("tensorboardX")
        return tuple(Need((name,)) for name in self.to if not (name == "tensorboard" and either))


class Recipe(Settings):
    """What every method's recipe has. Subclass it with the method's own settings, defaults = the paper's."""

    method: str
    """What runs: a method's name (`burnish recipes`), or `module:OBJECT` for a method of your own."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Root of every random stream of the run."""
    checkpoint_every: float = Field(default=30.0, ge=0)
    """Seconds between checkpoints. It never changes the result, only how much a `kill -9` can lose."""
    keep: int = Field(default=2, ge=1)
    """How many checkpoints to keep; the one before the last is the fall-back if the last is damaged."""
    executor: Literal["local", "ray"] = "local"
    """Where parallel work runs: processes of this machine, or a Ray cluster (the extra `ray`)."""
    workers: int = Field(default=1, ge=1)
    """Processes (local) or tasks at a time (Ray)."""
    ray_address: str | None = None
    """Address of a Ray cluster; none starts a local one."""
    tracking: Tracking = Field(default_factory=Tracking)
    """Trackers to send metrics to."""
    push: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    """Repository of the hub, `org/name`, that gets the model when the run is finished; a new one is private."""

    _variables: dict[KeyPath, Written] = PrivateAttr(default_factory=dict)

    @property
    def needed_packages(self) -> tuple[Need, ...]:
        """Its executor's."""
        return (Need(("ray",), "ray"),) if self.executor == "ray" else ()

    @classmethod
    def load(cls: type[R], source: Path | str | Mapping[str, Any], overrides: Overrides = ()) -> R:
        """Read a recipe of this class.

        Args:
            source: a YAML file, YAML text, or the settings themselves; with what it ``extends``, and with variables of
                the environment (:mod:`burnish.core.recipe_source`).
            overrides: dotted settings, ``["a.b=value"]`` or ``{"a.b": value}``.

        Raises:
            UserError: one line with file, line, key, the nearest valid key and what was expected.
        """
        data, at = read_settings(source)
        where = overridden_first([apply_override(data, *pair) for pair in override_pairs(overrides)], at)
        data, variables = with_variables(data, where)
        try:
            recipe = cls.model_validate(data)
        except ValidationError as error:
            said = explain(error, cls, where)
            raise UserError(said, arguments=("set",) if said.startswith("override ") else ()) from None
        for path in variables:
            if not _is_free_text(recipe, path):
                key = ".".join(map(str, path))
                raise UserError(f"{where(path)}: `{key}`: a variable stands for a path or a secret; write this one out")
        recipe._variables = variables
        return recipe

    def changed(self: R, overrides: Overrides) -> R:
        """This recipe with some settings replaced.

        Raises:
            UserError: one line about the first setting that is wrong.
        """
        return type(self).load(self.written(), overrides)

    def to_yaml(self) -> str:
        """The recipe with every default written out, as YAML; variables stay variables."""
        return dump_yaml(self.written())

    def written(self) -> dict[str, Any]:
        """Plain data that may be stored and shown: a text that came from a variable is the variable again."""
        found: dict[str, Any] = as_written(self.model_dump(mode="json"), self._variables)
        return found

    def hidden(self, text: str) -> str:
        """A text that is kept with the run, without the values of the variables that the recipe uses."""
        return hidden(text, self._variables.values())

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Dotted keys in which a stored recipe differs from this one, without those that cannot change a result."""
        free = {"checkpoint_every", "keep", "workers", "executor", "ray_address", "tracking", "push"}
        mine, theirs = flatten(self.written()), flatten(other)
        keys = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        return [key for key in keys if key.split(".")[0] not in free]


def method_of(source: Path | Mapping[str, Any], overrides: Overrides = ()) -> str:
    """The ``method:`` of a recipe, before its class is known.

    Raises:
        UserError: no such file, not YAML, or no method named.
    """
    data, at = read_settings(source)
    for pair in override_pairs(overrides):
        apply_override(data, *pair)
    method = data.get("method")
    if not isinstance(method, str):
        merge = {"merge_method", "models", "slices", "base_model"} & data.keys()
        hint = "; if this is a merge in mergekit's format, give `merge_method`" if merge else ""
        raise UserError(f"{at(('method',))}: `method` is missing; name what to run{hint}")
    return method


def override_pairs(overrides: Overrides) -> list[tuple[str, Any]]:
    """Overrides as dotted keys and values; the value of a text ``key=value`` is read as YAML.

    Raises:
        UserError: a text that is not of this form.
    """
    if isinstance(overrides, Mapping):
        return [(str(key), plain(value)) for key, value in overrides.items()]
    pairs = []
    for override in [overrides] if isinstance(overrides, str) else overrides or ():
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise UserError(f"override {override}: write it as key=value, for example seed=1", arguments=("set",))
        pairs.append((key.strip(), load_yaml(text, name=f"override {override}")[0]))
    return pairs


def apply_override(data: dict[str, Any], key: str, value: Any) -> KeyPath:
    """Set ``a.b`` in nested ``data`` in place; a number among the keys indexes a list. Returns the key's path.

    Raises:
        UserError: the path runs through something that is no mapping.
    """
    path: list[str | int] = []
    here: Any = data
    parts = key.split(".")
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(here, list):
            if not part.isdecimal() or int(part) >= len(here):
                raise UserError(f"override {key}: `{part}` is no index of a list of {len(here)}", arguments=("set",))
            path.append(int(part))
        elif isinstance(here, dict):
            path.append(part)
            if not last and not isinstance(here.get(part), dict | list):
                here[part] = {}
        else:
            raise UserError(
                f"override {key}: `{'.'.join(map(str, path))}` is a plain value and has no `{part}`",
                arguments=("set",),
            )
        if last:
            here[path[-1]] = value
        else:
            here = here[path[-1]]
    return tuple(path)


def _is_free_text(recipe: BaseModel, path: KeyPath) -> bool:
    """Whether a setting is a text that may be anything: no number, no switch, none of a few words."""
    here: Any = recipe
    annotation: Any = None
    for part in path:
        if isinstance(here, BaseModel):
            annotation, here = type(here).model_fields[str(part)].annotation, getattr(here, str(part))
        else:
            here = here[part]
    few = any(get_origin(each) is Literal for each in (annotation, *get_args(annotation)))
    return isinstance(here, str | Path) and not few and path != ("method",)


def overridden_first(overridden: Sequence[KeyPath], at: Callable[[KeyPath], str]) -> Callable[[KeyPath], str]:
    """Where a key comes from, for messages: from an override, else from where ``at`` says."""

    def where(path: KeyPath) -> str:
        for each in overridden:
            common = min(len(each), len(path))
            if each[:common] == path[:common]:
                return f"override {'.'.join(map(str, each))}"
        return at(path)

    return where


def explain(error: ValidationError, cls: type[BaseModel], where: Any) -> str:
    """One line for the first thing wrong: ``where(path)``, the key, the nearest valid key, what was expected."""
    problems = error.errors(include_url=False)
    # A misspelt setting explains one that seems to be missing, so it is named first.
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    path = tuple(part for part in problem["loc"] if not (isinstance(part, str) and "[" in part))
    key = ".".join(map(str, path)) or cls.__name__
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if problem["type"] == "extra_forbidden":
        name = str(problem["loc"][-1])  # also one that looks like a union's tag
        known = _fields_at(cls, path[:-1])
        return f"{where(path)}: `{key if path else name}` is not a setting; {nearest(name, known)}{more}"
    if problem["type"] == "missing":
        return f"{where(path)}: `{key}` is missing; it has no default{more}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = json.dumps(problem["input"], default=str)
    given = given if len(given) <= 80 else given[:77] + "..."
    # A validator over several settings speaks for itself; repeating the whole group would bury what it says.
    detail = "" if problem["type"] == "value_error" and isinstance(problem["input"], dict) else f", not {given}"
    return f"{where(path)}: `{key}`: {message}{detail}{more}"


def _fields_at(cls: type[BaseModel], path: KeyPath) -> list[str]:
    """Names of the settings of the group at ``path``; through optional groups, lists and unions too."""
    groups: list[type[BaseModel]] = [cls]
    for part in path:
        below: list[type[BaseModel]] = []
        for group in groups:
            if isinstance(part, str) and part in group.model_fields:
                below += _groups_in(group.model_fields[part].annotation)
        groups = below or groups  # an index or a union's tag: stay
    return sorted({name for group in groups for name in group.model_fields})


def _groups_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, list, tuple, dict, Literal) or get_args(annotation):
        return [group for argument in get_args(annotation) for group in _groups_in(argument)]
    return []


def flatten(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted key."""
    if not isinstance(data, dict):
        return {prefix: data}
    return {
        key: value
        for name, child in data.items()
        for key, value in flatten(child, f"{prefix}.{name}" if prefix else str(name)).items()
    }
