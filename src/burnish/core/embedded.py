"""The models that Burnish carries, by name, wherever a recipe or a command takes a path: prepared once, in the cache.

A folder or file of the user's own goes first. Knows no model: the room that makes them is asked by its name, as a
recipe names the data of a testbed.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from burnish.core.errors import UserError
from burnish.core.files import NotMade
from burnish.core.global_streams import streams_kept

MAKERS = "burnish.testbeds.models"
"""The module whose ``MODELS`` holds the names, and whose ``prepare_model`` gives the folder of one."""


def located(path: str | Path) -> Path:
    """Where a path leads: to what lies there, or into the embedded model that its first part names.

    ``minilm`` is the folder of that model in the cache, ``motions/train`` a folder inside of one. What is not in the
    cache is made now; the random streams of a run that asks stay where they are.

    Returns:
        A path that exists, or the one that was given (with ``~`` filled in): then nothing is there.

    Raises:
        UserError: no path, the model cannot be had (no network, a tool or package that is missing), or is not in the
            cache inside of :func:`burnish.core.files.nothing_made`.
    """
    try:
        given = Path(path).expanduser()
        if given.is_absolute() or not given.parts or given.exists():
            return given
    except (OSError, RuntimeError, ValueError) as error:  # too long, or the home of nobody
        raise UserError(f"{str(path)[:80]}: not a path ({error})") from None
    first, *rest = given.parts
    makers = importlib.import_module(MAKERS)
    if first not in makers.MODELS:
        return given
    try:
        with streams_kept():
            inside: Path = makers.prepare_model(first).joinpath(*rest)
    except NotMade:
        raise
    except UserError as error:
        raise UserError(
            f"{path}: no such folder here, and the embedded model of that name cannot be prepared: {error}; "
            f"`burnish model {first}` tries again, also from a file that you have"
        ) from None
    return inside if inside.exists() else given
