"""Reinforced Model Merging and its rivals: choose, layer by layer, what a merged model is made of. No gradient needed.

``search`` runs a recipe in a run folder; from Python, ``Session`` searches models that are in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.core.method import Method, need_packages
from burnish.merge.rmm.recipe import SearchRecipe

if TYPE_CHECKING:
    from burnish.core.report import Section
    from burnish.core.run import Run

__all__ = ["METHOD", "SearchRecipe", "search"]
PACKAGES = ("cma", "gymnasium", "sb3_contrib")


def search(recipe: SearchRecipe, run: Run) -> Path:
    """Layer-wise merge search; see ``burnish.merge.rmm.loop.search``."""
    need_packages("rmm", PACKAGES, "search")
    from burnish.merge.rmm.loop import search as loop

    return loop(recipe, run)


def check(recipe: SearchRecipe) -> list[tuple[str, str]]:
    """What a search would do; see ``burnish.merge.rmm.preflight.check``."""
    need_packages("rmm", PACKAGES, "search")
    from burnish.merge.rmm.preflight import check as rows

    return rows(recipe)


def _report(path: Path) -> list[Section]:
    from burnish.merge.rmm.report import sections

    return sections(path)


METHOD = Method(
    recipe=SearchRecipe, run=search, reference="Reinforced Model Merging, arXiv:2503.21272", check=check, report=_report
)


def __getattr__(name: str) -> Any:
    # the classes that bring torch along load on first use
    if name == "Session":
        from burnish.merge.rmm.session import Session

        return Session
    if name == "Problem":
        from burnish.merge.rmm.problem import Problem

        return Problem
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
