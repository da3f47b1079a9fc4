"""What goes over the wire: a fixed beginning, a small msgpack header, and the streams of the encryption library.

    bytes 0-3   BPRV
    bytes 4-5   version of this format, big-endian
    bytes 6-9   length of the header, big-endian
    header      msgpack map: kind, parameters (digest), circuit (digest), session, nonce, streams (their lengths)
    streams     one after the other, to the last byte

Every length is checked against a bound before anything is read or made by it. A message is refused whole, or is whole.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from burnish.core.errors import UserError

MAGIC = b"BPRV"
VERSION = 1
BEGINNING = 10
LONGEST_HEADER = 4096
MOST_STREAMS = 64
MEDIA_TYPE = "application/x-burnish-private"

Kind = Literal["keys", "question", "answer"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Token = Annotated[str, Field(pattern=r"^(|[0-9a-f]{32})$")]


class WireError(UserError):
    """A message that is refused, with the HTTP status that says why.

    Args:
        message: one line.
        status: 400 malformed, 409 replayed, 413 too large, 422 of other parameters or another circuit, 426 of another
            version.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[WireError], tuple[str, int]]:
        return type(self), (str(self), self.status)


class Header(BaseModel):
    """What a message says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    kind: Kind
    parameters: Digest
    """Of the encryption's parameters."""
    circuit: Digest
    """Of the service's circuit: parameters, packing, resolution."""
    session: Token = ""
    """Empty while there is none."""
    nonce: Token = ""
    """Of a question, and of the answer to it; used once."""
    streams: list[Annotated[int, Field(ge=0)]] = Field(max_length=MOST_STREAMS)
    """Bytes of each."""


@dataclass(frozen=True)
class Message:
    """A header and its streams.

    Attributes:
        header: whose lengths are those of the streams.
        streams: as the encryption library wrote them.
    """

    header: Header
    streams: tuple[bytes, ...]


def new_nonce() -> str:
    """32 hexadecimal digits that nobody can guess."""
    return secrets.token_hex(16)


def write(
    kind: Kind, parameters: str, circuit: str, streams: Sequence[bytes], *, session: str = "", nonce: str = ""
) -> bytes:
    """A message as bytes."""
    return b"".join([beginning(kind, parameters, circuit, map(len, streams), session=session, nonce=nonce), *streams])


def beginning(
    kind: Kind, parameters: str, circuit: str, lengths: Iterable[int], *, session: str = "", nonce: str = ""
) -> bytes:
    """What comes before the streams; for streams that are too long to be held in memory with it."""
    import msgpack

    header = Header(
        kind=kind,
        parameters=parameters,
        circuit=circuit,
        session=session,
        nonce=nonce,
        streams=list(lengths),
    )
    packed = bytes(msgpack.packb(header.model_dump()))
    return MAGIC + VERSION.to_bytes(2, "big") + len(packed).to_bytes(4, "big") + packed


def header_length(data: bytes) -> int:
    """How long the header is, from the first bytes.

    Raises:
        WireError: no message of ours, or of another version.
    """
    if len(data) < BEGINNING:
        raise WireError(f"message: {len(data)} bytes are too few to be one")
    if data[:4] != MAGIC:
        raise WireError("message: not one of this service")
    version = int.from_bytes(data[4:6], "big")
    if version != VERSION:
        raise WireError(f"message: version {version}; this service speaks {VERSION}; update the older side", 426)
    length = int.from_bytes(data[6:10], "big")
    if not 0 < length <= LONGEST_HEADER:
        raise WireError(f"message: a header of {length:,} bytes; at most {LONGEST_HEADER:,}")
    return length


def read_header(data: bytes, most: int) -> tuple[Header, int]:
    """The header, and where the streams begin.

    Args:
        data: the message's first bytes; all of the header at least.
        most: bytes that the streams may have together.

    Raises:
        WireError: see :class:`WireError`.
    """
    import msgpack

    end = BEGINNING + header_length(data)
    if len(data) < end:
        raise WireError("message: ends inside its header")
    try:
        found = msgpack.unpackb(
            data[BEGINNING:end],
            max_str_len=64,
            max_bin_len=0,
            max_array_len=MOST_STREAMS,
            max_map_len=len(Header.model_fields),
            max_ext_len=0,
        )
        header = Header.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "header"
        raise WireError(f"message: {where}: {first['msg'].lower()}") from None
    except Exception as error:  # noqa: BLE001 - msgpack raises ValueError, its own errors and more on a stranger's bytes
        raise WireError(f"message: the header cannot be read ({type(error).__name__})") from None
    if sum(header.streams) > most:
        raise WireError(f"message: {sum(header.streams):,} bytes of streams; at most {most:,}", 413)
    return header, end


def read(data: bytes, most: int) -> Message:
    """A whole message.

    Raises:
        WireError: see :class:`WireError`; also when bytes are missing or left over.
    """
    header, start = read_header(data, most)
    if len(data) - start != sum(header.streams):
        raise WireError(f"message: {len(data) - start:,} bytes of streams; its header says {sum(header.streams):,}")
    streams = []
    for length in header.streams:
        streams.append(data[start : start + length])
        start += length
    return Message(header, tuple(streams))


def padded(stream: bytes, size: int) -> bytes:
    """A stream with its length before it and zeros behind it: all are of one size, however well each was compressed.

    Raises:
        ValueError: longer than that.
    """
    if len(stream) + 4 > size:
        raise ValueError(f"{len(stream)} bytes do not fit into {size}")
    return (len(stream).to_bytes(4, "big") + stream).ljust(size, b"\0")


def unpadded(data: bytes) -> bytes:
    """What :func:`padded` was given.

    Raises:
        WireError: its length is not within it.
    """
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 or length > len(data) - 4:
        raise WireError("message: a padded stream that is shorter than it says")
    return data[4 : 4 + length]


def expect(header: Header, kind: Kind, parameters: str, circuit: str) -> None:
    """Refuse what is meant for something else.

    Raises:
        WireError: another kind, other parameters or another circuit.
    """
    if header.kind != kind:
        raise WireError(f"message: `{header.kind}` where `{kind}` is expected")
    if header.parameters != parameters:
        raise WireError(
            f"parameters: {header.parameters}; this service has {parameters}; make keys for it (keygen)", 422
        )
    if header.circuit != circuit:
        raise WireError(
            f"circuit: {header.circuit}; this service has {circuit} by now; make keys for it again (keygen)", 422
        )
