"""Hint-GRPO: reinforcement on questions with checkable answers that wastes fewer of them.

A question that no completion solves gives GRPO nothing to learn from; here it is tried again with the first steps of its
solution given. ``reinforce`` runs a recipe in a run folder. The pure parts need none: ``steps``, ``hints``, ``schedule``,
``selection``; ``trainer.HintGRPOTrainer`` is TRL's trainer with hints, ``evaluate.hint_free_accuracy`` the test.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from burnish.core.method import Method, need_packages
from burnish.reason.hint_grpo.recipe import HintGRPORecipe

if TYPE_CHECKING:
    from burnish.core.report import Section
    from burnish.core.run import Run

__all__ = ["METHOD", "HintGRPORecipe", "reinforce"]
PACKAGES = ("trl", "datasets")


def reinforce(recipe: HintGRPORecipe, run: Run) -> Path:
    """Train a model by Hint-GRPO; see ``burnish.reason.hint_grpo.loop.reinforce``."""
    need_packages("hint_grpo", PACKAGES, "post")
    from burnish.reason.hint_grpo.loop import reinforce as loop

    return loop(recipe, run)


def check(recipe: HintGRPORecipe) -> list[tuple[str, str]]:
    """What a training would do; see ``burnish.reason.hint_grpo.preflight.check``."""
    need_packages("hint_grpo", PACKAGES, "post")
    from burnish.reason.hint_grpo.preflight import check as rows

    return rows(recipe)


def sections(path: Path) -> list[Section]:
    """Sections of a finished run's report; see ``burnish.reason.hint_grpo.report.run_sections``."""
    from burnish.reason.hint_grpo.report import run_sections

    return run_sections(path)


METHOD = Method(
    recipe=HintGRPORecipe,
    run=reinforce,
    reference="Boosting MLLM Reasoning with Text-Debiased Hint-GRPO (ICCV 2025)",
    check=check,
    report=sections,
)
