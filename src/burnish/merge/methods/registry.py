"""The merge methods by name: those of the catalogue, those of installed packages, and any user's `module:function`.

Brings no torch: a method's function is imported when it is called for the first time, a user's when it is looked up.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from burnish.core.errors import UserError, nearest
from burnish.merge.methods import own
from burnish.merge.methods.catalogue import CATALOGUE
from burnish.merge.methods.method import FUNCTIONS, MergeMethod, spelling

Function = TypeVar("Function", bound=Callable[..., Any])
_METHODS = {method.name: method for method in CATALOGUE}
# Steps of a plan that copy are named so.
_TAKEN = {*_METHODS, "copy"}


def implements(name: str, reference: str) -> Callable[[Function], Function]:
    """Make a pure function the merge method `name` of the catalogue, whose source is `reference`.

    The function's keyword-only arguments are the catalogue's parameters; one that differs is refused.
    """

    def register(function: Function) -> Function:
        entry = _METHODS[name]
        asked = {
            key
            for key, argument in inspect.signature(function).parameters.items()
            if argument.kind is argument.KEYWORD_ONLY
        }
        offered = {
            spelling(key) for key, value in {**entry.model_parameters, **entry.parameters}.items() if not value.inert
        }
        offered |= {"seed"} if entry.random else set()
        offered |= {"statistics"} if entry.statistics else set()
        if asked != offered or reference != entry.reference:
            raise TypeError(
                f"{name}: the function's parameters or reference differ from the catalogue's: {sorted(asked ^ offered)}"
            )
        FUNCTIONS[name] = function
        return function

    return register


def get(name: str) -> MergeMethod:
    """Return the merge method of that name: a built-in one at once, else as :func:`find`.

    Raises:
        UserError: there is none; the message names the nearest ones. Or the function cannot be a merge method.
    """
    return _METHODS[name] if name in _METHODS else find(name)


def find(name: str, folder: Path | None = None) -> MergeMethod:
    """Return the merge method that a file names. It looks into all installed packages: once a merge, not once a tensor.

    Args:
        name: of a built-in method, of an installed package's, or `module:function`.
        folder: where `module` may lie besides the working directory: the folder of the YAML.

    Raises:
        UserError: there is none; the message names the nearest ones. Two of one name. Or the function cannot be a merge
            method.
    """
    if ":" in name:
        return own.load(name, folder)
    installed = own.installed(name)
    if installed and name in _TAKEN:
        raise UserError(
            f"merge_method: {name!r} is a built-in method, and {installed[0].value} is installed under the same name; "
            "rename that entry point"
        )
    if name in _METHODS:
        return _METHODS[name]
    if installed:
        return own.from_entry_points(installed)
    raise UserError(
        f"merge_method: unknown method {name!r}; {nearest(name, [*_METHODS, *own.installed_names()])} "
        "(your own: `module:function`)"
    )


def names() -> tuple[str, ...]:
    """Return the names of the built-in merge methods, in the catalogue's order."""
    return tuple(_METHODS)


def table() -> list[dict[str, str]]:
    """Every merge method in words: the models it takes, what may be set, where it comes from.

    A method of an installed package that cannot be used is listed with the reason.
    """
    rows = [_row(method) for method in CATALOGUE]
    for name in own.installed_names():
        try:
            rows.append(_row(find(name)))
        except UserError as error:
            rows.append({"method": name, "merges": "-", "settings": f"cannot be used: {error}", "reference": "-"})
    return rows


def _row(method: MergeMethod) -> dict[str, str]:
    settings = {**method.model_parameters, **method.parameters}
    shown = [key if value.required else f"{key}={value.default}" for key, value in settings.items() if not value.inert]
    base = {"required": " and a base", "optional": ", a base if you like", "unused": ""}[method.base]
    return {
        "method": method.name,
        "merges": method.wants + base,
        "settings": ", ".join(shown) or "-",
        "reference": method.reference,
    }
