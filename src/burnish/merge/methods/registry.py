"""The merge methods by name, and the decorator that a method's module registers its function with.

The keyword-only arguments of the function are the user's parameters; the decorator refuses a function whose arguments are
not those of its catalogue entry.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from burnish.core.errors import UserError, nearest
from burnish.merge.methods.catalogue import CATALOGUE
from burnish.merge.methods.method import FUNCTIONS, MergeMethod, spelling

Function = TypeVar("Function", bound=Callable[..., Any])
_METHODS = {method.name: method for method in CATALOGUE}


def merge_method(name: str, reference: str) -> Callable[[Function], Function]:
    """Register a pure function as the merge method `name` of the catalogue, whose source is `reference`."""

    def register(function: Function) -> Function:
        entry = get(name)
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
    """Return the merge method of that name.

    Raises:
        UserError: there is none; the message names the nearest ones.
    """
    if name not in _METHODS:
        raise UserError(f"merge_method: unknown method {name!r}; {nearest(name, _METHODS)}")
    return _METHODS[name]


def names() -> tuple[str, ...]:
    """Return the names of all merge methods, in the catalogue's order."""
    return tuple(_METHODS)


def table() -> list[dict[str, str]]:
    """Every merge method in words: the models it takes, what may be set, where it comes from."""
    rows = []
    for method in CATALOGUE:
        settings = {**method.model_parameters, **method.parameters}
        shown = [
            key if value.required else f"{key}={value.default}" for key, value in settings.items() if not value.inert
        ]
        base = {"required": " and a base", "optional": ", a base if you like", "unused": ""}[method.base]
        rows.append(
            {
                "method": method.name,
                "merges": method.wants + base,
                "settings": ", ".join(shown) or "-",
                "reference": method.reference,
            }
        )
    return rows
