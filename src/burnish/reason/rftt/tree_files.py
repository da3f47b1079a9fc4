"""Trees on disk: one JSON line a tree after a line that says how many, what they cost and what the rest hashes to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import write_atomic
from burnish.reason.rftt.generators.protocol import TokenCounts
from burnish.reason.rftt.tree import Tree, tree_from_json


class Damaged(BurnishError):
    """A file of trees that is not what was written."""


def write_trees(file: Path, trees: Sequence[Tree], counts: TokenCounts) -> None:
    """Replace a file of trees; a reader sees the old one or the new one.

    Args:
        file: its name, ``.jsonl``.
        trees: finished or not.
        counts: tokens that they took so far.

    Raises:
        BurnishError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    body = "".join(json.dumps(tree.to_json()) + "\n" for tree in trees)
    head = {"trees": len(trees), "counts": asdict(counts), "sha256": hashlib.sha256(body.encode()).hexdigest()}
    write_atomic(file, json.dumps(head) + "\n" + body)


def read_trees(file: Path) -> tuple[list[Tree], TokenCounts]:
    """The trees of a file and the tokens they took.

    Raises:
        UserError: there is no such file, or it cannot be opened.
        Damaged: it is not what :func:`write_trees` wrote.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}; give a file of trees that a search wrote") from None
    first, _, body = content.partition(b"\n")
    try:
        head = json.loads(first)
        if head["sha256"] != hashlib.sha256(body).hexdigest():
            raise Damaged(f"{file}: damaged, its lines are not those that were written; remove it to search again")
        trees = [tree_from_json(json.loads(line)) for line in body.splitlines()]
        return trees, TokenCounts(**head["counts"])
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{file}: not a file of trees ({type(error).__name__}); remove it to search again") from None


def read_folder(folder: Path) -> tuple[list[Tree], TokenCounts]:
    """All trees below a folder that a search saved to, in the order of its questions, and what they cost.

    Raises:
        UserError: there are none.
        Damaged: one file is not what was written.
    """
    files = sorted(folder.glob("trees-*.jsonl"))
    if not files:
        raise UserError(f"{folder}: holds no trees; give the folder that a search saved to")
    trees: list[Tree] = []
    counts = TokenCounts()
    for file in files:
        found, cost = read_trees(file)
        trees += found
        counts += cost
    return trees, counts
