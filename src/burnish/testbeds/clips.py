"""Short clips whose class is how a shape moves, which no single frame tells: eight motions on a torus.

A shape that leaves at one side comes in at the other, and one that has grown to its largest begins again at its
smallest. So in every frame of every class place and size have the same distribution, and the order of frames alone
tells the class. Clips are coded as H.264 and decoded again, as a camera's would be. Plain shapes here; real pictures
over real films in :mod:`burnish.testbeds.real_clips`. Knows numpy and PyAV.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from burnish.core.packages import Need, not_installed
from burnish.testbeds.shapes import SHAPES, inside

MOTIONS = ("up", "down", "left", "right", "clockwise", "anticlockwise", "grows", "shrinks")
ASLANT = ("up left", "up right", "down left", "down right")
"""Motions of another task: what a student may have learnt before."""
DIRECTIONS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
"""Across and down, as pictures count."""
DIRECTIONS |= {name: (DIRECTIONS[name.split()[1]][0], DIRECTIONS[name.split()[0]][1]) for name in ASLANT}
TURNS = {"clockwise": 1, "anticlockwise": -1}
SCALES = {"grows": 1, "shrinks": -1}
FRAMES, SIDE = 8, 32
"""Frames of a clip and pixels of their sides."""
SMALLEST, LARGEST = 0.13, 0.3
"""Half the width of a shape, of a side."""
GRAIN = (0.02, 0.06, 0.12)
"""Standard deviation of a clip's noise, one of these."""
AT_ONCE = 64

Pixels = UInt8[np.ndarray, "clips frames side side 3"]


@dataclass(frozen=True)
class Look:
    """What clips show.

    Attributes:
        sprites: RGBA in 0..1 of what moves; none draws coloured shapes.
        films: frames of each film that may lie behind; none lays a plain colour there.
    """

    sprites: Float32[np.ndarray, "things sprite sprite 4"] | None = None
    films: tuple[UInt8[np.ndarray, "_ _ _ 3"], ...] = ()


PLAIN = Look()


@dataclass(frozen=True)
class Things:
    """One thing of each clip, and its way.

    Attributes:
        kind: which shape or sprite, as a share of how many there are.
        colour: of shapes.
        tilt: of shapes, in radians.
        x: across, of a side.
        y: down, likewise.
        size: half its width, likewise.
    """

    kind: Float[np.ndarray, " clips"]
    colour: Float[np.ndarray, "clips 3"]
    tilt: Float[np.ndarray, " clips"]
    x: Float[np.ndarray, "clips time"]
    y: Float[np.ndarray, "clips time"]
    size: Float[np.ndarray, "clips time"]

    def take(self, rows: Any) -> Things:
        """Those of some clips, a clip more than once if asked for so."""
        return Things(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Scenes:
    """Everything about clips but their noise.

    Attributes:
        labels: number of the motion.
        mover: what moves.
        other: what does not, to distract.
        ground: colour behind both, where no film lies there.
        film: which film, and where in it the clip begins: frame, top and left, each as a share.
        grain: of the noise.
    """

    labels: Int64[np.ndarray, " clips"]
    mover: Things
    other: Things
    ground: Float[np.ndarray, "clips 3"]
    film: Float[np.ndarray, "clips 4"]
    grain: Float[np.ndarray, " clips"]

    def take(self, rows: Any) -> Scenes:
        """Those of some clips: to show one twice, under other noise, ask for it twice."""
        return Scenes(
            self.labels[rows],
            self.mover.take(rows),
            self.other.take(rows),
            self.ground[rows],
            self.film[rows],
            self.grain[rows],
        )


def draw_scenes(
    labels: Int64[np.ndarray, " clips"],
    rng: np.random.Generator,
    motions: Sequence[str] = MOTIONS,
    frames: int = FRAMES,
) -> Scenes:
    """Scenes of given motions: shape, colours, place, size, speed, tilt and noise at random.

    Args:
        labels: place in ``motions`` of each clip's motion.
        rng: of everything.
        motions: :data:`MOTIONS` or :data:`ASLANT`.
        frames: of a clip.
    """
    count, time = len(labels), np.linspace(0, 1, frames)
    names = np.array(motions)[labels]
    pace = rng.uniform(0.45, 0.8, (count, 1)) * time  # sides, turns or octaves until the last frame
    across, down = (np.array([DIRECTIONS.get(name, (0, 0))[axis] for name in names])[:, None] for axis in (0, 1))
    turn, scale = (np.array([table.get(name, 0) for name in names])[:, None] for table in (TURNS, SCALES))
    angle = 2 * np.pi * (rng.random((count, 1)) + turn * pace)
    radius = rng.uniform(0.15, 0.25, (count, 1)) * (turn != 0)
    octave = (rng.random((count, 1)) + scale * pace) % 1
    mover = Things(
        *_appearance(count, rng),
        x=(rng.random((count, 1)) + across * pace + radius * np.cos(angle)) % 1,
        y=(rng.random((count, 1)) + down * pace + radius * np.sin(angle)) % 1,
        size=SMALLEST * (LARGEST / SMALLEST) ** octave,
    )
    still = rng.random((3, count, 1))
    other = Things(*_appearance(count, rng), still[0], still[1], SMALLEST * (LARGEST / SMALLEST) ** (0.5 * still[2]))
    ground, film, grain = rng.uniform(0, 0.3, (count, 3)), rng.random((count, 4)), rng.choice(GRAIN, count)
    return Scenes(labels, mover, other, ground, film, grain)


def _appearance(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return rng.random(count), rng.uniform(0.5, 1, (count, 3)), rng.uniform(0, 2 * np.pi, count)


def render(scenes: Scenes, rng: np.random.Generator, look: Look = PLAIN, side: int = SIDE) -> Pixels:
    """Scenes as pictures.

    Args:
        scenes: of :func:`draw_scenes`.
        rng: of the noise.
        look: what moves, and what lies behind.
        side: pixels.
    """
    count, frames = scenes.mover.x.shape
    found = np.empty((count, frames, side, side, 3), np.uint8)
    for start in range(0, count, AT_ONCE):
        part = scenes.take(slice(start, start + AT_ONCE))
        canvas = _behind(part, look, side)
        for things in (part.other, part.mover):
            cover, colour = _drawn(things, look, side)
            canvas = canvas * (1 - cover) + colour * cover
        noise = rng.standard_normal((len(part.labels), frames, side, side, 3), np.float32)
        noise *= part.grain[:, None, None, None, None]
        found[start : start + AT_ONCE] = ((canvas + noise).clip(0, 1) * 255).round()
    return found


def _behind(scenes: Scenes, look: Look, side: int) -> np.ndarray:
    """The ground: a colour, or a crop of a film, its frames in their order."""
    frames = scenes.mover.x.shape[1]
    if not look.films:
        return scenes.ground[:, None, None, None, :].astype(np.float32)
    crops = []
    for which, when, top, left in scenes.film:
        film = look.films[int(which * len(look.films))]
        length, height, width = film.shape[:3]
        first, row, column = (
            int(share * (size - wanted + 1))
            for share, size, wanted in ((when, length, frames), (top, height, side), (left, width, side))
        )
        crops.append(film[first : first + frames, row : row + side, column : column + side])
    return np.stack(crops).astype(np.float32) / 255


def _drawn(things: Things, look: Look, side: int) -> tuple[np.ndarray, np.ndarray]:
    """What a thing covers of each pixel, and in which colour; [clips, time, side, side, 1] and 3."""
    axis = ((np.arange(side) + 0.5) / side).astype(np.float32)
    size = things.size[:, :, None, None].astype(np.float32)
    x, y = (
        ((axis - way[:, :, None].astype(np.float32) + 0.5) % 1 - 0.5) for way in (things.x, things.y)
    )  # the shorter way round
    x, y = x[:, :, None, :] / size, y[:, :, :, None] / size
    if look.sprites is not None:
        return _sprites(x, y, things.kind, look.sprites)
    cos, sin = (turn(things.tilt)[:, None, None, None].astype(np.float32) for turn in (np.cos, np.sin))
    u, v = x * cos + y * sin, y * cos - x * sin
    kinds = (things.kind * len(SHAPES)).astype(int)
    cover = inside(u, v)[kinds, np.arange(len(kinds))]
    return cover[..., None].astype(np.float32), things.colour[:, None, None, None, :].astype(np.float32)


def _sprites(
    x: np.ndarray, y: np.ndarray, kind: np.ndarray, sprites: Float32[np.ndarray, "things sprite sprite 4"]
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest pixel of each one's sprite; upright, and nothing beyond its edges."""
    width = sprites.shape[1]
    column, row = (((1 + axis) / 2 * width).astype(int) for axis in np.broadcast_arrays(x, y))
    which = (kind * len(sprites)).astype(int)[:, None, None, None]
    found = sprites[which, row.clip(0, width - 1), column.clip(0, width - 1)]
    within = (abs(x) < 1) & (abs(y) < 1)
    return found[..., 3:] * within[..., None], found[..., :3]


def coded(clips: Pixels) -> Pixels:
    """Clips as H.264 gives them back: one after another in one film (mp4), each beginning with a key frame.

    Raises:
        UserError: PyAV is not installed.
    """
    count, frames = clips.shape[:2]
    film = io.BytesIO()
    _encode(film, clips.reshape(count * frames, *clips.shape[2:]), frames)
    film.seek(0)
    return read_film(film).reshape(clips.shape)


def read_film(file: Any, lines: int | None = None) -> UInt8[np.ndarray, "frames height width 3"]:
    """All frames of a film.

    Args:
        file: a path, or an open file.
        lines: height to scale to, the width in proportion; none keeps its own.

    Raises:
        UserError: PyAV is not installed.
    """
    av = _av()
    reader = av.video.reformatter.VideoReformatter()  # one for all: set up once, not for each frame
    with av.open(file) as container:
        stream = container.streams.video[0]
        scaled = {}
        if lines is not None:
            scaled = {"height": lines, "width": round(stream.width * lines / stream.height), "interpolation": "AREA"}
        pictures = (reader.reformat(frame, format="rgb24", threads=1, **scaled) for frame in container.decode(stream))
        return np.stack([picture.to_ndarray() for picture in pictures])


def write_clips(folder: Path, clips: Pixels, labels: Int64[np.ndarray, " clips"], names: Sequence[str]) -> None:
    """Each clip as a video file of its own, in a folder named after its motion.

    Args:
        folder: becomes ``folder/up/NAME.mp4`` and so on.
        clips: RGB.
        labels: place in :data:`MOTIONS`.
        names: of the files, without extension.

    Raises:
        UserError: PyAV is not installed.
    """
    for pixels, label, name in zip(clips, labels, names, strict=True):
        path = folder / MOTIONS[label] / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        _encode(str(path), pixels, len(pixels))


def _encode(target: Any, pixels: UInt8[np.ndarray, "time height width 3"], group: int) -> None:
    """``group``: frames from one key frame to the next."""
    av = _av()
    options = {"g": str(group), "keyint_min": str(group), "sc_threshold": "0", "preset": "veryfast"}
    # with its macroblock tree the encoder makes something else of pictures this small every time
    options["x264-params"] = "mbtree=0"
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[1:3], "yuv420p"
        stream.thread_count = 1  # the same bytes on any machine
        for number, picture in enumerate(pixels):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _av() -> Any:
    try:
        import av
    except ModuleNotFoundError:
        raise not_installed("clips", Need(("av",), "distill")) from None
    return av
