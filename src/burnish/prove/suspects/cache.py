"""Answers on disk: paid for once, durable before they are used, whole or absent. Knows bytes, not models.

One file a suspect and question, one line an answer: ``SHA-256 of the image, the numbers in base64, a checksum``. Lines
are only ever appended, and fsynced before they count. A process killed at any byte leaves at most a torn last line,
which the next one cuts off; a damaged line anywhere else is ignored, so its image is asked again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from filelock import FileLock, Timeout

from burnish.core.errors import UserError
from burnish.core.files import explained, fsync_folder


@runtime_checkable
class Store(Protocol):
    """Answers by the digest of their image."""

    def __contains__(self, digest: bytes) -> bool: ...

    def __len__(self) -> int: ...

    @property
    def width(self) -> int | None:
        """Numbers of an answer; none while there is no answer."""
        ...

    def get(self, digest: bytes) -> np.ndarray:
        """The answer: its numbers as a vector."""
        ...

    def add(self, answers: Mapping[bytes, np.ndarray]) -> None:
        """Keep answers; durable when it returns."""
        ...

    def close(self) -> None:
        """Let others have it."""
        ...


class MemoryStore:
    """Answers that last as long as the process."""

    def __init__(self) -> None:
        self._answers: dict[bytes, np.ndarray] = {}

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._answers

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def width(self) -> int | None:
        """Numbers of an answer; none while there is no answer."""
        return next((answer.size for answer in self._answers.values()), None)

    def get(self, digest: bytes) -> np.ndarray:
        """The answer: its numbers as a vector."""
        return self._answers[digest]

    def add(self, answers: Mapping[bytes, np.ndarray]) -> None:
        """Keep answers."""
        self._answers.update(answers)

    def close(self) -> None:
        """Nothing is held."""


class FileStore:
    """Answers in one append-only file below ``folder``, owned by one process at a time.

    Args:
        folder: the cache; made if absent.
        question: all that an answer depends on besides the image; names the file, and is part of every checksum.
        dtype: of the numbers, little-endian.

    Raises:
        UserError: another process holds the file, or the folder cannot be written.
        BurnishError: the disk is full.
    """

    def __init__(self, folder: Path, question: Mapping[str, str], dtype: str) -> None:
        text = json.dumps(dict(question), sort_keys=True)
        self._key = hashlib.sha256(text.encode()).digest()
        self._dtype = dtype
        self.path = folder / f"{self._key.hex()[:32]}.answers"
        self._places: dict[bytes, tuple[int, int]] = {}
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path.with_suffix(".lock"))
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise UserError(
                    f"{self.path}: another process is asking this suspect the same; wait for it, its answers are shared"
                ) from None
            try:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                self._size = self._read()
                if not self._size:
                    self._append(b"# burnish answers " + text.encode() + b"\n")
                    fsync_folder(folder)
            except BaseException:
                self._lock.release()
                raise

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def width(self) -> int | None:
        """Numbers of an answer; none while there is no answer."""
        return next((self.get(digest).size for digest in self._places), None)

    def get(self, digest: bytes) -> np.ndarray:
        """The answer: its numbers as a vector."""
        place, length = self._places[digest]
        parsed = self._parse(os.pread(self._file, length, place))
        if parsed is None:
            raise UserError(f"{self.path}: changed while it was in use; run the same command again")
        return parsed[1]

    def add(self, answers: Mapping[bytes, np.ndarray]) -> None:
        """Append answers in one write and fsync it: durable when it returns.

        Raises:
            BurnishError: the disk is full; the file is as it was before.
        """
        lines = [self._line(digest, numbers) for digest, numbers in answers.items()]
        with explained(self.path):
            place = self._append(b"".join(lines))
        for digest, line in zip(answers, lines, strict=True):
            self._places[digest] = (place, len(line))
            place += len(line)

    def close(self) -> None:
        """Let another process have the file."""
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> FileStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _append(self, data: bytes) -> int:
        start = self._size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, start)
            raise
        self._size += len(data)
        return start

    def _read(self) -> int:
        """Find every whole line, cut off a torn last one; the size that is left."""
        place = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._file, place)
                    break
                parsed = self._parse(line)
                if parsed is not None:
                    self._places[parsed[0]] = (place, len(line))
                place += len(line)
        return place

    def _line(self, digest: bytes, numbers: np.ndarray) -> bytes:
        payload = base64.b64encode(np.ascontiguousarray(numbers, self._dtype).tobytes())
        body = digest.hex().encode() + b" " + payload
        return body + b" " + self._checksum(body) + b"\n"

    def _parse(self, line: bytes) -> tuple[bytes, np.ndarray] | None:
        parts = line.removesuffix(b"\n").split(b" ")
        if len(parts) != 3 or self._checksum(b" ".join(parts[:2])) != parts[2]:
            return None
        try:
            numbers = np.frombuffer(base64.b64decode(parts[1], validate=True), self._dtype)
            return bytes.fromhex(parts[0].decode()), numbers
        except (ValueError, binascii.Error):
            return None

    def _checksum(self, body: bytes) -> bytes:
        # Keyed by the question: a line that strays in from another suspect's file does not count.
        return hashlib.blake2b(body, key=self._key, digest_size=16).hexdigest().encode()


def open_store(cache: Path | None, question: Mapping[str, str], dtype: str) -> Store:
    """The store of one suspect and question: on disk below ``cache``, in memory without one."""
    return MemoryStore() if cache is None else FileStore(cache, question, dtype)


def stacked(store: Store, digests: Sequence[bytes]) -> np.ndarray:
    """The answers to ``digests``, in order, one row each."""
    return np.stack([store.get(digest) for digest in digests])
