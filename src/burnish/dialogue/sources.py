"""Rows of a data set one at a time, each with its place: JSON Lines, Parquet, hub ids, a function of the user's own.

Knows files and the `datasets` library, nothing of what a row means. Nothing larger than a line or a row group is held.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError, raised
from burnish.core.method import import_object
from burnish.core.models import offline
from burnish.core.packages import Need, not_installed
from burnish.dialogue.rows import Question

Row = Mapping[str, Any] | Question | str
"""A row, a finished question, or, as a text, what is wrong with it."""

SUFFIXES = (".jsonl", ".parquet")


def rows(source: str, split: str, config: str | None = None) -> Iterator[tuple[str, Row]]:
    """``(place, row)`` of every row, in order.

    Args:
        source: a file (.jsonl, .parquet), a folder of them, a hub id, or ``module:function``.
        split: which split of a hub's data set.
        config: which of its configurations.

    Raises:
        UserError: no such source, or one that cannot be read at all.
    """
    try:
        path = Path(source).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"source: {source[:80]}: not a path ({error})") from None
    if is_file:
        yield from _file(path)
    elif is_folder:
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if not files:
            raise UserError(f"source: {source}: no file of questions in it ({', '.join(SUFFIXES)})")
        for file in files:
            yield from _file(file)
    elif ":" in source and "/" not in source:
        yield from _function(source)
    elif source.count("/") == 1 and not source.startswith(("/", ".", "~")) and path.suffix not in SUFFIXES:
        yield from _hub(source, split, config)
    else:
        raise UserError(
            f"source: {source}: no such file or folder (or write a hub id, org/name, or a function of yours, "
            "module:function)"
        )


def _file(path: Path) -> Iterator[tuple[str, Row]]:
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".jsonl":
        yield from _json_lines(path)
    else:
        raise UserError(f"source: {path}: not a file of questions ({', '.join(SUFFIXES)})")


def _json_lines(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{number}", _decoded(line)
    except OSError as error:
        raise UserError(f"source: {path}: {error.strerror}; give a file that can be read") from None


def _decoded(line: bytes) -> Row:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return "not UTF-8 text"
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg} at character {error.pos})"
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; ten thousand brackets
        return f"not JSON that can be read ({type(error).__name__})"
    return row if isinstance(row, dict) else f"not a JSON object but {'a list' if isinstance(row, list) else 'a value'}"


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise not_installed("source: Parquet", Need(("pyarrow",), "post")) from None

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=64):
                for row in batch.to_pylist():
                    yield f"{path}:{number}", row
                    number += 1
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"source: {path}: row {number}: not Parquet that can be read ({_short(error)})") from None


def _function(source: str) -> Iterator[tuple[str, Row]]:
    function = import_object(source, "source")
    if not callable(function):
        raise UserError(f"source: {source} is no function; it must give questions when called")
    try:
        for number, row in enumerate(function()):
            is_row = isinstance(row, Question | Mapping)
            yield f"{source}:{number}", row if is_row else f"a {type(row).__name__}, neither a Question nor a mapping"
    except UserError:
        raise
    except Exception as error:  # the user's own code
        raise UserError(f"source: {source} raised {raised(error)}") from error


def _hub(source: str, split: str, config: str | None) -> Iterator[tuple[str, Row]]:
    try:
        import datasets
    except ModuleNotFoundError:
        raise not_installed(f"source: {source}", Need(("datasets",), "post")) from None
    try:
        found = datasets.load_dataset(source, config, split=split, streaming=True)
    except Exception as error:  # noqa: BLE001 - the library raises its own, the hub's and requests' errors
        raise UserError(
            f"source: {source}: no such file here, and the hub's data set (split `{split}`) cannot be opened "
            f"({offline() or _short(error)})"
        ) from None
    # Pictures stay encoded until one is looked at; a broken one is then a bad row and not the stream's end.
    for name, feature in (found.features or {}).items():
        if isinstance(feature, datasets.Image):
            found = found.cast_column(name, datasets.Image(decode=False))
        elif isinstance(getattr(feature, "feature", None), datasets.Image):
            found = found.cast_column(name, type(feature)(datasets.Image(decode=False)))
    number = 0
    try:
        for number, row in enumerate(found):
            yield f"{source}[{split}]:{number}", row
    except Exception as error:  # noqa: BLE001 - as above
        raise UserError(f"source: {source}: reading stopped after row {number} ({_short(error)})") from None


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
