"""A model of the scenes' world that has learnt a little, and recipes of runs of seconds."""

import json
from pathlib import Path
from typing import Any

import torch

from burnish.align.recipe import ShapeRecipe
from tests.align.contract import SETTINGS, recipe


def model(folder: Path) -> Path:
    """Where a model is, made once."""
    if not (folder / "scenes").exists():
        recipe(folder)
    return folder / "scenes"


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """The contract's run, with some groups of settings changed in part."""
    found = json.loads(json.dumps({"model": str(model(folder)), **SETTINGS}))
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(found.get(name), dict)
        found[name] = {**found[name], **value} if both else value
    return found


def shape(folder: Path, **changes: Any) -> ShapeRecipe:
    torch.set_num_threads(1)
    return ShapeRecipe.model_validate(settings(folder, **changes))
