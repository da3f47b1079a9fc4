"""Agents that plan while they act, in worlds that do not wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from burnish.act.recipe import TeamRecipe
from burnish.core.method import Method, Paper

if TYPE_CHECKING:
    from burnish.act.skills.decompose import Decomposition

__all__ = ["METHOD", "TeamRecipe", "plan"]


def plan(goal: str, count: int = 1, have: Mapping[str, int] | None = None) -> Decomposition:
    """The steps after which ``count`` of the item ``goal`` are in an inventory that starts as ``have``.

    Examples:
        >>> [step.item for step in plan("torch", 4).steps][-1]
        'torch'

    Raises:
        UserError: an unknown item, a count below 1, or nothing leads to the goal (says why).
    """
    from burnish.act.skills import crafting, decompose

    return decompose.plan(goal, count, have or {}, crafting.load_crafting())


METHOD = Method(
    name="planning_acting",
    label="planning-acting",
    capability="act",
    paper=Paper("Parallelized Planning-Acting for Multi-Agent LLM Systems in Minecraft", "AAMAS", 2026, "2503.03505"),
    claim="agents that plan while they act are about 1.5x faster",
    recipe=TeamRecipe,
    run="burnish.act.loop:play",
    check="burnish.act.preflight:check",
    report="burnish.act.report:run_sections",
    study="burnish.studies.planning_acting.study:STUDY",
    needs=("anyio", "openai", "opentelemetry", "fastapi"),
    extra="act",
)
