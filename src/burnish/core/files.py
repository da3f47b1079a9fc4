"""Files that are whole or absent. Knows bytes and folders, nothing of what they mean."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from burnish.core.errors import BurnishError, UserError

MANIFEST = "manifest.json"


def write_atomic(path: Path, data: bytes | str) -> Path:
    """Write a file under a temporary name, fsync, rename: readers see the old file or the new one, never half.

    Raises:
        BurnishError: the disk is full or the folder cannot be written.
    """
    data = data.encode() if isinstance(data, str) else data
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    fsync_folder(path.parent)
    return path


@contextmanager
def folder_atomic(final: Path) -> Iterator[Path]:
    """A folder that appears under its final name only when everything in it is written and fsynced.

    Yields a temporary sibling to write into. An existing folder of the final name is replaced.

    Raises:
        BurnishError: the disk is full or the parent cannot be written.
    """
    with explained(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
        try:
            yield work
            for path in sorted(work.rglob("*")):
                if path.is_file():
                    path.chmod(0o644)  # libraries that write through a private temporary file leave 0600
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
            os.chmod(work, 0o755)
            if final.exists():
                shutil.rmtree(final)
            os.replace(work, final)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    fsync_folder(final.parent)


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
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(f"{path}: {error.strerror}; choose a folder you may write to with --out") from error
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
    files = read_json(folder / MANIFEST)
    if not isinstance(files, dict) or not isinstance(files.get("files"), dict):
        return f"{MANIFEST} is missing or unreadable"
    for name, entry in files["files"].items():
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
    except (OSError, ValueError):
        return None
