"""Which generator a recipe asks for."""

from __future__ import annotations

from collections.abc import Callable

from burnish.align.generators.counts import CountingGenerator
from burnish.align.generators.transformers import TransformersGenerator
from burnish.align.recipe import ShapeRecipe
from burnish.dialogue.models import ChatModel


def make_generator(recipe: ShapeRecipe, chat: ChatModel, note: Callable[[str], object]) -> CountingGenerator:
    """The generator of a recipe.

    Args:
        recipe: what was asked.
        chat: the model.
        note: told once why something is slower than it could be.
    """
    return TransformersGenerator(chat, system=recipe.system, batch=recipe.generator.batch, note=note)
