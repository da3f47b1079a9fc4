"""How a merge names a model: a folder or a hub id, perhaps with a LoRA adapter. Opens none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from burnish.core.errors import UserError
from burnish.core.recipe import Settings

NO_OVERRIDE = "architectures are inferred from the tensors; remove it"


class Reference(Settings):
    """A model, perhaps with a LoRA adapter on top: `path`, `org/name@revision`, `model+adapter`."""

    model: str
    """Folder or hub id."""
    lora: str | None = None
    """Folder or hub id of a PEFT LoRA adapter on top of it."""

    def __str__(self) -> str:
        return f"{self.model}+{self.lora}" if self.lora else self.model


def reference(value: Any, info: Any) -> Any:
    """What a model is written as, in the long form.

    Args:
        value: text, or mergekit's long form.
        info: pydantic's, whose context may hold the ``folder`` that relative paths start from.
    """
    found = _parsed_reference(value)
    folder = (info.context or {}).get("folder")
    if folder is None or not isinstance(found, dict):
        return found
    return {key: _below(folder, part) if isinstance(part, str) else part for key, part in found.items()}


def named(text: str | Path) -> Reference:
    """The model that a text names: a folder, a hub id, `model+adapter`.

    Raises:
        UserError: it names none.
    """
    try:
        return Reference.model_validate(_parsed_reference(str(text)))
    except ValueError as error:
        raise UserError(f"{str(text)!r}: {error}; give a model folder or a hub id (org/name)") from None


def _below(folder: Path, name: str) -> str:
    """A relative path as seen from a folder; a hub id and an absolute path stay."""
    inside = folder / name
    if name.startswith(".") or (not Path(name).expanduser().is_absolute() and _is_folder(str(inside))):
        return os.path.normpath(inside)
    return name


def _parsed_reference(value: Any) -> Any:
    if isinstance(value, dict) and "override_architecture" in value:
        raise ValueError(f"`override_architecture` is not supported: {NO_OVERRIDE}")
    if isinstance(value, dict):
        return {key: _path_text(part) for key, part in value.items()}
    if not isinstance(value, str):
        return value
    # A folder may have a plus in its name; one that exists is meant as it is written.
    if "+" not in value or _is_folder(value):
        model, lora = value, None
    else:
        model, lora = value.split("+", 1)
        if not model or not lora or "+" in lora:
            raise ValueError("expected a model, or one model and one adapter as `model+adapter`")
    if not model.strip():
        raise ValueError("expected a model folder or a hub id (org/name)")
    return {"model": model, "lora": lora}


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    except OSError:  # a name that no file system takes
        return False


def _path_text(part: Any) -> Any:
    """mergekit's long form of a path: `{path: ..., revision: ...}`."""
    if isinstance(part, dict) and isinstance(part.get("path"), str) and set(part) <= {"path", "revision"}:
        return f"{part['path']}@{part['revision']}" if part.get("revision") else part["path"]
    return part


Model = Annotated[Reference, BeforeValidator(reference)]
