"""Burnish finishes a model after pre-training, and shows that the step worked.

``burnish.run("rmm/tiny")``, ``burnish.check(...)``, ``burnish.sweep(...)``, ``burnish.study(...)`` and
``burnish.report(...)`` are what the command line calls; the capabilities are modules of their own,
``burnish.merge.merge(...)``. All load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from burnish import act, generate, merge, private, prove, reason, testing
    from burnish.api import StudyResult, check, compare, recipes, report, run, study
    from burnish.core.compare import Comparison
    from burnish.core.errors import BurnishError, Interrupted, UserError
    from burnish.core.result import RunResult
    from burnish.sweeping import SweepResult, sweep

__version__ = "0.1.0"
__all__ = [
    "BurnishError",
    "Comparison",
    "Interrupted",
    "RunResult",
    "StudyResult",
    "SweepResult",
    "UserError",
    "__version__",
    "act",
    "check",
    "compare",
    "generate",
    "merge",
    "private",
    "prove",
    "reason",
    "recipes",
    "report",
    "run",
    "study",
    "sweep",
    "testing",
]
_MODULES = ("act", "generate", "merge", "private", "prove", "reason", "testing")
_HOMES = {
    "Comparison": "burnish.core.compare",
    "BurnishError": "burnish.core.errors",
    "Interrupted": "burnish.core.errors",
    "UserError": "burnish.core.errors",
    "RunResult": "burnish.core.result",
    "SweepResult": "burnish.sweeping",
    "sweep": "burnish.sweeping",
}


def __getattr__(name: str) -> Any:
    # Late, so that `import burnish` costs nothing.
    if name in _MODULES:
        return importlib.import_module(f"burnish.{name}")
    if name in __all__:
        found = getattr(importlib.import_module(_HOMES.get(name, "burnish.api")), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'burnish' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
