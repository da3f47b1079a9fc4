"""Agents that plan while they act, in worlds that do not wait.

Source: "Parallelized Planning-Acting for Efficient LLM-based Multi-Agent Systems" (AAMAS 2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.act.recipe import TeamRecipe
from burnish.core.method import Method, need_packages

if TYPE_CHECKING:
    from burnish.act.skills.decompose import Decomposition
    from burnish.core.report import Section
    from burnish.core.run import Run

__all__ = ["METHOD", "TeamRecipe", "plan", "play"]


def plan(goal: str, count: int = 1, have: Mapping[str, int] | None = None) -> Decomposition:
    """The steps after which ``count`` of the item ``goal`` are in an inventory that starts as ``have``; Java edition 1.20.

    Raises:
        UserError: an unknown item, a count below 1, or nothing leads to the goal (says why).
    """
    from burnish.act.skills import crafting, decompose

    return decompose.plan(goal, count, have or {}, crafting.load_crafting())


def play(recipe: TeamRecipe, run: Run) -> Path:
    """Play an episode; see ``burnish.act.loop.play``."""
    _need_extra()
    from burnish.act.loop import play as loop

    return loop(recipe, run)


def _check(recipe: TeamRecipe) -> list[tuple[str, str]]:
    _need_extra()
    from burnish.act.preflight import check

    return check(recipe)


def _report(path: Path) -> list[Section]:
    from burnish.act.report import run_sections

    return run_sections(path)


def _need_extra() -> None:
    need_packages("planning_acting", ["anyio", "openai", "opentelemetry", "fastapi"], "act")


METHOD = Method(
    recipe=TeamRecipe,
    run=play,
    reference="Parallelized Planning-Acting for LLM-based Multi-Agent Systems (2025)",
    check=_check,
    report=_report,
)
