"""DOV4CL corrected: was this self-supervised encoder pre-trained on my pictures?

``audit`` runs a recipe in a run folder; ``analysis.analyse`` computes the findings from stored answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from burnish.core.method import Method, need_packages
from burnish.prove.dov4cl.recipe import AuditRecipe

if TYPE_CHECKING:
    from burnish.core.report import Section
    from burnish.core.run import Run

__all__ = ["METHOD", "AuditRecipe", "audit"]


def audit(recipe: AuditRecipe, run: Run) -> Path:
    """An ownership audit; see ``burnish.prove.dov4cl.loop.audit``."""
    need_packages("dov4cl", ["httpx"], "prove")
    from burnish.prove.dov4cl.loop import audit as loop

    return loop(recipe, run)


def check(recipe: AuditRecipe) -> list[tuple[str, str]]:
    """What an audit would do; see ``burnish.prove.dov4cl.preflight.check``."""
    need_packages("dov4cl", ["httpx"], "prove")
    from burnish.prove.dov4cl.preflight import check as rows

    return rows(recipe)


def _report(path: Path) -> list[Section]:
    from burnish.prove.dov4cl.report import sections

    return sections(path)


METHOD = Method(
    recipe=AuditRecipe,
    run=audit,
    reference="Dataset Ownership Verification in Contrastive Pre-trained Models (ICLR 2025)",
    check=check,
    report=_report,
)
