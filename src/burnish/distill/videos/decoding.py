"""Chosen frames of a video file: decoded in order, converted only if wanted, and never fewer than asked for.

The packets of a file are listed first, which decodes nothing: so frames are known by their time stamps, files of
varying frame rate and reordered frames included. Decoding goes forward and stops after the last wanted frame; it jumps
only where a key frame lies between here and the next one, and passes over unwanted frames that no other frame needs. A
frame that the decoder calls damaged is an error; most codecs have no checksum, and what the decoder does not notice is
not noticed here. Knows PyAV and numpy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from burnish.core.errors import UserError
from burnish.core.packages import Need, not_installed

NEAR = 2
"""A jump over fewer frames than this costs more than decoding them."""
INDEXED = {"mp4", "matroska", "avi"}
"""Containers with an index. In others a jump lands near by, and what is decoded there may be another frame, or half
one, without a word."""
LONGEST = 32
"""A frame that covers what is wanted may be this many times as large; a strip of pixels would fill the memory."""
CPU_SECONDS = 600
"""A file on which a process has worked for this long, packets or frames still coming, is given up."""
FORBIDDEN, MISSING = "may not be read", "no such file"


class BadVideo(Exception):
    """Why a file gives no frames, in a few words; the caller adds which file."""


@dataclass(frozen=True)
class Video:
    """What the packets of a file say.

    Attributes:
        path: the file.
        stamps: presentation time of each frame in order, in units of ``unit``.
        keys: of those frames that need no others, and that the container's index leads to.
        timed: whether each packet says when it is shown; if not, stamps are those of decoding, and frames are counted.
        unit: seconds of a unit of time.
        declared: frames that the container speaks of; 0 where it does not.
        width: as stored, before any rotation that the file asks for.
        height: likewise.
    """

    path: Path
    stamps: Int64[np.ndarray, " frames"]
    keys: Int64[np.ndarray, " keys"]
    timed: bool
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

    A file that has lost its end is known by what it says of itself: frames (mp4, avi), seconds (mkv, webm), the size of
    its last packet (flv). Streams made to be cut anywhere (ts, mpg) say nothing.

    Raises:
        BadVideo: no video, no frame, or less than the file speaks of.
        UserError: PyAV is not installed.
    """
    with _opened(path) as (container, stream):
        return _scanned(path, container, stream)


def _scanned(path: Path, container: Any, stream: Any) -> Video:
    begun = time.thread_time()
    found, end, timed = 0, 0, True  # found: those too that the file has cut out of its showing
    stamps: list[int] = []
    keys: list[int] = []
    try:
        for packet in container.demux(stream):
            _in_time(begun)
            if not packet.size:
                continue
            if packet.is_corrupt:
                raise BadVideo(f"cut off in frame {found}")
            found += 1
            timed = timed and packet.pts is not None
            stamp = next((each for each in (packet.pts, packet.dts) if each is not None), found)
            end = max(end, stamp + (packet.duration or 0))
            if not packet.is_discard:
                stamps.append(stamp)
                if packet.is_keyframe:
                    keys.append(stamp)
    except _errors() as error:
        raise BadVideo(f"damaged after {found} frames ({_short(error)})") from None
    declared, unit = int(stream.frames), Fraction(stream.time_base)
    if not stamps:
        raise BadVideo("no frame in it")
    if found < declared:
        raise BadVideo(f"cut off: {found} of {declared} frames are there")
    promised = _seconds(stream.metadata.get("DURATION", ""))
    shown = float(end * unit)
    if promised - shown > 0.5 * shown / found:  # half a frame
        raise BadVideo(f"cut off: {shown:.2f} of {promised:.2f} s are there")
    reachable = keys if timed and INDEXED & set(container.format.name.split(",")) else []
    return Video(
        path,
        np.sort(np.array(stamps, np.int64)),
        np.sort(np.array(reachable, np.int64)),
        timed,
        unit,
        declared,
        stream.codec_context.width,
        stream.codec_context.height,
    )


def _seconds(clock: str) -> float:
    """Of `01:02:03.5`; 0 of anything else."""
    try:
        hours, minutes, seconds = (float(part) for part in clock.split(":"))
    except ValueError:
        return 0.0
    return 3600 * hours + 60 * minutes + seconds


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
    with _opened(video.path) as (container, stream):
        return _in_order(container, stream, video, wanted, size)


def read_chosen(
    path: Path, choose: Callable[[Video], Sequence[int]], size: tuple[int, int] | None = None
) -> tuple[Video, UInt8[np.ndarray, "wanted height width 3"]]:
    """:func:`scan_video`, a choice, :func:`read_frames`; the file is opened once.

    Args:
        path: the file.
        choose: says which frames are wanted.
        size: as for :func:`read_frames`.

    Raises:
        BadVideo: likewise.
        UserError: likewise.
    """
    with _opened(path) as (container, stream):
        video = _scanned(path, container, stream)
        wanted = choose(video)
        if len(video.keys):
            container.seek(int(video.stamps[0]), stream=stream, backward=True)
            return video, _in_order(container, stream, video, wanted, size)
    return video, read_frames(video, wanted, size)


def _in_order(
    container: Any, stream: Any, video: Video, wanted: Sequence[int], size: tuple[int, int] | None
) -> UInt8[np.ndarray, "wanted height width 3"]:
    if outside := [number for number in wanted if not 0 <= number < video.frames]:
        raise UserError(f"{video.path}: frame {outside[0]} of {video.frames}")
    missing = sorted(set(wanted))
    try:
        found = _chosen(container, stream, video, missing, size, may_jump=len(video.keys) > 1)
    except BadVideo:
        if not len(video.keys):
            raise
        # where the index is missing, a jump may land behind the key frame, on what cannot be decoded from there
        with _opened(video.path) as (afresh, its_stream):
            found = _chosen(afresh, its_stream, video, missing, size, may_jump=False)
    return np.stack([found[number] for number in wanted])


def _chosen(
    container: Any, stream: Any, video: Video, missing: list[int], size: tuple[int, int] | None, *, may_jump: bool
) -> dict[int, np.ndarray]:
    found: dict[int, np.ndarray] = {}
    needed = {int(stamp) for stamp in video.stamps[missing]} if video.timed else None
    here = -1  # the frame that was decoded last
    frames = _decoded(container, stream, needed)
    for wanted in missing:
        key = int(np.searchsorted(video.keys, video.stamps[wanted], "right")) - 1
        start = int(np.searchsorted(video.stamps, video.keys[key])) if key >= 0 else 0
        arrived = not may_jump or start <= here + NEAR
        if not arrived:
            container.seek(int(video.keys[key]), stream=stream, backward=True)
            frames = _decoded(container, stream, needed)
        for frame in frames:
            here = _number(video, frame, here)
            # frames shown before a key frame and decoded after it are rubbish where decoding begins with it
            arrived = arrived or here == start
            if here >= wanted:
                break
        else:
            raise BadVideo(f"frame {wanted} of {video.frames} cannot be decoded: the file ends before it")
        if here > wanted or not arrived:
            raise BadVideo(f"frame {wanted} of {video.frames} cannot be decoded: it is skipped")
        found[wanted] = _pixels(frame, size)
    return found


def _number(video: Video, frame: Any, before: int) -> int:
    """Which frame this is: by its time, or by counting where the packets do not say when they are shown."""
    if frame.pts is None or not video.timed:
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
        raise not_installed("videos", Need(("av",), "distill")) from None
    try:
        container = av.open(str(path))
    except PermissionError:
        raise BadVideo(FORBIDDEN) from None
    except FileNotFoundError:
        raise BadVideo(MISSING) from None
    except _errors() as error:
        raise BadVideo(f"not a video that can be read ({_short(error)})") from None
    with container:
        if not container.streams.video:
            held = "sound alone" if container.streams.audio else "no stream"
            raise BadVideo(f"no video in it, {held}")
        stream = container.streams.video[0]
        stream.thread_type = "NONE"  # one process a core decodes more than threads would
        yield container, stream


def _decoded(container: Any, stream: Any, needed: set[int] | None) -> Iterator[Any]:
    """Frames as they are shown, from here on; of those that no other frame is made from only the needed ones."""
    begun = time.thread_time()
    try:
        for packet in container.demux(stream):
            passed = needed is not None and packet.pts is not None and packet.pts not in needed
            stream.codec_context.skip_frame = "NONREF" if passed else "DEFAULT"
            for frame in packet.decode():
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
