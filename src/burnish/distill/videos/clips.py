"""A clip of one file: the frames that the settings ask for, at their size. A picture is a clip of one frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from burnish.core.errors import UserError
from burnish.dialogue.rows import open_picture
from burnish.distill.layouts import PICTURES, VIDEOS
from burnish.distill.recipe import ClipSettings
from burnish.distill.videos.decoding import FORBIDDEN, MISSING, BadVideo, read_chosen
from burnish.distill.videos.sampling import dense, looped, uniform_in_time

_FORMATS = {"BMP", "JPEG", "MPO", "PNG", "TIFF", "WEBP"}


def read_clip(path: Path, settings: ClipSettings) -> tuple[UInt8[np.ndarray, "time height width 3"], bool]:
    """The clip, and whether it is looped, its file having fewer frames than were asked for.

    What is in a file says what it is, where its name does not speak of a video.

    Raises:
        BadVideo: it gives no clip.
        UserError: PyAV is not installed.
    """
    if path.suffix.lower() not in VIDEOS and _is_picture(path):
        picture = _picture(path, settings.size)
        return np.broadcast_to(picture, (settings.frames, *picture.shape)), settings.frames > 1
    try:
        video, frames = read_chosen(
            path, lambda found: which_frames(found.frames, found.times, settings).tolist(), settings.size
        )
        return frames, video.frames < settings.frames
    except BadVideo as error:
        if path.suffix.lower() in PICTURES and str(error) not in (FORBIDDEN, MISSING):
            raise BadVideo("not a picture that can be read") from None
        raise


def which_frames(frames: int, times: np.ndarray, settings: ClipSettings) -> np.ndarray:
    """Numbers of the frames of a clip; a video that is too short for it is looped.

    >>> which_frames(9, np.arange(9) / 10, ClipSettings(frames=3, sampling="dense", stride=2)).tolist()
    [2, 4, 6]

    Args:
        frames: of the video.
        times: of each, in seconds.
        settings: how many, and how far apart.
    """
    if frames < settings.frames:
        return looped(frames, settings.frames)
    if settings.sampling == "uniform":
        return uniform_in_time(times, settings.frames)
    spanned = (settings.frames - 1) * settings.stride + 1
    return dense(frames, settings.frames, settings.stride, max(0, (frames - spanned) // 2))


def _is_picture(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            return opened.format in _FORMATS
    except Exception:  # noqa: BLE001 - Pillow raises whatever a broken head leads it to
        return False


def _picture(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    from PIL import Image, ImageOps

    try:
        opened = open_picture(path)
    except UserError as error:
        raise BadVideo(str(error).removeprefix(f"{path}: ")) from None
    return np.asarray(ImageOps.fit(opened, size[::-1], Image.Resampling.BILINEAR))
