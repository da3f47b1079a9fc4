"""SEAL's objects as bytes and back. SEAL writes and reads files only: here they are files that never touch a disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack

from burnish.core.errors import UserError
from burnish.private.encryption.parameters import Parameters


@contextmanager
def _file() -> Iterator[tuple[int, str]]:
    """A handle and a path. In memory where the system can; else a file that only the user may read, removed after."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("seal")
        try:
            yield handle, f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
    else:
        with tempfile.NamedTemporaryFile() as file:
            yield file.fileno(), file.name


def to_bytes(thing: Any) -> bytes:
    """What SEAL writes of a key or ciphertext."""
    with _file() as (_, path):
        thing.save(path)
        with open(path, "rb") as file:
            return file.read()


def into(thing: Any, context: Any, data: bytes, what: str) -> Any:
    """Fill an empty object from bytes; SEAL checks them against the context before it uses them.

    Raises:
        UserError: not such an object of this context; `what` names it.
    """
    with _file() as (handle, path):
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        try:
            thing.load(context, path)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise UserError(f"{what}: SEAL refuses it: {error}; made for other parameters, or damaged") from None
    return thing


def pack(parts: dict[str, Any]) -> bytes:
    """Named parts in one stream."""
    return bytes(msgpack.packb(parts))


def pack_secret(parameters: Parameters, key: bytes) -> bytes:
    """A secret key as its library writes it, with what it is for."""
    return pack({"parameters": parameters.to_json(), "secret": key})


def unpack_secret(data: bytes) -> tuple[Parameters, bytes]:
    """What :func:`pack_secret` was given.

    Raises:
        UserError: something else, or parameters that are refused.
    """
    found = unpack(data, {"parameters", "secret"}, "secret key")
    if not isinstance(found["secret"], bytes):
        raise UserError("secret key: not what this version writes; make it again")
    return Parameters.from_json(str(found["parameters"])), found["secret"]


def unpack(data: bytes, names: set[str], what: str) -> dict[str, Any]:
    """The parts of a stream that :func:`pack` made.

    Raises:
        UserError: something else.
    """
    try:
        found = msgpack.unpackb(data)
    except Exception as error:  # noqa: BLE001 - msgpack has no one error for a stranger's bytes
        raise UserError(f"{what}: cannot be read: {type(error).__name__}") from None
    if not isinstance(found, dict) or set(found) != names:
        raise UserError(f"{what}: not what this version writes; make it again")
    return found
