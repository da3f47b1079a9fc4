"""What must be installed for something to run, and the one command that installs it here.

Whatever is missing is said in the same words everywhere: what needs it, which extra of Burnish brings it, and a command
that is right for this installation: a checkout or a wheel, an environment with pip or one without (uv makes those).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from burnish.core.errors import UserError
from burnish.core.paths import checkout, in_checkout

OURS = "burnish"


@dataclass(frozen=True)
class Need:
    """Modules that something cannot do without.

    Attributes:
        modules: as they are imported, dotted names too.
        extra: of Burnish (or of the package that brings a method), which brings them; none: install each by its name.
    """

    modules: tuple[str, ...]
    extra: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """Those that cannot be imported."""
        return tuple(name for name in self.modules if not importable(name))


def importable(name: str) -> bool:
    """Whether a module is installed; imports nothing but the packages above a dotted name."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # of the package above a dotted name; hidden in sys.modules
        return False


def require(what: str, *needs: Need) -> None:
    """Refuse to start without what is needed.

    Args:
        what: needs it, as a message begins: ``method: rmm``.
        needs: all that it needs, each with its extra.

    Raises:
        UserError: something is not installed; names all of it, and one command that installs it.
    """
    lacking = [Need(each.missing, each.extra) for each in needs if each.missing]
    if lacking:
        raise not_installed(what, *lacking)


def not_installed(what: str, *lacking: Need) -> UserError:
    """The error for modules that are known to be missing; see :func:`require`."""
    modules = list(dict.fromkeys(name for each in lacking for name in each.modules))
    extras = list(dict.fromkeys(each.extra for each in lacking if each.extra))
    alone = [name.replace("_", "-") for each in lacking if not each.extra for name in each.modules]
    named = " and ".join(f"`{extra}`" for extra in extras)
    brought = f"; the extra{'s' * (len(extras) > 1)} {named} brings it" if extras else ""
    brought = brought.replace("brings it", "bring it") if len(extras) > 1 else brought
    ours = set(importlib.metadata.metadata(OURS).get_all("Provides-Extra") or ())
    if not set(extras) <= ours:  # of the package that brings the method: only its author knows where that comes from
        return UserError(f"{what} needs {', '.join(modules)}{brought}")
    return UserError(f"{what} needs {', '.join(modules)}{brought}: {install_command(extras, alone)}")


def install_command(extras: Sequence[str], packages: Sequence[str] = ()) -> str:
    """How extras of Burnish, and packages beside them, are installed into this environment."""
    wanted = [_burnish(extras)] if extras else []
    return " ".join([_installer(), *wanted, *map(shlex.quote, packages)])


_NAMED = re.compile(rf"({OURS}(?:\.\w+)+):\w+")


def needs_named(value: Any) -> Iterator[Need]:
    """What the function of Burnish that a setting names (``burnish.testbeds.gym:training``) cannot do without: its
    module says so in ``NEEDS``. Modules of the user's own are not looked at: they are theirs to import.
    """
    found = _NAMED.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        try:
            yield from getattr(importlib.import_module(found[1]), "NEEDS", ())
        except ModuleNotFoundError:
            return  # a misspelt name: whoever calls the function says so


def _installer() -> str:
    """pip if this environment has it; uv, which made an environment without, is told where it is."""
    activated = os.environ.get("VIRTUAL_ENV") == sys.prefix
    if importable("pip"):
        return "pip install" if activated else f"{shlex.quote(sys.executable)} -m pip install"
    return "uv pip install" if activated else f"uv pip install --python {shlex.quote(sys.executable)}"


def _burnish(extras: Sequence[str]) -> str:
    """Burnish with extras, from where this one came: its checkout, the wheel's file if it is still there, the index."""
    with_extras = f"[{','.join(extras)}]"
    if in_checkout():
        root = checkout()
        return f"-e {shlex.quote(('.' if Path.cwd() == root else str(root)) + with_extras)}"
    return shlex.quote(f"{_wheel() or OURS}{with_extras}")


def _wheel() -> Path | None:
    """The file that this Burnish was installed from, if it is still there."""
    try:
        told = json.loads(importlib.metadata.distribution(OURS).read_text("direct_url.json") or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    path = Path(unquote(urlsplit(str(told.get("url", ""))).path))
    return path if path.suffix == ".whl" and path.is_file() else None
