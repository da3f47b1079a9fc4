"""Scenes as rows for training, and the words they are written in. Knows numpy, Pillow and transformers' tokenizers.

Rows have the form of any layout's: ``prompt``, ``image``, ``objects`` (rows of ``name``, ``attributes``, ``box``, in
the order in which a plan writes them), ``caption``, and a question with its answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from burnish.testbeds.easel import prompts, questions
from burnish.testbeds.easel.prompts import CATEGORIES, Scene, draw_scene
from burnish.testbeds.easel.world import SHAPE_WORLD, World, render

TRAINING, TEST = 1_000_000, 2_000_000
"""Seeds of training scenes and of those to be judged on."""
PLAN_WORDS = ("plan", "end", "anywhere", "something", "|", "at")


@dataclass(frozen=True)
class Drawn:
    """A scene and its picture."""

    scene: Scene
    picture: UInt8[np.ndarray, "side side 3"]


def draw(
    count: int,
    seed: int,
    world: World = SHAPE_WORLD,
    categories: Sequence[str] = CATEGORIES,
    held_out: bool = False,
) -> list[Drawn]:
    """Scenes, the categories in turn; the first are the same however many are drawn.

    Args:
        count: how many.
        seed: of everything.
        world: of the things.
        categories: of :data:`burnish.testbeds.easel.prompts.CATEGORIES`.
        held_out: see :func:`burnish.testbeds.easel.prompts.draw_scene`.

    Raises:
        ValueError: an unknown category, or one in which nothing is held out.
    """
    return list(_draw(count, seed, world, categories, held_out))


def _draw(
    count: int, seed: int, world: World, categories: Sequence[str] = CATEGORIES, held_out: bool = False
) -> Iterator[Drawn]:
    """One by one: who wants the first few does not wait for all."""
    rng = np.random.default_rng([seed, 71])
    for number in range(count):
        scene = draw_scene(categories[number % len(categories)], world, rng, held_out)
        yield Drawn(scene, render(scene.things, world, rng))


def objects(scene: Scene, world: World) -> list[dict[str, Any]]:
    """The scene's things as rows of a layout, of which a plan is made."""
    return [
        {"name": thing.name, "attributes": [thing.colour], "box": list(thing.box(world.grid))} for thing in scene.things
    ]


def rows(count: int, seed: int, world: World = SHAPE_WORLD) -> Iterator[dict[str, Any]]:
    """Scenes as rows."""
    from PIL import Image

    rng = np.random.default_rng([seed, 72])
    for number, drawn in enumerate(_draw(count, seed, world)):
        kind, question, answer = questions.ask(drawn.scene.things, world, rng)
        yield {
            "row": f"scene {number} of seed {seed}",
            "category": drawn.scene.category,
            "prompt": drawn.scene.prompt,
            "image": Image.fromarray(drawn.picture),
            "objects": objects(drawn.scene, world),
            "caption": questions.describe(drawn.scene.things, world),
            "question": question,
            "answer": answer,
            "question_kind": kind,
        }


def training() -> Iterator[dict[str, Any]]:
    """Scenes to train on; a recipe names them ``burnish.testbeds.easel.sources:training``."""
    yield from rows(8192, TRAINING)


def test() -> Iterator[dict[str, Any]]:
    """Other scenes; ``burnish.testbeds.easel.sources:test``."""
    yield from rows(700, TEST)


def words_of(world: World) -> list[str]:
    """Every word of prompts, plans, captions and questions, each once."""
    return list(dict.fromkeys([*prompts.words_of(world), *questions.words_of(world), *PLAN_WORDS]))


def make_tokenizer(world: World = SHAPE_WORLD, extra: Sequence[str] = ()) -> Any:
    """One token a word, blanks dropped; marks for padding, start, end and unknown words come first.

    Args:
        world: whose words.
        extra: further special tokens, such as those around pictures.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<bos>", "<eos>", "<unk>", *extra, *words_of(world)]
    backend = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=list(extra),
    )
