"""Where did a suspect model's training data come from? Two verifiers, calibrated evidence, no access beyond answers.

``burnish.prove.commit`` before an audit, ``burnish run`` for the audit, ``burnish.prove.verify`` after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["commit", "verify"]


def commit(recipe: str | Path, out: str | Path = "commitment.json", overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Fix pictures, settings and seed of an audit before it starts, without showing them.

    Examples:
        >>> sorted(commit("dov4cl/tiny", "commitment.json"))
        ['commitment', 'counts', 'method', 'root', 'secret', 'time']

    Have the small file time-stamped or publish it; keep the secret one, and name the small one in the recipe
    (``commitment: commitment.json``): the audit checks itself against it before it asks anything.

    Args:
        recipe: a recipe's file, or the name of a shipped one.
        out: the small file.
        overrides: ``key=value`` settings.

    Returns:
        Plain data: ``commitment`` and ``secret`` (paths), ``root`` (hex), ``method``, ``counts`` and ``time``.

    Raises:
        UserError: a recipe, pictures or models that cannot be read, or a file of that name.
    """
    from burnish.core.method import load_recipe
    from burnish.prove.evidence.commitment import read_commitment, secret_of, write_commitment

    path = write_commitment(load_recipe(recipe, overrides)[1], Path(out))
    found = read_commitment(path)
    shown = {key: found[key] for key in ("root", "method", "counts", "time")}
    return {"commitment": str(path), "secret": str(secret_of(path)), **shown}


def verify(folder: str | Path, commitment: str | Path | None = None) -> dict[str, Any]:
    """Check an evidence folder: hashes, commitment, and every statistic computed again from the stored answers.

    Examples:
        >>> found = verify("evidence")
        >>> found["ok"], found["problems"]
        (True, [])

    Args:
        folder: the evidence.
        commitment: the small file as it was published before the audit, to compare with the folder's.

    Returns:
        Plain data: ``ok``; ``problems``, one line each, the file that was tampered with first; ``notes``; ``seal``, the
        hash to compare with the one noted after the audit; ``root`` of the commitment.

    Raises:
        UserError: no such folder, or ``commitment`` cannot be read.
    """
    import dataclasses

    from burnish.prove.evidence.verification import verify as check

    return dataclasses.asdict(check(folder, commitment))
