"""What `method:` in a recipe may name: an entry point of the group ``burnish.methods``, or ``module:OBJECT``.

Knows how to find a method and load it late. Knows none.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError, near, nearest
from burnish.core.recipe import Recipe
from burnish.core.report import Section
from burnish.core.run import Run

GROUP = "burnish.methods"
Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Method:
    """A method of the house, or of a user's own.

    Attributes:
        recipe: its settings.
        run: the loop; what it returns (a folder, a number, nothing) is shown at the end.
        reference: the paper.
        check: what a recipe would do, as ``(what, value)`` rows, without starting anything; raises UserError.
        report: sections of the HTML report, from a finished run's folder.
    """

    recipe: type[Recipe]
    run: Callable[[Any, Run], Any]
    reference: str
    check: Callable[[Any], Rows] | None = None
    report: Callable[[Path], list[Section]] | None = None


def method_names() -> list[str]:
    """Names of all installed methods."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)})


def find_method(name: str) -> Method:
    """Load the method ``name``: a registered one, or ``module:OBJECT`` importable from here.

    Raises:
        UserError: no such method, or the object is no :class:`Method`.
    """
    if ":" in name:
        method = import_object(name, "method")
    else:
        points = importlib.metadata.entry_points(group=GROUP, name=name)
        if not points:
            raise UserError(f"method: `{name}` is unknown; {nearest(name, method_names())} (your own: `module:OBJECT`)")
        method = next(iter(points)).load()
    if not isinstance(method, Method):
        raise UserError(f"method: `{name}` is a {type(method).__name__}, not a burnish.core.method.Method")
    return method


def need_packages(method: str, packages: Sequence[str], extra: str) -> None:
    """Refuse to start without what an extra of the installation brings.

    Raises:
        UserError: one of ``packages`` is not installed; says which, and what to install.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"method: {method} needs {', '.join(missing)}; pip install -e '.[{extra}]'")


def import_object(reference: str, setting: str) -> Any:
    """The object that ``module:attribute`` names; the working directory is on the path. It is the user's own code.

    Raises:
        UserError: the module or the attribute does not exist.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or module_name.startswith(".") or not attribute:
        raise UserError(f"{setting}: `{reference}` names nothing; write it as module:OBJECT")
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{setting}: no module named `{error.name}` (from `{reference}`, looked in {Path.cwd()})"
        ) from None
    except Exception as error:  # the user's own code: whatever it raises while it is imported is theirs to mend
        raise UserError(f"{setting}: importing `{module_name}` failed: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if found is None:
        meant = near(attribute, (name for name in vars(module) if not name.startswith("_")))
        hint = f"; did you mean `{meant}`?" if meant else ""
        raise UserError(f"{setting}: `{module_name}` has no `{attribute}`{hint}")
    return found
