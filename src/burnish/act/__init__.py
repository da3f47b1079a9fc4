"""Agents that plan while they act, in worlds that do not wait.

Source: "Parallelized Planning-Acting for Efficient LLM-based Multi-Agent Systems" (AAMAS 2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from burnish.act.skills.decompose import Plan


def plan(goal: str, count: int = 1, have: Mapping[str, int] | None = None) -> Plan:
    """The steps after which ``count`` of the item ``goal`` are in an inventory that starts as ``have``; Java edition 1.20.

    Raises:
        UserError: an unknown item, a count below 1, or nothing leads to the goal (says why).
    """
    from burnish.act.skills import crafting, decompose

    return decompose.plan(goal, count, have or {}, crafting.load_crafting())
