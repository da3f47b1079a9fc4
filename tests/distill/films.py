"""Video files for tests, written by PyAV."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def noise(count: int, side: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, side, side, 3), dtype=np.uint8)


def numbered(count: int, side: int = 32) -> np.ndarray:
    """Grey frames whose level says their number (up to 40 of them): no codec loses that."""
    return np.broadcast_to((np.arange(count) * 6)[:, None, None, None], (count, side, side, 3)).astype(np.uint8)


def number_of(frame: np.ndarray) -> int:
    return round(float(frame.mean()) / 6)


def write_film(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    stamps: Sequence[int] | None = None,
    every: int | None = None,
    rotation: int = 0,
    between: int | None = None,
) -> Path:
    """``stamps``: time of each frame in hundredths of a second; ``every``: distance of key frames; ``between``: most
    frames in a row that need a later one."""
    import av

    options = {} if every is None else {"g": str(every), "keyint_min": str(every), "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=100 if stamps is not None else 10, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        if between is not None:
            stream.codec_context.max_b_frames = between
        if rotation:
            stream.set_display_rotation(rotation)
        for number, pixel in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixel), format="rgb24")
            frame.pts = number if stamps is None else stamps[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for _ in range(4):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
