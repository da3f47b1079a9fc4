"""Code that a user lends: where it is looked for, what it was when a run began, and where in it an error came from.

A recipe lends code by ``module:OBJECT``. Lent is the file of that module and every module of the same folder that it
imports, in turn. Knows no method and no run.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import sha256
from burnish.core.hardware import git_revision

REFERENCE = re.compile(r"(?:\w+:)?([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*(?:\.\w+)*")
"""``module:OBJECT``, also behind a word of a setting's own (``policy:module:function``)."""
HOUSE = "burnish"  # whose own code is told by its version and revision
_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib"))


@dataclass(frozen=True)
class LentFile:
    """A file of the user's code.

    Attributes:
        file: absolute.
        sha256: of its bytes, as hexadecimal digits.
    """

    file: Path
    sha256: str


@dataclass(frozen=True)
class LentCode:
    """The code that a recipe lends.

    Attributes:
        files: by the name of the module.
        folders: where the modules were found: what has to be on the path to find them again.
    """

    files: Mapping[str, LentFile] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    def record(self) -> dict[str, Any]:
        """As ``run.json`` keeps it: files with hashes, and the git revision of each folder's repository, if it has."""
        files = {name: {"file": str(lent.file), "sha256": lent.sha256} for name, lent in self.files.items()}
        return {"files": files, "git_revisions": {str(folder): git_revision(folder) for folder in self.folders}}


def lent_code(settings: Any) -> LentCode:
    """The code that settings lend.

    Args:
        settings: texts, in mappings and lists at any depth; each that reads ``module:OBJECT`` lends that module, and a
            ``method`` that an installed package brings lends its manifest's. The house's own modules and Python's are
            left out; of a module among the installed packages only its own file counts: their versions say the rest.
    """
    files: dict[str, LentFile] = {}
    folders: list[Path] = []
    for module in dict.fromkeys(_modules_named(settings)):
        found = _origin(module)
        if found is None:
            continue
        file, folder = found
        if any(file.is_relative_to(library) for library in _LIBRARIES):
            files[module] = LentFile(file, sha256(file))
            continue
        if folder not in folders:
            folders.append(folder)
        _follow(module, folder, files)
    return LentCode(dict(sorted(files.items())), tuple(folders))


def look_in(folders: Iterable[Path]) -> None:
    """Let modules be found in the working directory, and after it in ``folders``."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    first = min(sys.path.index(place) for place in (here, "") if place in sys.path)
    for place in reversed([str(folder.resolve()) for folder in folders]):
        if place != here:  # a recipe of another folder may have come in between: the last one asked for goes first
            sys.path[:] = [*sys.path[: first + 1], place, *(each for each in sys.path[first + 1 :] if each != place)]


def refuse_namesake(module: str, setting: str) -> None:
    """Refuse a module that was imported from elsewhere before: the code that runs would not be the file that is meant.

    Raises:
        UserError: names both files.
    """
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded is None or module == "__main__":
        return
    stem = Path(*module.split("."))
    files = (
        Path(place or ".") / each for place in sys.path for each in (stem / "__init__.py", stem.with_suffix(".py"))
    )
    here = next((file for file in files if file.is_file()), None)
    if here is not None and Path(loaded).exists() and not here.samefile(loaded):
        raise UserError(f"{setting}: `{module}` was imported from {loaded}, not from {here}; rename one of the two")


_IMPORTED: dict[str, tuple[object, str]] = {}
"""Lent modules that this process has run: the spec that they were loaded by, and the hash of their file then."""


def refuse_stale(code: LentCode) -> None:
    """Refuse code that was edited after this process imported it: a notebook would run what it was, not what it is.

    ``importlib.reload`` makes it new. What was imported before its first run is taken to be as its file is then.

    Raises:
        UserError: names the file.
    """
    for name, lent in code.files.items():
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if spec is None:
            continue
        loaded_by, digest = _IMPORTED.get(name, (None, ""))
        if loaded_by is not spec:
            _IMPORTED[name] = (spec, lent.sha256)
        elif digest != lent.sha256:
            raise UserError(
                f"{lent.file}: has changed since this Python imported it, and what it was would run; "
                "restart Python, or `importlib.reload` it and what imports it"
            )


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """What differs between two records of lent code: module, file, and the hash before and now.

    A file that moved and kept its content is the same code. A hash is none where there was, or is, no such module.
    """
    old, new = before.get("files", {}), now.get("files", {})
    found = []
    for name in sorted({**old, **new}):
        was, is_now = (each.get(name, {}).get("sha256") for each in (old, new))
        if was != is_now:
            file = (new.get(name) or old[name])["file"]
            found.append({"module": name, "file": file, "before": was, "now": is_now})
    return found


def changes_in_words(found: Sequence[Mapping[str, str | None]]) -> str:
    """``changes`` for a message: ``/home/me/distil.py: SHA-256 0a1b2c3d4e5f, now 99aabbccddee``."""

    def said(change: Mapping[str, str | None]) -> str:
        before, now = change["before"], change["now"]
        if before is None:
            return f"{change['file']}: new"
        return (
            f"{change['file']}: SHA-256 {before[:12]}, now {now[:12]}" if now else f"{change['file']}: no longer used"
        )

    more = f", and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(map(said, found[:3])) + more


@contextmanager
def theirs(code: LentCode, part: str, owner: str | None = None) -> Iterator[None]:
    """Say an exception that comes out of lent code as the user's: file, line, what it was.

    Args:
        code: what is lent.
        part: what was being done, for the message: ``method``, ``report``.
        owner: whose the part is as a whole, if the user's: then an exception without a known line is theirs too.

    Raises:
        UserError: instead of the exception. One of the house's own errors, and one that did not come through lent code,
            goes on as it is.
    """
    try:
        yield
    except BurnishError:
        raise
    except SystemExit as error:  # it would end the command without a word
        where = line_in(error, code)
        if where is None:
            raise
        raise UserError(f"{where}: SystemExit: {error} (in your {part}); raise an error that says why") from error
    except Exception as error:
        where = line_in(error, code) or owner
        if where is None:
            raise
        raise UserError(f"{where}: {type(error).__name__}: {error} (in your {part})") from error


def line_in(error: BaseException, code: LentCode) -> str | None:
    """The last line of lent code that an exception came through, ``FILE:LINE``; also one raised in a worker process."""
    files = {str(lent.file) for lent in code.files.values()}
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    # An executor's worker sends its traceback as text, as the cause.
    told = re.findall(r'File "([^"]+)", line (\d+)', str(error.__cause__ or ""))
    own = [(file, line) for file, line in [*lines, *told] if file in files or str(Path(file).resolve()) in files]
    return f"{own[-1][0]}:{own[-1][1]}" if own else None


def _modules_named(settings: Any) -> Iterator[str]:
    if isinstance(settings, str):
        match = REFERENCE.fullmatch(settings)
        if match:
            yield match[1]
    elif isinstance(settings, Mapping):
        for name, value in settings.items():
            if name == "method" and isinstance(value, str):
                yield from _of_a_method(value.removeprefix("study:"))
            else:
                yield from _modules_named(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _modules_named(value)


def _of_a_method(method: str) -> Iterator[str]:
    """The module of the user's own, or the one that an installed package's entry point names."""
    if ":" in method:
        yield method.partition(":")[0]
    else:
        for point in importlib.metadata.entry_points(group=f"{HOUSE}.methods", name=method):
            yield point.module


def _origin(module: str) -> tuple[Path, Path] | None:
    """The source file of a module and the folder that its first name lies in; nothing is imported."""
    first, *rest = module.split(".")
    if first == HOUSE or first in sys.stdlib_module_names:
        return None
    if first == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        return None if file is None else (Path(file).resolve(), Path(file).resolve().parent)
    look_in(())
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    folder = Path(places[0]).parent if places else Path(spec.origin or "").parent
    for depth, _ in enumerate(rest, 2):
        spec = importlib.machinery.PathFinder.find_spec(".".join(module.split(".")[:depth]), places)
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin).resolve(), folder.resolve()


def _follow(module: str, folder: Path, files: dict[str, LentFile]) -> None:
    """Add a module, the packages around it, and what these import from the same folder."""
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _inside(name, folder)
        if file is None or name in files or name.partition(".")[0] == HOUSE:
            continue
        files[name] = LentFile(file, sha256(file))
        parts = name.split(".")
        waiting += [".".join(parts[:depth]) for depth in range(1, len(parts))]
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue  # whoever imports it says so
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        waiting += _imported(tree, package)


def _inside(module: str, folder: Path) -> Path | None:
    if module == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        return None if file is None else Path(file).resolve()
    stem = folder.joinpath(*module.split("."))
    return next((file for file in (stem / "__init__.py", stem.with_suffix(".py")) if file.is_file()), None)


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Modules that a file may import: by statement, anywhere in it, or as ``"module:object"`` in a text of its."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            match = REFERENCE.fullmatch(node.value)
            if match:
                yield match[1]
