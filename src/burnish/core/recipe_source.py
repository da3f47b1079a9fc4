"""Where settings come from: a file, the recipe that it extends, variables of the environment. Knows no recipe class.

``extends: other.yaml`` lays a recipe over another: groups are joined key by key, everything else is replaced.
``${NAME}`` in a text stands for a variable, for what must not be written down (a secret) or differs between machines (a
path); ``$${NAME}`` is the text ``${NAME}``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from burnish.core.errors import UserError, nearest
from burnish.core.paths import shipped, shipped_recipes
from burnish.core.yaml_marks import KeyPath, load_yaml

Where = Callable[[KeyPath], str]
"""Where a key stands, as a message begins: ``recipe.yaml:3``."""
VARIABLE = re.compile(r"(\$?)\$\{([A-Za-z_]\w*)\}")
SHORTEST_HIDDEN = 6


def read_settings(source: Path | str | Mapping[str, Any], above: tuple[Path, ...] = ()) -> tuple[dict[str, Any], Where]:
    """The settings in a source, with those that it extends, and where each stands.

    Args:
        source: a YAML file, YAML text, or the settings themselves.
        above: files that extend this one, the first one first.

    Raises:
        UserError: no such file, not YAML, no mapping, or recipes that extend each other in a circle.
    """
    if isinstance(source, Mapping):
        return _extended(dict(plain(source)), lambda _: "recipe", Path.cwd(), above)
    data, locate = load_yaml(source)
    name = str(source) if isinstance(source, Path) else "<text>"
    if not isinstance(data, dict):
        raise UserError(f"{name}:1: a recipe is a mapping of settings, starting with `method: NAME`")
    folder = source.parent if isinstance(source, Path) else Path.cwd()
    above = (*above, source.resolve()) if isinstance(source, Path) else above
    return _extended(data, lambda path: f"{name}:{locate(path)}", folder, above)


def plain(value: Any) -> Any:
    """A setting given in Python as YAML would give it: paths as text, groups as mappings, plain numbers."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _extended(data: dict[str, Any], at: Where, folder: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], Where]:
    if "extends" not in data:
        return data, at
    here = at(("extends",))
    file = _named(data.pop("extends"), folder, here)
    if file.resolve() in above:
        chain = " -> ".join(path.name for path in (*above, file.resolve()))
        raise UserError(f"{here}: `extends` goes in a circle: {chain}")
    base, base_at = read_settings(file, above)
    return _laid_over(base, data), lambda path: at(path) if _has(data, path) else base_at(path)


def _named(name: Any, folder: Path, here: str) -> Path:
    if not isinstance(name, str):
        raise UserError(f"{here}: `extends` names one recipe: a file, from this one's folder, or a shipped recipe")
    file = folder / Path(name).expanduser()
    if file.is_file():
        return file
    known = shipped_recipes()
    if name.removesuffix(".yaml") in known:
        return shipped("recipes") / f"{name.removesuffix('.yaml')}.yaml"
    raise UserError(f"{here}: `extends`: {file}: no such file, and no shipped recipe; {nearest(name, known)}")


def _laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in over.items():
        under = found.get(key)
        found[key] = _laid_over(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return found


def _has(data: Any, path: KeyPath) -> bool:
    for part in path:
        inside = isinstance(data, dict) and part in data
        if not inside and not (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            return False
        data = data[part]
    return True


@dataclass(frozen=True)
class Written:
    """A text with variables in it.

    Attributes:
        text: as it was written.
        meant: with the variables' values.
    """

    text: str
    meant: str


def with_variables(data: Any, where: Where) -> tuple[Any, dict[KeyPath, Written]]:
    """Data with the values of variables, and what was written in their place.

    Raises:
        UserError: a variable that is not set.
    """
    found: dict[KeyPath, Written] = {}

    def replaced(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: replaced(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [replaced(inner, (*path, number)) for number, inner in enumerate(value)]
        if not isinstance(value, str) or VARIABLE.search(value) is None:
            return value
        meant = VARIABLE.sub(lambda match: _value(match, value, where(path)), value)
        found[path] = Written(value, meant)
        return meant

    return replaced(data, ()), found


def _value(match: re.Match[str], text: str, here: str) -> str:
    if match[1]:
        return match[0][1:]
    if match[2] not in os.environ:
        raise UserError(f"{here}: `{text}`: the variable {match[2]} is not set; set it, or write the value")
    return os.environ[match[2]]


def hidden(text: str, written: Iterable[Written]) -> str:
    """A text that is kept, with the variables' names where it quotes their values: an exception may hold a secret.

    A value of fewer than `SHORTEST_HIDDEN` characters stays, as it would be found in other words.
    """
    names = {match[2] for each in written for match in VARIABLE.finditer(each.text) if not match[1]}
    values = {os.environ.get(name, ""): name for name in sorted(names)}
    for value in sorted(values, key=len, reverse=True):  # one may be part of another
        if len(value) >= SHORTEST_HIDDEN:
            text = text.replace(value, f"${{{values[value]}}}")
    return text


def as_written(data: Any, written: Mapping[KeyPath, Written]) -> Any:
    """Plain data with the texts that were written, where it still holds what they meant."""

    def restored(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: restored(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [restored(inner, (*path, number)) for number, inner in enumerate(value)]
        text = written.get(path)
        return text.text if text is not None and text.meant == value else value

    return restored(data, ()) if written else data
