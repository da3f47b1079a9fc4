"""Several merges in one YAML file, a document each, that build on one another by name. Knows the format, no tensor.

mergekit-multi's format: a document with a `name` is an intermediate merge, which the others may give as a model; the
one without is the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.core.recipe import Overrides
from burnish.core.yaml_marks import KeyPath, load_yaml
from burnish.merge.config import MergeConfig

# Keys of the format whose value may be a model.
_MODEL_KEYS = {"model", "base_model", "source", "tokenizer_source", "path"}


@dataclass(frozen=True)
class _Document:
    """One of the merges.

    Attributes:
        name: what the others call its result; none: it is the file's result.
        data: the merge, without its name.
        where: says where a key stands.
    """

    name: str | None
    data: dict[str, Any]
    where: Callable[[KeyPath], str]


@dataclass(frozen=True)
class Link:
    """One merge of a file.

    Attributes:
        config: the merge; folders stand in place of names.
        out: the folder of its result.
        needs: folders of the merges that must be made before it.
    """

    config: MergeConfig
    out: Path
    needs: tuple[Path, ...] = ()


def chain(
    config: str | Path | Mapping[str, Any] | MergeConfig,
    out: Path,
    intermediate: Path | None,
    overrides: Overrides = (),
) -> list[Link]:
    """The merges of a file in an order in which each finds what it needs; that of `out` comes last.

    Args:
        config: what :meth:`MergeConfig.load` takes, or a file or text of several documents.
        out: the folder of the result.
        intermediate: the folder of the named ones; none: `OUT-parts`.
        overrides: keys of the result that are replaced, as :meth:`MergeConfig.load` takes them.

    Raises:
        UserError: a document that is no merge, names that are missing, given twice or go round in a circle.
    """
    texts, file = _texts(config)
    if len(texts) < 2:
        return [Link(MergeConfig.load(config, overrides), out)]
    documents = [_document(text, file) for text in texts]
    label = str(file or "<text>")
    last = [document for document in documents if document.name is None]
    if len(last) != 1:
        raise UserError(f"{label}: {len(last)} of {len(documents)} documents have no `name`; exactly one is the result")
    named: dict[str, _Document] = {}
    for document in documents:
        if document.name is not None:
            if document.name in named:
                raise UserError(f"{document.where(('name',))}: `name`: {document.name!r} is given twice; rename one")
            named[document.name] = document
    folder = intermediate or out.with_name(f"{out.name}-parts")
    folders = {name: folder / name for name in named}
    made = []
    for document in _ordered(last[0], named):
        given = () if document.name else overrides
        built = MergeConfig.build(_placed(document.data, folders), document.where, None, file, given)
        needs = tuple(folders[name] for name in dict.fromkeys(_used(document.data, named)))
        made.append(Link(built, folders[document.name] if document.name else out, needs))
    return made


def first_document(file: Path) -> Any:
    """The first document of a file as data: tells a merge from a recipe.

    Raises:
        UserError: it is no YAML, or cannot be read.
    """
    texts, _ = _texts(file)
    return load_yaml(texts[0], str(file))[0] if texts else load_yaml(file)[0]


def _texts(config: Any) -> tuple[list[str], Path | None]:
    """The documents of a file or text; nothing for what is data already. Every text keeps its lines' numbers."""
    file = Path(config) if isinstance(config, Path) or (isinstance(config, str) and "\n" not in config) else None
    if file is not None:
        if not file.is_file():
            return [], file
        text = file.read_bytes().decode("utf-8", "replace")
    elif isinstance(config, str):
        text = config
    else:
        return [], None
    found: list[str] = []
    lines = text.splitlines()
    # Three dashes in the first column end a document wherever they stand: within a text too.
    marks = [number for number, line in enumerate(lines) if re.match(r"---(\s|$)", line)]
    for start, stop in zip([0, *(mark + 1 for mark in marks)], [*marks, len(lines)], strict=True):
        if any(line.strip() and not line.lstrip().startswith("#") for line in lines[start:stop]):
            found.append("\n" * start + "\n".join(lines[start:stop]))
    return found, file


def _document(text: str, file: Path | None) -> _Document:
    label = str(file or "<text>")
    data, locate = load_yaml(text, label)
    if not isinstance(data, dict):
        line = len(text) - len(text.lstrip("\n")) + 1
        raise UserError(f"{label}:{line}: a merge is a mapping with `merge_method` and `models`")
    name = data.pop("name", None)
    if name is not None and (not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name) or name.startswith(".")):
        raise UserError(f"{label}:{locate(('name',))}: `name`: {name!r} is no name; use letters, digits, `_`, `-`, `.`")
    return _Document(name, data, lambda path: f"{label}:{locate(path)}")


def _ordered(last: _Document, named: Mapping[str, _Document]) -> list[_Document]:
    """Depth first from the result: what a merge needs comes before it.

    Raises:
        UserError: a merge that needs itself, or one that nobody needs.
    """
    order: list[_Document] = []
    open_names: list[str] = []

    def visit(document: _Document) -> None:
        if document in order:
            return
        if document.name is not None:
            if document.name in open_names:
                circle = " -> ".join([*open_names[open_names.index(document.name) :], document.name])
                raise UserError(f"{document.where(('name',))}: the merges need each other in a circle: {circle}")
            open_names.append(document.name)
        for name in _used(document.data, named):
            visit(named[name])
        if document.name is not None:
            open_names.pop()
        order.append(document)

    visit(last)
    idle = next((name for name, document in named.items() if document not in order), None)
    if idle is not None:
        raise UserError(f"{named[idle].where(('name',))}: no merge uses {idle!r}; remove it, or give it as a model")
    return order


def _used(data: Any, names: Mapping[str, Any]) -> Iterator[str]:
    """Names of merges that a merge gives as models, in order."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        if key in _MODEL_KEYS and isinstance(value, str):
            if (name := value.partition("+")[0]) in names:
                yield name
        else:
            yield from _used(value, names)


def _placed(data: Any, folders: Mapping[str, Path]) -> Any:
    """The merge with folders in place of names."""
    if isinstance(data, list):
        return [_placed(part, folders) for part in data]
    if not isinstance(data, dict):
        return data
    placed = {}
    for key, value in data.items():
        placed[key] = _placed(value, folders)
        if key in _MODEL_KEYS and isinstance(value, str):
            name, plus, adapter = value.partition("+")
            if name in folders:
                placed[key] = f"{folders[name].resolve()}{plus}{adapter}"
    return placed
