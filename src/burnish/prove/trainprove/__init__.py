"""TrainProVe: was this classifier trained on pictures of my generator? Evidence with a false-accusation rate that is
known.

``audit`` runs a recipe in a run folder. The pure maths needs no recipe: ``agreement``, ``calibration``, ``fraction``,
``published``, ``queries``, ``prompts``, and ``analysis.analyse`` over stored answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from burnish.core.method import Method, need_packages
from burnish.prove.trainprove.recipe import AuditRecipe

if TYPE_CHECKING:
    from burnish.core.report import Section
    from burnish.core.run import Run

__all__ = ["METHOD", "AuditRecipe", "audit"]


def audit(recipe: AuditRecipe, run: Run) -> Path:
    """Audit a classifier; see ``burnish.prove.trainprove.loop.audit``."""
    _need_extra(recipe)
    from burnish.prove.trainprove.loop import audit as loop

    return loop(recipe, run)


def check(recipe: AuditRecipe) -> list[tuple[str, str]]:
    """What an audit would do; see ``burnish.prove.trainprove.preflight.check``."""
    _need_extra(recipe)
    from burnish.prove.trainprove.preflight import check as rows

    return rows(recipe)


def _need_extra(recipe: AuditRecipe) -> None:
    if any(source.pipeline for source in (recipe.mine, *recipe.others)):
        need_packages("trainprove with a pipeline", ["diffusers"], "prove")


def _report(path: Path) -> list[Section]:
    from burnish.prove.trainprove.report import run_sections

    return run_sections(path)


METHOD = Method(
    recipe=AuditRecipe,
    run=audit,
    reference="Training Data Provenance Verification (CVPR 2025)",
    check=check,
    report=_report,
)
