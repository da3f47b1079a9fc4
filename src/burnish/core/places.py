"""Where things lie: files shipped with Burnish, and the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from burnish.core.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parents[1]


def shipped(name: str) -> Path:
    """A folder shipped with Burnish, ``recipes`` or ``docs/claims``: the checkout's, or the installed package's copy."""
    in_checkout = _CHECKOUT / name
    return in_checkout if in_checkout.is_dir() else _PACKAGE / Path(name).name


def checkout() -> Path:
    """The root of the checkout that this Burnish runs from.

    Raises:
        UserError: Burnish was installed as a wheel; there is no checkout to write into.
    """
    if not (_CHECKOUT / "pyproject.toml").exists():
        raise UserError(
            "this Burnish is an installed package; stored claims are written in a checkout (pip install -e .)"
        )
    return _CHECKOUT


def cache() -> Path:
    """The user's cache for prepared models and data: ``$BURNISH_CACHE``, or the platform's usual place."""
    return Path(os.environ.get("BURNISH_CACHE") or platformdirs.user_cache_dir("burnish"))
