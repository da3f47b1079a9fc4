"""Chosen frames of a video file: decoded in order, converted only if wanted, and never fewer than asked for.

The packets of a file are listed first, which decodes nothing: so frames are known by their time stamps, files of
varying frame rate and reordered frames included. Decoding goes forward and stops after the last wanted frame; it jumps
only where a key frame lies between here and the next one. A frame that the decoder calls damaged is an error; most
codecs have no checksum, and what the decoder does not notice is not noticed here. Knows PyAV and numpy.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from burnish.core.errors import UserError

NEAR = 2
"""A jump over fewer frames than this costs more than decoding them."""
LONGEST = 32
"""A frame that covers what is wanted may be this many times as large; a strip of pixels would fill the memory."""
CPU_SECONDS = 600
"""A file on which a process has worked for this long, packets or frames still coming, is given up."""


class BadVideo(Exception):
    """Why a file gives no frames, in a few words; the caller adds which file."""


@dataclass(frozen=True)
class Video:
    """What the packets of a file say.

    Attributes:
        path: the file.
        stamps: presentation time of each frame in order, in units of ``unit``.
        keys: of those frames that need no others.
        unit: seconds of a unit of time.
        declared: frames that the container speaks of; 0 where it does not.
        width: as stored, before any rotation that the file asks for.
        height: likewise.
    """

    path: Path
    stamps: Int64[np.ndarray, " frames"]
    keys: Int64[np.ndarray, " keys"]
    unit: Fraction
    declared: int
    width: int
    height: int

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.stamps)

    @property
    def times(self) -> Float64[np.ndarray, " frames"]:
        """Of each frame, in seconds from the first."""
        seconds: np.ndarray = (self.stamps - self.stamps[0]) * float(self.unit)
        return seconds


def scan_video(path: Path) -> Video:
    """List the frames of a file without decoding any.

    Raises:
        BadVideo: no video, no frame, or fewer frames than the file speaks of.
        UserError: PyAV is not installed.
    """
    with _opened(path) as (container, stream):
        begun = time.thread_time()
        stamps: list[int] = []
        keys: list[int] = []
        try:
            for packet in container.demux(stream):
                _in_time(begun)
                if packet.size and not packet.is_discard:
                    stamp = packet.pts if packet.pts is not None else packet.dts
                    stamps.append(len(stamps) if stamp is None else stamp)
                    if packet.is_keyframe:
                        keys.append(stamps[-1])
        except _errors() as error:
            raise BadVideo(f"damaged after {len(stamps)} frames ({_short(error)})") from None
        declared = int(stream.frames)
        if not stamps:
            raise BadVideo("no frame in it")
        if len(stamps) < declared:
            raise BadVideo(f"cut off: {len(stamps)} of {declared} frames are there")
        return Video(
            path,
            np.sort(np.array(stamps, np.int64)),
            np.sort(np.array(keys, np.int64)),
            Fraction(stream.time_base),
            declared,
            stream.codec_context.width,
            stream.codec_context.height,
        )


def read_frames(
    video: Video, wanted: Sequence[int], size: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "wanted height width 3"]:
    """Frames by number, in the order asked for; one asked for twice is decoded once.

    Args:
        video: of :func:`scan_video`.
        wanted: numbers from 0.
        size: height and width that a frame is scaled to cover while it is converted, its shape kept (pixels count as
            square); what is over is cut off evenly at both ends. None keeps the video's.

    Raises:
        BadVideo: one of them cannot be decoded.
        UserError: a number that there is not.
    """
    if outside := [number for number in wanted if not 0 <= number < video.frames]:
        raise UserError(f"{video.path}: frame {outside[0]} of {video.frames}")
    missing = sorted(set(wanted))
    found: dict[int, np.ndarray] = {}
    with _opened(video.path) as (container, stream):
        here = -1  # the frame that was decoded last
        frames = _decoded(container, stream)
        while missing:
            key = int(np.searchsorted(video.keys, video.stamps[missing[0]], "right")) - 1
            start = int(np.searchsorted(video.stamps, video.keys[key])) if key >= 0 else 0
            if start > here + NEAR:
                container.seek(int(video.keys[key]), stream=stream, backward=True)
                frames = _decoded(container, stream)
            for frame in frames:
                here = _number(video, frame, here)
                if here >= missing[0]:
                    break
            else:
                raise BadVideo(f"frame {missing[0]} of {video.frames} cannot be decoded: the file ends before it")
            if here > missing[0]:
                raise BadVideo(f"frame {missing[0]} of {video.frames} cannot be decoded: it is skipped")
            found[here] = _pixels(frame, size)
            missing.pop(0)
    return np.stack([found[number] for number in wanted])


def _number(video: Video, frame: Any, before: int) -> int:
    """Which frame this is, by its time."""
    if frame.pts is None:
        return before + 1
    return int(np.searchsorted(video.stamps, frame.pts))


def _pixels(frame: Any, size: tuple[int, int] | None) -> UInt8[np.ndarray, "height width 3"]:
    turns = round(frame.rotation / 90) % 4
    scaled: dict[str, Any] = {}
    top = left = 0
    height, width = frame.height, frame.width
    if size is not None:
        height, width = size if turns % 2 == 0 else size[::-1]
        scale = max(height / frame.height, width / frame.width)
        high, wide = max(height, round(frame.height * scale)), max(width, round(frame.width * scale))
        if high * wide > LONGEST * height * width:
            raise BadVideo(f"{frame.width} x {frame.height} px are too long and narrow for {size[1]} x {size[0]}")
        scaled = {"width": wide, "height": high, "interpolation": "AREA"}
        top, left = (high - height) // 2, (wide - width) // 2
    pixels: np.ndarray = frame.to_ndarray(format="rgb24", **scaled)
    return np.ascontiguousarray(np.rot90(pixels[top : top + height, left : left + width], turns))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    try:
        import av
    except ModuleNotFoundError:
        raise UserError(
            "videos: the package `av` is not installed; the extra `distill` brings it", extra="distill"
        ) from None
    try:
        container = av.open(str(path))
    except PermissionError:
        raise BadVideo("may not be read") from None
    except FileNotFoundError:
        raise BadVideo("no such file") from None
    except _errors() as error:
        raise BadVideo(f"not a video that can be read ({_short(error)})") from None
    with container:
        if not container.streams.video:
            held = "sound alone" if container.streams.audio else "no stream"
            raise BadVideo(f"no video in it, {held}")
        stream = container.streams.video[0]
        stream.thread_type = "NONE"  # one process a core decodes more than threads would
        yield container, stream


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    begun = time.thread_time()
    try:
        for frame in container.decode(stream):
            _in_time(begun)
            if frame.is_corrupt:  # it has filled in what it could not read
                raise BadVideo(f"damaged at {float(frame.time or 0):.2f} s")
            yield frame
    except _errors() as error:
        raise BadVideo(f"damaged ({_short(error)})") from None


def _in_time(begun: float) -> None:
    """The thread's own time: how busy the machine is must not say which files are left out."""
    if time.thread_time() - begun > CPU_SECONDS:
        raise BadVideo(f"not decoded within {CPU_SECONDS} s of CPU time")


def _errors() -> tuple[type[Exception], ...]:
    import av

    # PyAV's errors are OSErrors and ValueErrors by turns; a file that is no video may lead it to either
    return (av.FFmpegError, ValueError, OSError)


def _short(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0][:80]
