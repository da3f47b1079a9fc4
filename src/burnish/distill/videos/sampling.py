"""Which frames of a video make a clip: numbers, and nothing decoded. Short videos are looped. Pure."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from burnish.core.errors import UserError

Frames = Int64[np.ndarray, " clip"]


def uniform(frames: int, count: int) -> Frames:
    """``count`` frames from the first to the last, equally far apart.

    >>> uniform(9, 3).tolist(), uniform(2, 4).tolist()
    ([0, 4, 8], [0, 1, 0, 1])

    Raises:
        UserError: no frame, or none wanted.
    """
    _check(frames, count)
    if frames < count:
        return looped(frames, count)
    return np.linspace(0, frames - 1, count).round().astype(np.int64)


def uniform_in_time(times: Float64[np.ndarray, " frames"], count: int) -> Frames:
    """As :func:`uniform`, equally far apart in time: for files of varying frame rate.

    Each moment gets the frame that is shown then, the last one that began.

    Args:
        times: of each frame, in seconds, rising.
        count: how many.

    Raises:
        UserError: no frame, or none wanted.
    """
    _check(len(times), count)
    if len(times) < count:
        return looped(len(times), count)
    moments = np.linspace(times[0], times[-1], count)
    return np.searchsorted(times, moments + 1e-9, "right") - 1


def dense(frames: int, count: int, stride: int, start: int = 0) -> Frames:
    """``count`` frames from ``start`` on, each ``stride`` after the last, looped where the video ends before.

    >>> dense(10, 4, 2, 3).tolist(), dense(4, 3, 2).tolist()
    ([3, 5, 7, 9], [0, 2, 0])

    Raises:
        UserError: no frame, none wanted, or a stride below 1.
    """
    _check(frames, count)
    if stride < 1 or start < 0:
        raise UserError(f"frames: stride {stride} from {start}; wanted a stride of 1 or more, from 0 or later")
    return (start + stride * np.arange(count)) % frames


def two_rates(fast: Frames, alpha: int) -> tuple[Int64[np.ndarray, " slow"], Frames]:
    """The slow and the fast path's frames: each ``alpha``-th of the fast path's, and all.

    Raises:
        UserError: ``alpha`` does not divide the clip.

    Source: Feichtenhofer et al. 2019, SlowFast, section 3.
    """
    if alpha < 1 or len(fast) % alpha:
        raise UserError(f"frames: alpha {alpha} does not divide a clip of {len(fast)}")
    return fast[::alpha], fast


def looped(frames: int, count: int) -> Frames:
    """All frames in order, again from the first after the last."""
    return np.arange(count, dtype=np.int64) % frames


def _check(frames: int, count: int) -> None:
    if frames < 1 or count < 1:
        raise UserError(f"frames: {count} of a video of {frames}; wanted at least 1 of at least 1")
