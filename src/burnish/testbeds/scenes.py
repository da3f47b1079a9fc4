"""Scenes of a few things on a grid, their truth exactly known, with captions that leave things out as web captions do.

A caption keeps each thing with a probability of .6, in a random order: who learns from such captions names a part of
what is there, and another part each time. Coloured shapes need nothing; real pictures (emoji, stamps) are composed in
the same way by :mod:`burnish.testbeds.sprites`. Knows numpy and Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int64, UInt8
from PIL import Image

from burnish.dialogue.rows import Question
from burnish.testbeds.shapes import SHAPES, inside

Thing = tuple[str, tuple[str, ...]]
"""A thing's name and its attributes."""

QUESTION = "What is in the picture?"
PROBE = "Is there {} in the image?"
KEPT = 0.6
"""Chance of a thing to stand in a caption."""
COLOURS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.85, 0.15, 0.15),
    "green": (0.15, 0.7, 0.2),
    "blue": (0.2, 0.3, 0.9),
    "yellow": (0.9, 0.85, 0.15),
}
TRAINING, PROBES = 1_000_000, 2_000_000
"""Seeds from here on are of captioned scenes and of annotated ones; smaller ones are the models' own."""
AT_ONCE = 256
"""Scenes drawn together by a stream; each such part has a seed of its own."""


@dataclass(frozen=True)
class World:
    """What scenes are made of.

    Attributes:
        things: of which a scene shows each once at most.
        sprites: RGBA in 0..1 of each thing; none draws coloured shapes.
        grid: cells of a scene's side.
        cell: pixels of a cell's side.
        fewest: things of a scene.
        most: likewise.
        grain: standard deviation of the noise over a picture in 0..1.
    """

    things: tuple[Thing, ...]
    sprites: Float[np.ndarray, "things cell cell 4"] | None = None
    grid: int = 2
    cell: int = 16
    fewest: int = 2
    most: int = 4
    grain: float = 0.1

    @property
    def side(self) -> int:
        """Pixels of a picture's side."""
        return self.grid * self.cell

    def words(self) -> list[str]:
        """Every word of this world's questions and answers, marks included, each once."""
        texts = [QUESTION, PROBE, caption(self.things), answer(True), answer(False), "a an"]
        return list(dict.fromkeys(word for text in texts for word in _split(text)))

    def near(self, thing: Thing) -> list[Thing]:
        """What is easily taken for a thing: the same in another colour."""
        return [other for other in self.things if other != thing and other[0] == thing[0]]


def shape_world(shapes: Sequence[str] = ("ring", "square", "cross"), colours: Sequence[str] = tuple(COLOURS)) -> World:
    """A world of shapes (of :data:`burnish.testbeds.shapes.SHAPES`), each in each colour (of :data:`COLOURS`)."""
    return World(tuple((shape, (colour,)) for shape in shapes for colour in colours))


SHAPE_WORLD = shape_world()


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        pixels: bytes.
        truth: the things, in no particular order.
        layout: in each cell the number of its thing among the world's, or how many there are where it is empty.
    """

    pixels: UInt8[np.ndarray, "side side 3"]
    truth: tuple[Thing, ...]
    layout: Int64[np.ndarray, "grid grid"]

    @property
    def image(self) -> Image.Image:
        """The picture."""
        return Image.fromarray(self.pixels)


def draw_scenes(count: int, seed: int, world: World = SHAPE_WORLD) -> list[Scene]:
    """Draw scenes: their things, where each stands, and how it is turned, sized and shaded.

    Args:
        count: how many.
        seed: of everything.
        world: what they are made of.
    """
    rng = np.random.default_rng([seed, 61])
    cells = world.grid**2
    number = rng.integers(world.fewest, world.most + 1, size=count)
    kinds = rng.random((count, len(world.things))).argsort(axis=1)[:, : world.most]
    places = rng.random((count, cells)).argsort(axis=1)[:, : world.most]
    layout = np.full((count, world.grid, world.grid), len(world.things))
    canvas = np.empty((count, world.grid, world.cell, world.grid, world.cell, 3))
    canvas[:] = rng.uniform(0.0, 0.15, (count, 1, 1, 1, 1, 1))
    for turn in range(world.most):
        ink, cover = _drawn(kinds[:, turn], world, rng)
        there = turn < number
        cover = cover * there[:, None, None, None]
        row, column = np.divmod(places[:, turn], world.grid)
        layout[there, row[there], column[there]] = kinds[there, turn]
        where = np.arange(count), row, slice(None), column
        canvas[where] = canvas[where] * (1 - cover) + ink * cover
    canvas += rng.normal(0, world.grain, canvas.shape)
    pixels = np.rint(255 * canvas.clip(0, 1)).astype(np.uint8).reshape(count, world.side, world.side, 3)
    return [
        Scene(picture, tuple(world.things[kind] for kind in row[:things]), cells)
        for picture, row, things, cells in zip(pixels, kinds.tolist(), number.tolist(), layout, strict=True)
    ]


def _drawn(kinds: Int[np.ndarray, " n"], world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Colours [n, cell, cell, 3] and how much each covers [n, cell, cell, 1]."""
    count = len(kinds)
    if world.sprites is not None:
        sprites = world.sprites[kinds]
        shade = rng.uniform(0.85, 1.15, (count, 1, 1, 1))
        return (sprites[..., :3] * shade).clip(0, 1), sprites[..., 3:]

    def draw(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (count, 1, 1))

    axis = np.linspace(-1.15, 1.15, world.cell)
    x = (axis[None, None, :] - draw(-0.15, 0.15)) / (size := draw(0.8, 1.0))
    y = (axis[None, :, None] - draw(-0.15, 0.15)) / size
    angle = draw(-0.15, 0.15)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    shapes = np.array([SHAPES.index(name) for name, _ in world.things])
    mask = inside(u, v)[shapes[kinds], np.arange(count)].astype(float)[..., None]
    colours = np.array([COLOURS[attributes[0]] for _, attributes in world.things])
    ink = (colours[kinds] + rng.normal(0, 0.05, (count, 3))).clip(0, 1)
    return np.broadcast_to(ink[:, None, None, :], (count, world.cell, world.cell, 3)), mask


def caption(things: Sequence[Thing]) -> str:
    """What is there, in this order.

    >>> caption([("ring", ("red",)), ("owl", ()), ("cross", ("blue",))])
    'There is a red ring, an owl and a blue cross.'
    """
    named = [with_article(thing) for thing in things]
    return f"There is {' and '.join([', '.join(named[:-1])] * (len(named) > 1) + named[-1:])}."


def with_article(thing: Thing) -> str:
    """A thing with its attributes and its indefinite article."""
    name = " ".join([*thing[1], thing[0]])
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def partial_caption(truth: Sequence[Thing], rng: np.random.Generator, kept: float = KEPT) -> str:
    """A caption that keeps each thing with a probability, and one at least; in a random order."""
    order = [truth[place] for place in rng.permutation(len(truth))]
    stays = rng.random(len(order)) < kept
    stays[0] |= not stays.any()
    return caption([thing for thing, stay in zip(order, stays.tolist(), strict=True) if stay])


def answer(there: bool) -> str:
    """To a yes/no question."""
    return "Yes." if there else "No."


def draw_probe(truth: Sequence[Thing], rng: np.random.Generator, world: World) -> tuple[str, str]:
    """A yes/no question and its answer: a thing that is there as often as not, else half the time one like it."""
    there = rng.random() < 0.5
    choice = list(truth)
    if not there:
        alike = [other for thing in truth for other in world.near(thing) if other not in truth]
        others = [thing for thing in world.things if thing not in truth]
        choice = alike if alike and rng.random() < 0.5 else others
    thing = choice[int(rng.integers(len(choice)))]
    return PROBE.format(with_article(thing)), answer(there)


def captioned(count: int, seed: int, world: World = SHAPE_WORLD) -> Iterator[Question]:
    """Scenes with what is asked of them and a partial caption, drawn as they are taken."""
    rng = np.random.default_rng([seed, 62])
    for index, scene in enumerate(stream_scenes(count, seed, world)):
        text = partial_caption(scene.truth, rng)
        yield Question(QUESTION, text, images=(scene.image,), row=f"scene {index} of seed {seed}")


def annotated(count: int, seed: int, world: World = SHAPE_WORLD) -> Iterator[dict[str, Any]]:
    """Scenes with all that is in them: rows of ``image`` and ``objects``, lists of a name and its attributes."""
    for scene in stream_scenes(count, seed, world):
        yield {"image": scene.image, "objects": [[name, *attributes] for name, attributes in scene.truth]}


def stream_scenes(count: int, seed: int, world: World = SHAPE_WORLD) -> Iterator[Scene]:
    """Scenes drawn as they are taken; the first are the same however many are."""
    for start in range(0, count, AT_ONCE):
        yield from draw_scenes(AT_ONCE, seed + start, world)[: count - start]


def training() -> Iterator[Question]:
    """Captioned scenes of coloured shapes (a source for recipes)."""
    yield from captioned(4096, TRAINING)


def probes() -> Iterator[dict[str, Any]]:
    """Annotated scenes of coloured shapes, none of them in :func:`training` (a source for recipes)."""
    yield from annotated(1024, PROBES)


def vocabulary_of(world: World) -> dict[str, Any]:
    """What texts on a world may speak of: words of ``entities`` and, by kind, of ``attributes``."""
    colours = {colour: () for _, attributes in world.things for colour in attributes}
    return {
        "entities": {name: () for name, _ in world.things},
        "attributes": {"colour": colours} if colours else {},
    }


VOCABULARY = vocabulary_of(SHAPE_WORLD)


def _split(text: str) -> list[str]:
    """Words in lower case and marks, as the model's tokenizer splits; blanks and braces left out."""
    return "".join(f" {c} " if c in ".,?:" else c for c in text.lower().replace("{}", "")).split()
