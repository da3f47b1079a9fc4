"""YAML that remembers its lines, so that an error can point at one. Knows no recipe and no method."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from burnish.core.errors import UserError

KeyPath = tuple[str | int, ...]
MOST_VALUES = 100_000  # an alias of an alias of an alias ... makes billions out of a few lines


class _NumbersAsWritten(yaml.SafeLoader):
    """SafeLoader that reads ``1e-4`` as the number it is (YAML 1.1 asks for ``1.0e-4``)."""


class _TextAsText(yaml.SafeDumper):
    """SafeDumper that puts a text in quotes where the loader above would read a number."""


# What the parser says of files that are YAML all the same.
_PLAINER = {
    "but found another document": "a second document starts here; one is read, so keep each in a file of its own"
}
_FLOAT = re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)$")
for _each in (_NumbersAsWritten, _TextAsText):
    _each.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def dump_yaml(data: Any) -> str:
    """Data as YAML that :func:`load_yaml` reads back as it was."""
    return str(yaml.dump(data, Dumper=_TextAsText, sort_keys=False, allow_unicode=True))


def load_yaml(source: Path | str, name: str | None = None) -> tuple[Any, Callable[[KeyPath], int]]:
    """Read YAML with the lines of its keys.

    Args:
        source: a file, or the YAML text itself.
        name: what to call the text in errors (a file is called by its path).

    Returns:
        The data, and ``locate(path) -> line``: the line (from 1) of the key at ``path``, or of its nearest ancestor.

    Raises:
        UserError: the file cannot be read, is not UTF-8, is not YAML, repeats a key, or has a key that is no text.
    """
    if isinstance(source, Path):
        name = name or str(source)
        try:
            text = source.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"{source}: no such file; give the path of a YAML file") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{source}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
        except OSError as error:
            raise UserError(f"{source}: {error.strerror}; give the path of a readable YAML file") from None
    else:
        text, name = source, name or "<text>"
    lines: dict[KeyPath, int] = {(): 1}
    try:
        loader = _NumbersAsWritten(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None, lambda _: 1
            _record(root, (), lines, name, frozenset())
            data = loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = " ".join(str(error.problem or error.context).split())
        raise UserError(f"{where}: {_PLAINER.get(problem, f'not valid YAML: {problem}')}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise UserError(f"{name}: not valid YAML: {reason}") from None

    def locate(path: KeyPath) -> int:
        while path not in lines:
            path = path[:-1]
        return lines[path]

    return data, locate


def _record(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], name: str, above: frozenset[int]) -> None:
    if len(lines) > MOST_VALUES:
        raise UserError(
            f"{name}: more than {MOST_VALUES:,} values once its aliases are written out; write it without them"
        )
    if id(node) in above:
        raise UserError(f"{name}:{node.start_mark.line + 1}: an alias contains itself; write the value out")
    above = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise UserError(f"{name}:{line}: a key must be a plain word")
            key = str(key_node.value)
            # YAML 1.1 reads `on`, `~` and `2` as true, nothing and a number; no setting is called so.
            if key_node.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                kind = key_node.tag.rpartition(":")[2]
                raise UserError(f"{name}:{line}: the key `{key}` is read as {kind}, not as text; put it in quotes")
            # YAML lets a repeated key win silently; a recipe with two `lr:` lines is a mistake that nobody sees.
            if key in seen and key != "<<":
                raise UserError(f"{name}:{line}: `{key}` is given twice; keep one")
            seen.add(key)
            lines[(*path, key)] = line
            _record(value_node, (*path, key), lines, name, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _record(item, (*path, index), lines, name, above)
