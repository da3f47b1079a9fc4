"""The parser of messages: what it writes it reads, and whatever else comes ends in one line and a status."""

from __future__ import annotations

import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.private.service import wire

PARAMETERS, CIRCUIT = "0123456789abcdef", "fedcba9876543210"
MOST = 1 << 16
HEADER = {"kind": "question", "parameters": PARAMETERS, "circuit": CIRCUIT, "session": "", "nonce": "", "streams": [3]}
GOOD = wire.write("question", PARAMETERS, CIRCUIT, [b"abc", b"", b"de"], session="0" * 32, nonce="1" * 32)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["keys", "question", "answer"]) | plain,
        "parameters": st.just(PARAMETERS) | plain,
        "circuit": st.just(CIRCUIT) | plain,
        "session": st.just("a" * 32) | plain,
        "nonce": st.just("b" * 32) | plain,
        "streams": st.lists(st.integers(0, 40), max_size=5)
        | st.lists(st.integers(-(2**63), 2**64 - 1), max_size=70)
        | plain,
        "other": plain,
    },
)


def framed(header: object, streams: bytes, version: int = wire.VERSION) -> bytes:
    packed = msgpack.packb(header)
    return wire.MAGIC + version.to_bytes(2, "big") + len(packed).to_bytes(4, "big") + packed + streams


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "double"]))
        if kind == "flip" and place < len(data):
            data[place] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del data[place:]
        elif kind == "insert":
            data[place:place] = draw(st.binary(max_size=6))
        else:
            data += data[:place]
    return bytes(data)


def parsed(data: bytes) -> None:
    try:
        message = wire.read(data, MOST)
    except wire.WireError as error:
        assert error.status in (400, 413, 426)
        assert "\n" not in str(error)
        return
    # What is accepted says exactly itself.
    again = message.header
    assert sum(map(len, message.streams)) == sum(again.streams) <= MOST
    assert data.endswith(b"".join(message.streams))
    written = wire.write(
        again.kind, again.parameters, again.circuit, message.streams, session=again.session, nonce=again.nonce
    )
    assert wire.read(written, MOST) == message


@settings(max_examples=2000)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: GOOD[:10] + tail))
def test_noise(data: bytes) -> None:
    parsed(data)


@settings(max_examples=1600)
@given(headers, st.binary(max_size=60), st.sampled_from([1, 1, 1, 0, 2, 65535]))
def test_headers_of_all_kinds(header: object, streams: bytes, version: int) -> None:
    parsed(framed(header, streams, version))


@settings(max_examples=1900)
@given(mutated())
def test_a_good_message_that_was_tampered_with(data: bytes) -> None:
    parsed(data)


def test_a_good_message_is_read() -> None:
    message = wire.read(GOOD, MOST)
    assert message.streams == (b"abc", b"", b"de")
    assert (message.header.kind, message.header.session, message.header.nonce) == ("question", "0" * 32, "1" * 32)
    wire.expect(message.header, "question", PARAMETERS, CIRCUIT)


@pytest.mark.parametrize(
    ("data", "said", "status"),
    [
        (b"", "0 bytes are too few", 400),
        (b"HTTP/1.1 200 OK", "not one of this service", 400),
        (framed(HEADER, b"abc", version=2), "version 2; this service speaks 1; update", 426),
        (wire.MAGIC + b"\0\1" + b"\xff" * 4 + b"x", "a header of 4,294,967,295 bytes; at most 4,096", 400),
        (framed(HEADER, b"abc")[:40], "ends inside its header", 400),
        (framed(HEADER, b"ab"), "2 bytes of streams; its header says 3", 400),
        (framed(HEADER, b"abcd"), "4 bytes of streams; its header says 3", 400),
        (framed(HEADER | {"streams": [MOST + 1]}, b""), "65,537 bytes of streams; at most 65,536", 413),
        (framed(HEADER | {"streams": [-1, 4]}, b"abc"), "streams.0: input should be greater than or equal to 0", 400),
        (framed(HEADER | {"streams": [True]}, b"a"), "streams.0", 400),
        (framed(HEADER | {"streams": [0] * 65}, b""), "the header cannot be read", 400),
        (framed(HEADER | {"kind": "secret"}, b"abc"), "kind: ", 400),
        (framed(HEADER | {"nonce": "short"}, b"abc"), "nonce: ", 400),
        (framed(HEADER | {"parameters": "x" * 65}, b"abc"), "the header cannot be read", 400),
        (framed([1, 2], b""), "header: ", 400),
    ],
)
def test_what_is_refused_is_said(data: bytes, said: str, status: int) -> None:
    with pytest.raises(wire.WireError, match=said) as caught:
        wire.read(data, MOST)
    assert caught.value.status == status


def test_what_is_meant_for_something_else() -> None:
    header = wire.read(GOOD, MOST).header
    for arguments, said, status in [
        (("answer", PARAMETERS, CIRCUIT), "`question` where `answer` is expected", 400),
        (("question", CIRCUIT, CIRCUIT), "make keys for it", 422),
        (("question", PARAMETERS, PARAMETERS), "make keys for it again", 422),
    ]:
        with pytest.raises(wire.WireError, match=said) as caught:
            wire.expect(header, *arguments)  # type: ignore[arg-type]
        assert caught.value.status == status


def test_nothing_is_allocated_by_a_length_that_a_stranger_claims() -> None:
    claims = [
        wire.MAGIC + b"\0\1\xff\xff\xff\xff" + b"x" * 50,
        framed(HEADER | {"streams": [2**62]}, b"abc"),
        wire.MAGIC + b"\0\1\0\0\0\x05" + b"\xdd\xff\xff\xff\xff",  # a msgpack list of four billion
        wire.MAGIC + b"\0\1\0\0\0\x05" + b"\xc6\xff\xff\xff\xff",  # bytes
    ]
    tracemalloc.start()
    for data in claims:
        with pytest.raises(wire.WireError):
            wire.read(data, MOST)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 80))
def test_padding_hides_a_length(stream: bytes, more: int) -> None:
    data = wire.padded(stream, len(stream) + 4 + more)
    assert len(data) == len(stream) + 4 + more
    assert wire.unpadded(data) == stream
    with pytest.raises(ValueError, match="do not fit"):
        wire.padded(stream, len(stream) + 3)
    if stream:
        with pytest.raises(wire.WireError, match="shorter than it says"):
            wire.unpadded(data[: 3 + len(stream)])
