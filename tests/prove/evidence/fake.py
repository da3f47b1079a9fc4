"""A method small enough to check by hand: the mean of the answers, and a seeded draw."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from burnish.core.method import Method
from burnish.core.recipe import Recipe
from burnish.prove.evidence.analysis import Analysis
from burnish.prove.images import ImageSet, ImageSettings
from burnish.prove.suspects import SuspectSettings


def analyse(arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> dict[str, Any]:
    suspect = arrays["suspect"]
    rng = np.random.default_rng(settings["seed"])
    return {
        "tests": [
            {"name": "mean", "statistic": float(suspect.mean()), "p": float(rng.uniform()), "effect": np.float32(0.25)}
        ],
        "verdict": {"outcome": "no evidence", "alpha": settings["alpha"], "because": "it is a test"},
        "assumptions": ["none"],
        "power": None,
    }


def settings_in(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {"seed": recipe["seed"], "alpha": recipe["alpha"]}


class FakeRecipe(Recipe):
    """For tests."""

    method: str = "tests.prove.evidence.fake:METHOD"
    suspect: SuspectSettings = SuspectSettings(model="http://127.0.0.1:1/")
    public: ImageSettings = Field(description="")
    private: ImageSettings = Field(description="")
    model: str = "none"
    alpha: float = 0.05
    commitment: str | None = None


def pictures() -> ImageSet:
    return ImageSet(np.full((3, 2, 2, 3), 7, np.uint8), ("a", "b", "c"))


ANALYSIS = Analysis(analyse, settings_in)
METHOD = Method(name="fake", recipe=FakeRecipe, run=lambda recipe, run: None)
