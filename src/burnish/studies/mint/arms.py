"""What is trained in the mint study, and for how long. Knows recipes.

All models see the same scenes for the same CPU seconds. The settings are the notes' that a prototype measured: 16
patches of 8 pixels that fall together with the world's cells, noise levels that lean to noise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from burnish.generate.recipe import MintRecipe
from burnish.studies.mint.records import DENSE, FUNCTION, MODALITY, PLAIN, REFINED, WIDE
from burnish.testbeds.easel.world import SHAPE_WORLD


class Spending(NamedTuple):
    """What a size spends on a model.

    Attributes:
        seconds: of CPU time of a training.
        prompts: of the test, all categories in turn.
        scenes: to train on.
        width: of the model.
        layers: likewise.
        batch: rows a step.
    """

    seconds: float = 300.0
    prompts: int = 140
    scenes: int = 8192
    width: int = 96
    layers: int = 4
    batch: int = 32


LAST = 0.2
"""Share of the time for the second stage, in which describing, reflecting and correcting are learnt."""
ROUTINGS = {DENSE: "dense", WIDE: "dense", MODALITY: "mot", FUNCTION: "mint", PLAIN: "mint", REFINED: "mint"}


def recipe_of(model: str, spending: Spending, seed: int, steps: tuple[int, int] = (20, 20)) -> MintRecipe:
    """The recipe of a model.

    Args:
        model: which.
        spending: what all share.
        seed: of everything.
        steps: of the two stages.
    """
    width = spending.width
    # three experts hold 3 (4 d^2 + 2 d f) numbers a layer; one of width f' = 3 f + 4 d as many (section 7 of the notes)
    intermediate = 3 * 4 * width + 4 * width if model == WIDE else 4 * width
    mix = {"draw": 1.0, "describe": 1.0, "reflect": 1.0, "correct": 1.0}
    first, second = (
        {"steps": each, "batch": spending.batch, "learning_rate": 2e-3, "schedule": "cosine"} for each in steps
    )
    settings: dict[str, Any] = {
        "device": "cpu",
        "seed": seed,
        "model": {
            "routing": ROUTINGS[model],
            "width": width,
            "layers": spending.layers,
            "intermediate": intermediate,
        },
        "wording": SHAPE_WORLD.wording(),
        "plans": model not in (PLAIN, REFINED),
        "data": {"source": "of the study"},
        "stages": [
            {**first, "name": "draw", "warmup_steps": min(50, steps[0])},
            {**second, "name": "all", "learning_rate": 1e-3, "tasks": mix, "copy_experts": {"clean": "noisy"}},
        ],
        "loss": {"text": 0.2},
        "flow": {"copies": 2},
        "ema": 0.99,
    }
    return MintRecipe.load(settings)
