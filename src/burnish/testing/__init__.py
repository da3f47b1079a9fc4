"""The contract that every method keeps, as one call: for the house's own methods and for plug-ins.

A package that brings a method runs it as one of its tests. Knows no method.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from burnish.api import RecipeLike
from burnish.core.method import load_recipe
from burnish.testing.checks import CHECKS, ContractBroken, Subject

__all__ = ["BUDGET", "CHECKS", "ContractBroken", "Subject", "check_method"]

BUDGET = 90.0
"""Seconds that the whole contract should take for one method on two cores; a larger figure is no failure."""


def check_method(
    method: str, recipe: RecipeLike, folder: str | Path | None = None, *, clocks: Sequence[str] = ()
) -> dict[str, float]:
    """Hold a method to the contract of the house, on a recipe of its that runs in seconds.

    Examples:
        >>> check_method("mine:METHOD", {"method": "mine:METHOD", "steps": 12}, folder=".")
        {'manifest': ..., 'settings_described': ..., 'runs': ..., 'killed_and_resumed': ...}

    Its manifest loads without heavy libraries; every setting is described; the recipe survives YAML; an unknown key is
    named; a package that it lacks is said in one line; ``check`` writes nothing and starts nothing; the recipe runs,
    and takes about the memory and the disk that ``check`` forecasts, if it does; killed with SIGKILL at three moments
    and resumed it ends bit-identical; with two workers it gives what it gives with one (if its manifest says that it
    uses them); a second call of the finished run gives the same result and does nothing; the report loads nothing from
    outside.

    Args:
        method: its name, or ``module:OBJECT``.
        recipe: of that method, as :func:`burnish.run` takes it; a few seconds long, with at least a few checkpoints.
        folder: where it runs, with the models and data that it names by relative paths; none: an empty one.
        clocks: patterns (``*_time``) of what may differ between two runs because a clock is in it: names of artifacts,
            of metrics, and of keys in artifacts that are JSON.

    Returns:
        Seconds of each check, by name.

    Raises:
        ContractBroken: an AssertionError that names the method, the check, and what was found.
        UserError: there is no such method, or the recipe cannot be read.
    """
    found, asked = load_recipe(recipe)
    if asked.method != method:
        raise ContractBroken(f"{method}: the recipe is one of the method `{asked.method}`")
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="burnish-contract-") as work:
        subject = Subject(found, asked, Path(folder) if folder is not None else None, Path(work), tuple(clocks))
        for check in CHECKS:
            start = time.monotonic()
            try:
                check(subject)
            except ContractBroken as broken:
                raise ContractBroken(f"{method}: {check.__name__}: {broken}") from None
            seconds[check.__name__] = time.monotonic() - start
    return seconds
