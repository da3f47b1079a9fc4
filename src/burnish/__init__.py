"""Burnish finishes a model after pre-training, and shows that the step worked.

``burnish.run("rmm/tiny")``, ``burnish.check(...)``, ``burnish.study(...)`` and ``burnish.report(...)`` are what the
command line calls.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["check", "recipes", "report", "run", "study"]


def __getattr__(name: str) -> Any:
    # Late, so that `import burnish` costs nothing.
    if name in __all__:
        from burnish import api

        return getattr(api, name)
    raise AttributeError(f"module 'burnish' has no attribute '{name}'")
