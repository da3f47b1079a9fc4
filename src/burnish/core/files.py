"""Files that are whole or absent. Knows bytes and folders, nothing of what they mean."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from filelock import FileLock

from burnish.core.errors import BurnishError, UserError
from burnish.core.paths import cache

MANIFEST = "manifest.json"
_MAKING = ContextVar("making", default=True)
T = TypeVar("T")
U = TypeVar("U")


class NotMade(UserError):
    """Something would have to be prepared first, where nothing may be.

    Args:
        parts: what (``model minilm``), and what that takes, in words.
    """

    def __init__(self, *parts: tuple[str, str]) -> None:
        self.parts = parts
        named = " and ".join(what for what, _ in parts)
        commands = " and ".join(f"`burnish {what}`" for what, _ in parts)
        super().__init__(
            f"{named}: not in the cache yet; a run would prepare it first, looking ahead does not: {commands} prepares "
            "it"
        )


def write_atomic(path: Path, data: bytes | str, mode: int = 0o666) -> Path:
    """Write a file under a temporary name, fsync, rename: readers see the old file or the new one, never half.

    Args:
        path: its final name.
        data: its content.
        mode: who may read it, from the first byte on; the umask takes off.

    Raises:
        BurnishError: the disk is full or the folder cannot be written.
    """
    with file_atomic(path, mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)
    return path


@contextmanager
def file_atomic(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """What :func:`write_atomic` does, for content that comes piece by piece. Yields the file to write into.

    Raises:
        BurnishError: the disk is full or the folder cannot be written.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = temporary(path)
        try:
            with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(work, path)
        except BaseException:
            work.unlink(missing_ok=True)
            raise
    fsync_folder(path.parent)


def temporary(path: Path) -> Path:
    """A hidden sibling to write what will become ``path``; :func:`stale` knows it again."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def stale(folder: Path) -> list[Path]:
    """What killed processes left half-written in ``folder``."""
    return [path for path in folder.glob(".*") if re.fullmatch(r"\..+\.[0-9a-f]{8}", path.name)]


def remove(path: Path) -> None:
    """Remove a file, a link (not what it points to) or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def folder_atomic(final: Path) -> Iterator[Path]:
    """A folder that appears under its final name only when everything in it is written and fsynced.

    Yields a temporary sibling to write into. An existing folder of the final name is replaced.

    Raises:
        BurnishError: the disk is full or the parent cannot be written.
    """
    with explained(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        work = temporary(final)
        work.mkdir()
        # The folder's mode tells the user's umask; libraries that write through a private file leave 0600.
        mode = work.stat().st_mode & 0o666
        try:
            yield work
            for path in sorted(work.rglob("*")):
                if path.is_file():
                    path.chmod(mode)
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
            aside = temporary(final)
            if final.exists():
                os.replace(final, aside)
            os.replace(work, final)
            shutil.rmtree(aside, ignore_errors=True)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    fsync_folder(final.parent)


@contextmanager
def nothing_made() -> Iterator[None]:
    """Inside, :func:`make_once` finds what is there, and refuses to make what is not."""
    before = _MAKING.set(False)
    try:
        yield
    finally:
        _MAKING.reset(before)


def told_together(first: Callable[[], T], second: Callable[[], U]) -> tuple[T, U]:
    """Both results; where both would have to be prepared first, and nothing may be, one error says so.

    Raises:
        NotMade: names each that is not in the cache.
    """
    try:
        one = first()
    except NotMade as lacking:
        try:
            second()
        except NotMade as also:
            raise NotMade(*lacking.parts, *also.parts) from None
        raise
    return one, second()


def make_once(final: Path, make: Callable[[Path], object], mark: str = MANIFEST, takes: str = "") -> Path:
    """A folder that one process makes for all, in the cache; what a killed one left half-made is removed first.

    Args:
        final: the folder.
        make: writes into the folder that it is given.
        mark: the file by which a whole folder is known.
        takes: what making it takes, in words.

    Raises:
        NotMade: it is not there, inside of :func:`nothing_made`.
        BurnishError: the disk is full or the parent cannot be written.
    """
    if not (final / mark).exists():
        if not _MAKING.get():
            kind, name = final.parent.name.removesuffix("s"), final.name
            raise NotMade((f"{kind} {name}", takes))
        with explained(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(final.with_name(f".{final.name}.lock"))
            with lock:
                for path in stale(final.parent):
                    if path.name.startswith(f".{final.name}."):
                        remove(path)
                if not (final / mark).exists():
                    with folder_atomic(final) as work:
                        make(work)
    return final


def fsync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an operating-system error about ``path`` into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BurnishError(
                f"{path}: the disk is full; free some space and run the same command again, it goes on where it was"
            ) from error
        if path.is_relative_to(cache()):
            raise UserError(
                f"{path}: {error.strerror or error}; this is in the cache: set BURNISH_CACHE to a folder that you may "
                "write to"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
            raise UserError(f"{path}: {error.strerror}; choose a place that you may write to") from error
        raise BurnishError(f"{path}: {error.strerror or error}") from error


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """Record size and SHA-256 of every file below ``folder`` in its ``manifest.json``."""
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    write_atomic(folder / MANIFEST, json.dumps({"files": files}, indent=1))


def damage(folder: Path) -> str | None:
    """What is wrong with a folder against its manifest, in a few words; ``None`` if it is whole."""
    manifest = read_json(folder / MANIFEST)
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or not files:
        return f"{MANIFEST} is missing or unreadable"
    for name, entry in files.items():
        if not isinstance(entry, dict) or not {"size", "sha256"} <= entry.keys():
            return f"{MANIFEST} is damaged at {name}"
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["size"]:
            return f"{name} has {path.stat().st_size:,} bytes instead of {entry['size']:,}"
        if sha256(path) != entry["sha256"]:
            return f"{name} does not match its SHA-256"
    return None


def read_json(path: Path) -> Any:
    """The JSON in a file, or ``None`` if it is missing or unreadable."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
