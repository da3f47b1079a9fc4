"""Registered evaluation keys on the server's disk: whole or absent, whatever happens to the process.

A client is a folder: `keys` as it sent them, and `client.json` with the hash of the token that it shows and the time
until which they are kept. Nothing in it is secret of the client's: evaluation keys are public ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from burnish.core.errors import UserError
from burnish.core.files import explained, folder_atomic, read_json, remove, stale
from burnish.private.service.sessions import Refused

FORMAT = 2


@dataclass(frozen=True)
class Registration:
    """What a client keeps, to be known again.

    Attributes:
        client: its name with the server.
        token: what it shows to open a session; the server keeps only its hash.
    """

    client: str
    token: str


class KeyStore:
    """Keys by client.

    Args:
        folder: made if it is not there; what a killed process left half-written is removed.
        circuit: digest of what the keys are for; clients of another circuit are not known any more.
        most: clients at once.
        seconds: that keys are kept.
        clock: seconds since the epoch: what is kept on the disk outlives a process, and its clock.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, circuit: str, most: int, seconds: float = 86_400, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._circuit, self._most = folder, circuit, most
        self._seconds, self._clock = seconds, clock
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for rest in stale(folder):
                remove(rest)

    def clients(self) -> list[str]:
        """Who is registered for this circuit."""
        return sorted(path.name for path in self._folder.iterdir() if self._told(path.name) is not None)

    @contextlib.contextmanager
    def receive(self) -> Iterator[Incoming]:
        """Keys that come piece by piece; they are kept when the block ends without an error.

        Raises:
            UserError: no more clients are taken.
            BurnishError: the disk is full.
        """
        if len(self.clients()) >= self._most:
            raise UserError(f"keys: this server keeps those of {self._most} clients, and has as many; ask its owner")
        registration = Registration(secrets.token_hex(16), secrets.token_hex(16))
        with folder_atomic(self._folder / registration.client) as work:
            with (work / "keys").open("wb") as file:
                yield Incoming(registration, work / "keys", file)
            told = {
                "format": FORMAT,
                "circuit": self._circuit,
                "token": _hashed(registration.token),
                "until": self._clock() + self._seconds,
            }
            (work / "client.json").write_text(json.dumps(told), encoding="utf-8")

    def keys(self, client: str) -> Path:
        """Where a client's keys are.

        Raises:
            Refused: not registered, or not any more.
        """
        if self._told(client) is None:
            raise Refused("client: not registered here for this circuit, or not any more; send the keys again", 401)
        return self.path(client)

    def expired(self) -> list[str]:
        """Remove the keys whose time is over, of any circuit; whose they were."""
        over = [path.name for path in self._folder.iterdir() if self._over(path.name)]
        for client in over:
            self._remove(client)
        return over

    def path(self, client: str) -> Path:
        """Where the keys of a client are or were."""
        return self._folder / client / "keys"

    def knows(self, registration: Registration) -> bool:
        """Whether it is a registered client with its token; compared in a time that tells nothing."""
        told = self._told(registration.client)
        known = str(told["token"]) if told is not None else _hashed("")
        return hmac.compare_digest(known, _hashed(registration.token)) and told is not None

    def forget(self, client: str) -> None:
        """Remove a client's keys."""
        if self._told(client) is not None:
            self._remove(client)

    def _remove(self, client: str) -> None:
        # Under another name first: a process that is killed here leaves rubbish, not half a client.
        aside = self._folder / f".{client}.{secrets.token_hex(4)}"
        with explained(aside):
            try:
                (self._folder / client).rename(aside)
            except FileNotFoundError:  # somebody else was faster
                return
            shutil.rmtree(aside)

    def _told(self, client: str) -> dict[str, object] | None:
        """Of a client whose keys are for this circuit and whose time is not over."""
        told = self._read(client)
        return None if told is None or told.get("circuit") != self._circuit or self._over(client) else told

    def _over(self, client: str) -> bool:
        told = self._read(client)
        return told is not None and not float(str(told.get("until", 0))) > self._clock()

    def _read(self, client: str) -> dict[str, object] | None:
        if not re.fullmatch(r"[0-9a-f]{32}", client):
            return None
        told = read_json(self._folder / client / "client.json")
        return told if isinstance(told, dict) and told.get("format") == FORMAT else None


class Incoming:
    """A registration that is being made.

    Attributes:
        registration: what the client will be told.
        path: the keys so far.
        size: their bytes.
    """

    def __init__(self, registration: Registration, path: Path, file: BinaryIO) -> None:
        self.registration, self.path, self.size = registration, path, 0
        self._file = file

    def add(self, piece: bytes) -> None:
        """The next piece.

        Raises:
            OSError: the disk is full; the store's block turns it into one line.
        """
        self._file.write(piece)
        self.size += len(piece)

    def end(self) -> Path:
        """All of it is there and can be read.

        Raises:
            OSError: the disk is full.
        """
        self._file.flush()
        return self.path


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
