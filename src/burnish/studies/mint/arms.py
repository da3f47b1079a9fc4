"""What is trained in the mint study, and for how long. Knows recipes.

All models see the same scenes for the same CPU seconds, with the same settings: 16 patches that fall together with the
world's cells, and noise levels that lean to noise, as a prototype measured; small batches, because what a model needs
to draw by a plan are many steps. Nine settings of rate, batch, betas and begin were tried on models with a plan, for a
few hundred steps, by their loss; none was tried on models without, which the prototype had tuned. Two models of `full`
see real pictures instead.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

from burnish.generate.recipe import MintRecipe
from burnish.studies.mint.records import DENSE, FUNCTION, MODALITY, PLAIN, REAL, REAL_PLAIN, REFINED, WIDE
from burnish.testbeds.easel import sources, sprites
from burnish.testbeds.easel.world import SHAPE_WORLD, World

Stage = Literal["draw", "all"]


class Spending(NamedTuple):
    """What a size spends on a model.

    Attributes:
        seconds: of CPU time of a training.
        prompts: of the test, all categories in turn.
        scenes: to train on.
        drafts: that a model draws of training scenes between its stages, for reflection to learn from.
        width: of the model.
        layers: likewise.
        batch: rows a step; twice as many where four tasks are mixed.
    """

    seconds: float = 240.0
    prompts: int = 84
    scenes: int = 8192
    drafts: int = 256
    width: int = 96
    layers: int = 4
    batch: int = 12


LAST = 0.2
"""Share of the time for drafts and the second stage, in which describing, reflecting and correcting are learnt."""
ROUTINGS = {DENSE: "dense", WIDE: "dense", MODALITY: "mot"}
"""Of the others: ``mint``."""
UNPLANNED = (PLAIN, REFINED, REAL_PLAIN)
"""Models that are never taught a plan."""
TWINS = {REAL: FUNCTION, REAL_PLAIN: PLAIN}
"""Models of real pictures, and those of shapes that are taught and drawn with in the same way."""


@lru_cache(maxsize=1)
def _real() -> World:
    return sprites.sprite_world()


def world_of(model: str) -> World:
    """What its pictures are made of.

    Raises:
        UserError: neither the real pictures nor the tool that fetches them is there.
    """
    return _real() if model in TWINS else SHAPE_WORLD


def source_of(model: str, part: Literal["training", "test"]) -> str:
    """The function that gives a part of its scenes, as recipes name it."""
    return f"{(sprites if model in TWINS else sources).__name__}:{part}"


def recipe_of(model: str, spending: Spending, seed: int, stage: Stage = "draw", steps: int = 20) -> MintRecipe:
    """The recipe of a stage of a model.

    Args:
        model: which.
        spending: what all share.
        seed: of everything.
        stage: plan and draw, or all four tasks.
        steps: of it.
    """
    width, world = spending.width, world_of(model)
    # three experts hold 3 (4 d^2 + 2 d f) numbers a layer; one of width f' = 3 f + 4 d as many (section 7 of the notes)
    intermediate = 3 * 4 * width + 4 * width if model == WIDE else 4 * width
    taught: dict[str, Any] = {"batch": spending.batch, "learning_rate": 3e-3}
    if stage == "all":
        mix = {"draw": 1.0, "describe": 1.0, "reflect": 1.0, "correct": 1.0}
        taught = {"batch": 2 * spending.batch, "learning_rate": 1e-3, "tasks": mix, "copy_experts": {"clean": "noisy"}}
    settings: dict[str, Any] = {
        "device": "cpu",
        "seed": seed,
        "model": {
            "routing": ROUTINGS.get(model, "mint"),
            "width": width,
            "layers": spending.layers,
            "intermediate": intermediate,
            "codec": {"kind": "pixel", "size": [world.side, world.side], "patch": world.cell},
        },
        "wording": world.wording(),
        "plans": model not in UNPLANNED,
        "data": {"source": "of the study"},
        "stages": [{**taught, "name": stage, "steps": steps, "schedule": "cosine", "warmup_steps": min(50, steps)}],
        "loss": {"text": 0.2},
        "flow": {"copies": 2, "drop_plan": 0.05, "unplanned": 0.05},
        "betas": [0.9, 0.99],
        "ema": 0.99,
    }
    return MintRecipe.load(settings)
