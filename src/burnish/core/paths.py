"""Where things lie: files shipped with Burnish, and the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from burnish.core.errors import UserError, near, nearest

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parents[1]


def shipped(name: str) -> Path:
    """A folder shipped with Burnish, ``recipes`` or ``docs/claims``: the checkout's, or the package's copy."""
    in_checkout = _CHECKOUT / name
    return in_checkout if in_checkout.is_dir() else _PACKAGE / Path(name).name


def shipped_recipes() -> dict[str, str]:
    """Names of the shipped recipes, and what the first comment of each says."""
    root = shipped("recipes")
    return {
        str(path.relative_to(root).with_suffix("")): path.read_text().splitlines()[0].removeprefix("#").strip()
        for path in sorted(root.rglob("*.yaml"))
    }


def find_recipe(name: str) -> Path:
    """A recipe by path, or by the name of a shipped one (``rmm/tiny``).

    Raises:
        UserError: neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = shipped_recipes()
    shipped_name = name.removesuffix(".yaml")
    if shipped_name in known:
        return shipped("recipes") / f"{shipped_name}.yaml"
    if path.is_dir():
        raise UserError(f"{name}: a folder; give a YAML file, or the name of a shipped recipe (`burnish recipes`)")
    # All that is shipped would bury what is wrong: near names only, the command for the rest.
    hint = nearest(shipped_name, known) if near(shipped_name, known) else "`burnish recipes` lists those"
    raise UserError(f"{name}: no such file, and no shipped recipe of that name; {hint}")


def in_checkout() -> bool:
    """Whether this Burnish runs from a checkout, and not from an installed wheel."""
    return (_CHECKOUT / "pyproject.toml").exists()


def checkout() -> Path:
    """The root of the checkout that this Burnish runs from.

    Raises:
        UserError: Burnish was installed as a wheel; there is no checkout to write into.
    """
    if not in_checkout():
        raise UserError(
            "this Burnish is an installed package; stored claims are written in a checkout, installed as editable"
        )
    return _CHECKOUT


def cache() -> Path:
    """The user's cache for prepared models and data: ``$BURNISH_CACHE``, or the platform's usual place."""
    return Path(os.environ.get("BURNISH_CACHE") or platformdirs.user_cache_dir("burnish"))
