"""Which generator a round's answers come from, opened and closed. Knows recipes and the three engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from burnish.align.generators.counts import CountingGenerator
from burnish.align.generators.endpoint import EndpointGenerator
from burnish.align.generators.transformers import TransformersGenerator
from burnish.align.generators.vllm import VllmGenerator
from burnish.align.recipe import ShapeRecipe
from burnish.align.views import CLIP_MEAN, CLIP_STD
from burnish.core.errors import UserError
from burnish.core.models import resolve, split_reference
from burnish.dialogue.models import ChatModel, load_chat_model
from burnish.dialogue.processors import load_processor
from burnish.dialogue.rows import Question
from burnish.dialogue.training import own_device

Colour = tuple[float, float, float]


@contextmanager
def open_generator(
    recipe: ShapeRecipe, model: str | Path, note: Callable[[str], object]
) -> Iterator[CountingGenerator]:
    """The generator that a recipe asks for, for as long as this lasts.

    Args:
        recipe: what was asked.
        model: the round's; a server's engine does not look at it.
        note: told once why something is slower than it could be.

    Raises:
        UserError: the model cannot be read or takes no images; vLLM is asked for and cannot run it.
    """
    asked = recipe.generator
    if asked.engine == "vllm":
        if split_reference(model)[1] is not None:
            raise UserError(f"model: {model}: vLLM runs whole models; merge the adapter first (`burnish merge`)")
        yield VllmGenerator(resolve(model), system=recipe.system, batch=asked.batch)
    elif asked.endpoint is not None:
        server = EndpointGenerator(asked.endpoint, system=recipe.system)
        try:
            yield server
        finally:
            server.close()
    else:
        yield TransformersGenerator(open_model(recipe, model), system=recipe.system, batch=asked.batch, note=note)


def open_model(recipe: ShapeRecipe, model: str | Path, *, placed: bool = True) -> ChatModel:
    """An image-text model of a recipe.

    Args:
        recipe: what was asked.
        model: a folder or hub id.
        placed: whether it goes to the recipe's device at once; trainers place, and spread, it themselves.

    Raises:
        UserError: it cannot be read, takes no images, or has no chat template that takes the system turn.
    """
    device = "cpu" if recipe.device == "cpu" or not placed else own_device()
    chat = load_chat_model(model, dtype=recipe.dtype, device=device)
    if not chat.takes_images:
        raise UserError(f"model: {model}: takes no images; choose an image-text model")
    chat.render([Question("?", "!")], recipe.system)  # a template that is missing or refuses is known at once
    return chat


def normalisation(model: str | Path) -> tuple[Colour, Colour]:
    """Mean and deviation of a model's image processor; CLIP's where it has none of three channels.

    Raises:
        UserError: it has no processor that can be read.
    """
    images = getattr(load_processor(resolve(split_reference(model)[0])), "image_processor", None)
    mean, std = getattr(images, "image_mean", None), getattr(images, "image_std", None)
    if mean is None or std is None or len(mean) != 3 or len(std) != 3:
        return CLIP_MEAN, CLIP_STD
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
