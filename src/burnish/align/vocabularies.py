"""What texts may speak of, by name: COCO's classes, a YAML file, or an object of one's own. Knows YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from burnish.align.reading import Vocabulary
from burnish.core.errors import UserError
from burnish.core.method import import_object
from burnish.core.recipe import Settings, explain
from burnish.core.yaml_marks import load_yaml

COCO = Path(__file__).with_name("coco.yaml")
"""COCO's 80 classes with words for them (ours), colours and sizes. Its `orange` is called `orange fruit` here: a text
that says "orange" nearly always means the colour."""


class VocabularyFile(Settings):
    """A vocabulary as YAML holds it."""

    entities: dict[str, tuple[str, ...]] = Field(min_length=1)
    """Words for each thing, in the singular, beside its name."""
    attributes: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    """Likewise, by kind (`colour`, `size`) and name."""


def load_vocabulary(name: str) -> Vocabulary:
    """The vocabulary of that name.

    Args:
        name: `coco`, a YAML file with `entities` and `attributes`, or `module:OBJECT` (a vocabulary, a mapping as such
            a file holds it, or a function that gives either).

    Raises:
        UserError: no such vocabulary; a file that holds something else, or one word for two things.
    """
    if name == "coco":
        return _from_file(COCO)
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UserError(f"vocabulary: {name}: no such file; write `coco`, a YAML file, or an object of yours")
        return _from_file(path)
    if ":" not in name:
        raise UserError(f"vocabulary: {name}: write `coco`, a YAML file, or an object of yours, module:OBJECT")
    found = import_object(name, "vocabulary")
    found = found() if callable(found) else found
    if isinstance(found, Mapping):
        return _checked(found, lambda _: f"vocabulary: {name}")
    if not isinstance(found, Vocabulary):
        raise UserError(f"vocabulary: {name} is a {type(found).__name__}, not a burnish.align.reading.Vocabulary")
    return found


def _from_file(path: Path) -> Vocabulary:
    data, locate = load_yaml(path)
    return _checked(data, lambda place: f"{path}:{locate(place)}" if place else str(path))


def _checked(data: Any, where: Callable[[tuple[str | int, ...]], str]) -> Vocabulary:
    try:
        held = VocabularyFile.model_validate(data)
    except ValidationError as error:
        raise UserError(explain(error, VocabularyFile, where)) from None
    try:
        return Vocabulary(held.entities, held.attributes)
    except UserError as error:
        raise UserError(f"{where(())}: {error}") from None
