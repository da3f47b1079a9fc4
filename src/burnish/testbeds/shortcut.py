"""Scenes whose questions can mostly be answered without looking: a world of text bias, its truth exactly known.

A picture shows two things, one on each side. A question names a side and a room: "what is on the left in the kitchen
?". Every room has its usual thing. In training the asked thing is the usual one in nine scenes of ten, so that a model
comes to guess from the room instead of looking. A counter-example shows any other thing. Knows numpy and Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from burnish.core.errors import UserError
from burnish.dialogue.rows import Question
from burnish.testbeds.shapes import SHAPES, inside

SIDES = ("left", "right")
ROOMS = ("kitchen", "garden", "attic", "cellar", "hall", "office", "garage", "nursery", "library", "stable")
EMOJI = (
    "automobile",
    "banana",
    "basketball",
    "crown",
    "house building",
    "key",
    "rocket",
    "snail",
    "sunflower",
    "umbrella",
)
"""Names in emoji.json; their first word is the answer."""
CELL = 16
"""Pixels of a thing's side; a scene is two by two such cells."""
STRAY = 0.06
"""Standard deviation of a thing's hue around its own; the next thing's is a tenth away."""
HELD_OUT = 1_000_000
"""Seeds from here on are of scenes that no model is trained on."""


@dataclass(frozen=True)
class Things:
    """What scenes are made of.

    Attributes:
        names: one word each, the answers.
        sprites: RGBA in 0..1; none draws the procedural shapes.
    """

    names: tuple[str, ...]
    sprites: Float[np.ndarray, "things side side 4"] | None = None


SHAPE_THINGS = Things(SHAPES)


def emoji_things(source: Path | None = None) -> Things:
    """Ten real emoji (Noto), drawn at the size of a cell.

    Args:
        source: a folder of emoji pictures instead of the packaged ones.

    Raises:
        UserError: an emoji is missing there.
    """
    from burnish.testbeds.data import load_pictures

    found = {picture.caption: picture.path for picture in load_pictures("emoji", source)}
    missing = [name for name in EMOJI if name not in found]
    if missing:
        raise UserError(
            f"emoji: no picture captioned `{missing[0]}` there; the shortcut world needs {', '.join(EMOJI)}"
        )
    pictures = [Image.open(found[name]).convert("RGBA").resize((CELL, CELL), Image.Resampling.BOX) for name in EMOJI]
    return Things(
        tuple(name.split()[0] for name in EMOJI), np.stack([np.asarray(p, dtype=np.float32) / 255 for p in pictures])
    )


@dataclass(frozen=True)
class Scenes:
    """Pictures and what is in them.

    Attributes:
        pixels: bytes.
        things: index of the thing on the left and on the right.
        asked: which side the question is about.
        rooms: index of the room it names.
    """

    pixels: UInt8[np.ndarray, "n side side 3"]
    things: Int[np.ndarray, "n 2"]
    asked: Int[np.ndarray, " n"]
    rooms: Int[np.ndarray, " n"]

    @property
    def answers(self) -> Int[np.ndarray, " n"]:
        """Index of the asked thing."""
        return np.take_along_axis(self.things, self.asked[:, None], axis=1)[:, 0]


def scenes(count: int, seed: int, usual: float = 0.9, things: Things = SHAPE_THINGS, noise: float = 0.2) -> Scenes:
    """Draw scenes.

    Args:
        count: how many.
        seed: of everything.
        usual: share of scenes that show the room's usual thing on the asked side, drawn one by one; the rest are
            counter-examples (0 gives nothing else).
        things: what is drawn.
        noise: standard deviation of the grain over a picture in 0..1; more makes looking harder.
    """
    rng = np.random.default_rng([seed, 16])
    kinds = len(things.names)
    rooms = rng.integers(kinds, size=count)
    asked = rng.integers(2, size=count)
    other = (rooms + rng.integers(1, kinds, size=count)) % kinds  # any thing but the usual one: room k's is thing k
    shown = np.where(rng.random(count) < usual, rooms, other)
    both = rng.integers(kinds, size=(count, 2))
    both[np.arange(count), asked] = shown
    canvas = np.empty((count, 2 * CELL, 2 * CELL, 3))
    canvas[:] = rng.uniform(0.2, 0.8, (count, 1, 1, 3))
    for side in (0, 1):
        ink, cover = _drawn(both[:, side], things, rng)
        top = CELL * rng.integers(2, size=count)  # a cell is a patch of the model's eye
        rows = top[:, None] + np.arange(CELL)
        where = np.arange(count)[:, None], rows, slice(side * CELL, (side + 1) * CELL)
        canvas[where] = canvas[where] * (1 - cover) + ink * cover
    canvas += rng.normal(0, noise, canvas.shape)
    return Scenes(np.rint(255 * canvas.clip(0, 1)).astype(np.uint8), both, asked, rooms)


def _drawn(kinds: Int[np.ndarray, " n"], things: Things, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Colours [n, cell, cell, 3] and how much each covers [n, cell, cell, 1]."""
    count = len(kinds)
    if things.sprites is not None:
        sprites = things.sprites[kinds]
        return sprites[..., :3], sprites[..., 3:]
    axis = np.linspace(-1.1, 1.1, CELL)
    angle = rng.uniform(-0.2, 0.2, (count, 1, 1))
    x, y = axis[None, None, :], axis[None, :, None]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    mask = inside(u, v)[kinds, np.arange(count)].astype(float)[..., None]
    # Every shape has its hue as well: learnt in seconds, where shape alone would take minutes.
    hue = kinds[:, None] / len(things.names) + rng.normal(0, STRAY, (count, 1))
    colour = 0.5 + 0.5 * np.cos(2 * np.pi * (hue + np.array([0, 1 / 3, 2 / 3])))
    return np.broadcast_to(colour[:, None, None, :], (count, CELL, CELL, 3)), mask


def ask(drawn: Scenes, things: Things = SHAPE_THINGS) -> list[Question]:
    """One question a scene, its picture opened."""
    return [
        Question(
            f"what is on the {SIDES[asked]} in the {ROOMS[room]} ?",
            things.names[answer],
            images=(Image.fromarray(pixels),),
            row=f"scene {index}",
        )
        for index, (pixels, asked, room, answer) in enumerate(
            zip(drawn.pixels, drawn.asked.tolist(), drawn.rooms.tolist(), drawn.answers.tolist(), strict=True)
        )
    ]


def usual_thing(question: Question, things: Things = SHAPE_THINGS) -> str:
    """What the text alone suggests: the usual thing of the room that a question names."""
    words = question.question.split()
    return things.names[next(index for index, room in enumerate(ROOMS) if room in words)]


def held_out(
    usual: float = 0.9, count: int = 512, seed: int = HELD_OUT, things: Things = SHAPE_THINGS
) -> list[Question]:
    """Questions on scenes that no model of this world is trained on."""
    return ask(scenes(count, seed, usual, things), things)


def counter_examples() -> Iterator[Question]:
    """Held-out questions none of which the room's usual thing answers (a source for recipes)."""
    yield from held_out(0.0)


def vocabulary(things: Things = SHAPE_THINGS) -> Sequence[str]:
    """Every word of this world's questions and answers."""
    return ("what", "is", "on", "the", "in", "?", *SIDES, *ROOMS, *things.names)
