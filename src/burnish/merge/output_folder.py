"""The output folder: one process at a time writes there, and it appears whole. Knows names, no models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from burnish.core.errors import UserError
from burnish.core.files import fsync_folder


def resolved(out: Path) -> Path:
    """The folder itself where `out` is a link to it: a rename would replace the link.

    Raises:
        UserError: a mount point, which no rename can replace.
    """
    out = out.expanduser().resolve()
    if os.path.ismount(out):
        raise UserError(
            f"{out}: is a mount point, which cannot be replaced as a whole; give the name of a folder in it"
        )
    return out


def work_folder(out: Path) -> Path:
    """Where the result grows."""
    return out.parent / f".{out.name}.merging"


@contextmanager
def owned(out: Path) -> Iterator[None]:
    """Hold the lock beside `out` (`.OUT.lock`; the owner's process id is in `.OUT.owner`). Both are gone afterwards.

    Raises:
        UserError: another process holds it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    path, owner = (out.parent / f".{out.name}.{kind}" for kind in ("lock", "owner"))
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not path.exists():
                continue  # the owner before removed the file between our opening it and our locking it
            pid = owner.read_text().strip() if owner.exists() else "of unknown number"
            raise UserError(
                f"{out}: another process ({pid}) is merging there; wait for it, or give another folder"
            ) from None
    try:
        owner.write_text(str(os.getpid()))
        yield
    finally:
        owner.unlink(missing_ok=True)
        with suppress(OSError):  # Windows keeps a file that is open
            path.unlink()
        lock.release()


def recover(out: Path) -> None:
    """Undo a replacement that was killed between its two renames, or finish one that was killed after them."""
    old = _replaced(out)
    if old.exists():
        if out.exists():
            shutil.rmtree(old)
        else:
            os.rename(old, out)


def publish(work: Path, out: Path) -> None:
    """The folder takes its final name once every byte of it is on the disk.

    Raises:
        OSError: the disk is full or fails; the file that it did not take is removed.
    """
    for path in sorted(work.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                try:
                    os.fsync(file.fileno())
                except OSError:
                    # The system tells an error once; the next try would find all well with what it read from memory.
                    path.unlink(missing_ok=True)
                    raise
        else:
            fsync_folder(path)
    fsync_folder(work)
    if out.exists():
        os.rename(out, _replaced(out))
        os.rename(work, out)
        shutil.rmtree(_replaced(out))
    else:
        os.rename(work, out)
    fsync_folder(out.parent)


def write_json(path: Path, data: Any) -> None:
    """A file of the folder while it grows: indented JSON."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _replaced(out: Path) -> Path:
    return out.parent / f".{out.name}.replaced"
