"""The arms of the sakd study: what each changes in the recipe that all share, and which regime has which.

Knows recipes, no world. Everything that is not named here is the same for all arms of a regime: models, samples, seeds,
optimizer, temperature and weights (chosen with the baseline on validation samples), and FLOPs or updates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from burnish.distill.recipe import SakdRecipe
from burnish.studies.sakd.records import (
    CE,
    DIVERSE,
    EASY,
    EVERY,
    FULL,
    INFOBATCH,
    LONG,
    OFFICIAL,
    PERTURBED,
    POOL,
    RANDOM,
    SAKD,
    SELECTED,
    STRENGTH,
    TRUST,
    Regime,
)

Changes = Mapping[str, Mapping[str, Any] | Any]


class Plan(NamedTuple):
    """How an arm differs from the baseline.

    Attributes:
        changes: settings of the recipe.
        alike: whether it costs what the baseline costs, so that equal updates are equal FLOPs.
        times: its budget over that of the others.
    """

    changes: Changes
    alike: bool = False
    times: float = 1.0


INVERSE = {"strength": "inverse"}
PLANS: dict[str, Plan] = {
    RANDOM: Plan({}, alike=True),
    CE: Plan({"loss": {"supervised": 1.0, "distilled": 0.0}}),
    FULL: Plan({"selection": {"share": 1.0}}, alike=True),
    LONG: Plan({"selection": {"share": 1.0}}, times=2.0),
    EVERY: Plan({"selection": {"kind": "random_every"}}, alike=True),
    # its own paper's share; its epochs are longer, so it has fewer of them
    INFOBATCH: Plan({"selection": {"kind": "infobatch", "share": 0.5}}, alike=True),
    DIVERSE: Plan({"selection": {"kind": "perturbed", "diversity": 1.0}}, alike=True),
    STRENGTH: Plan({"difficulty": INVERSE}),
    SELECTED: Plan({"selection": {"kind": "map"}}),
    SAKD: Plan({"selection": {"kind": "map"}, "difficulty": INVERSE}),
    # ours: noise on the quality, and difficulty from the teacher's table, which is paid for already
    PERTURBED: Plan({"selection": {"kind": "perturbed"}, "difficulty": INVERSE, "evaluation": "cached"}),
    OFFICIAL: Plan({"selection": {"kind": "hard"}, "difficulty": {"strength": "official"}}),
    TRUST: Plan({"difficulty": {"strength": "trust"}}, alike=True),
    POOL: Plan({"selection": {"kind": "trust_pool"}}, alike=True),
    EASY: Plan({"selection": {"kind": "easy"}, "evaluation": "cached"}),
}

ARMS: dict[Regime, tuple[str, ...]] = {
    "duplicates": (CE, FULL, DIVERSE, SAKD, PERTURBED),
    "long tail": (CE, FULL, DIVERSE, SAKD, PERTURBED),
    "clean": tuple(name for name in PLANS if name not in (RANDOM, POOL, EASY)),
    "wrong teacher": (CE, TRUST, POOL, EASY, PERTURBED),
    "label noise": (CE, TRUST, POOL),
    "unusable clips": (CE, EASY, PERTURBED),
    "pre-trained": (CE, SAKD, PERTURBED),
    "pictures": (CE, FULL, DIVERSE, SAKD, PERTURBED),
}
"""Beside the baseline, which is everywhere."""


class Spending(NamedTuple):
    """What a size spends on a student.

    Attributes:
        epochs: of the baseline.
        share: of the samples in each.
        interval: epochs from one evaluation to the next.
        batch: samples a step.
        learning_rate: the highest; it falls along a cosine.
        grid: temperatures and weights of the teacher, among which the baseline chooses for all arms.
    """

    epochs: int = 48
    share: float = 0.25
    interval: int = 5
    batch: int = 30
    learning_rate: float = 1.2e-2
    grid: tuple[tuple[float, float], ...] = ((1.0, 0.5), (1.0, 0.9), (4.0, 0.5), (4.0, 0.9))


def recipe_of(
    arm: str,
    spending: Spending,
    temperature: float,
    weight: float,
    seed: int,
    *,
    epochs: int,
    flops: float | None = None,
) -> SakdRecipe:
    """The recipe of an arm.

    Args:
        arm: of :data:`PLANS`.
        spending: what all arms share.
        temperature: of the distillation loss.
        weight: of it; cross-entropy has the rest.
        seed: of orders and draws.
        epochs: at most.
        flops: budget, where it is not epochs that end the training.
    """
    shared: dict[str, Any] = {
        "teacher": "of the world",
        "student": "of the world",
        "data": {"source": "of the world"},
        "device": "cpu",
        "seed": seed,
        "epochs": epochs,
        "interval": spending.interval,
        "batch": spending.batch,
        "frozen_batch": 64,
        "optimizer": "adamw",
        "learning_rate": spending.learning_rate,
        "lr_scheduler": "cosine",
        "warmup_steps": 10,
        "weight_decay": 0.01,
        "budget": {"flops": flops},
        "loss": {"temperature": temperature, "supervised": round(1 - weight, 6), "distilled": weight},
        "selection": {"share": spending.share, "kind": "random"},
        "difficulty": {"strength": "constant"},
    }
    for name, change in PLANS[arm].changes.items():
        shared[name] = {**shared[name], **change} if isinstance(change, Mapping) else change
    return SakdRecipe.model_validate(shared)
