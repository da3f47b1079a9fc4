"""What a run folder holds, before a run is opened in it. Knows recipes and files, no loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from burnish.core.errors import UserError
from burnish.core.files import stale
from burnish.core.recipe import Recipe
from burnish.core.yaml_marks import load_yaml

State = Literal["new", "to be resumed", "finished"]


def state_of(recipe: Recipe, path: Path, record: Mapping[str, Any]) -> State:
    """What a run of ``recipe`` would find in its folder.

    Args:
        recipe: what is asked.
        path: the folder; need not exist.
        record: its ``run.json``; empty if it has none.

    Raises:
        UserError: the folder is a file, holds other things, or a run of another recipe (the differing keys are named).
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file; choose another folder", arguments=("out",))
    if not record:
        inside = {each.name for each in path.iterdir()} - {".lock", ".owner"} if path.is_dir() else set()
        if inside - {each.name for each in stale(path)}:
            raise UserError(f"{path}: not empty and not a run; choose another folder", arguments=("out",))
        return "new"
    if not did_something(path, record):
        return "new"
    stored = path / "recipe.yaml"
    differing = recipe.differences(load_yaml(stored)[0] or {}) if stored.exists() else []
    if differing:
        raise UserError(
            f"{path}: holds a run of another recipe (differs in {', '.join(differing)}); "
            "choose another folder, or start afresh",
            arguments=("out", "fresh"),
        )
    return "finished" if record["status"] == "finished" else "to be resumed"


def did_something(path: Path, record: Mapping[str, Any]) -> bool:
    """Whether the run in the folder left anything; one that was refused before it began stands in nobody's way."""
    made = [path / name for name in ("artifacts", "checkpoints") if (path / name).is_dir()]
    metrics = path / "metrics.jsonl"
    anything = any(next(folder.iterdir(), None) for folder in made)
    return anything or record.get("status") == "finished" or (metrics.exists() and metrics.stat().st_size > 0)
