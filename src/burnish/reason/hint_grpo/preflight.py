"""Preflight: what a recipe would do, from its configs and its first questions. Loads no weights, starts nothing."""

from __future__ import annotations

import os
from itertools import islice
from typing import Any

from burnish.core.errors import UserError
from burnish.core.forecast import PAGE, TRL, TRL_STEP, Forecast, checkpoint_bytes
from burnish.core.hardware import flops_per_second
from burnish.core.metrics import bytes_shown
from burnish.core.models import load_tokenizer, read_config, resolve, split_reference
from burnish.dialogue.readers import QuestionSettings, read_questions
from burnish.dialogue.rows import Question
from burnish.dialogue.sizes import count_parameters, training_memory
from burnish.reason.hint_grpo.hints import distinct_levels
from burnish.reason.hint_grpo.recipe import HintGRPORecipe
from burnish.reason.hint_grpo.rows import steps_of
from burnish.reason.hint_grpo.schedule import make_schedule

LOOKED_AT = 64
"""Questions that are read to see whether the data is what the recipe takes it for."""

FILES = 30_000
"""Bytes of the small files of a trainer's checkpoint: tokenizer, arguments, states of random streams (measured)."""
EFFICIENCY = 0.1
"""Part of a matrix product's rate that generation and small batches reach; a GPU is 100 times faster."""
TOKEN_SECONDS = 0.005
"""A token of a batch by the smallest model, whatever it computes."""
STEP_SECONDS = 0.05
"""A step of the smallest model, its generation aside (measured)."""


def check(recipe: HintGRPORecipe) -> list[tuple[str, Any]]:
    """Rows for ``burnish check``.

    Raises:
        UserError: a model, data set or schedule that does not exist, a tokenizer without chat template, images for a
            text-only model, or no usable question.
    """
    folder = resolve(split_reference(recipe.model)[0])
    config = read_config(folder)
    architecture = str((config.get("architectures") or ["?"])[0])
    sees = "vision_config" in config
    tokenizer = load_tokenizer(recipe.model)
    if not tokenizer.chat_template and not any(folder.glob("chat_template.*")):
        raise UserError(f"{recipe.model}: its tokenizer has no chat template; put chat_template.jinja beside it")
    make_schedule(recipe.hints.schedule, level=recipe.hints.level)
    questions = _first(recipe.data)
    blind = next((each for each in questions if each.images and not sees), None)
    if blind is not None:
        raise UserError(f"{blind.row}: has images, but {recipe.model} takes none; choose an image-text model")
    steps = [steps_of(each, recipe.hints.split) for each in questions]
    levels = [distinct_levels(len(each), recipe.hints.levels) for each in steps]
    most = recipe.questions * recipe.generations
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    size = count_parameters(folder, sees=sees)
    reference = recipe.beta > 0
    memory = training_memory(size, recipe.dtype, adapter=recipe.adapter is not None, reference=reference)
    taken = forecast(recipe, size, memory, len(questions))
    length = f"{recipe.steps:,} steps" if recipe.steps else f"{recipe.epochs:g} epochs"
    if recipe.token_budget:
        length += f", at most {recipe.token_budget:,} generated tokens"
    return [
        ("model", f"{architecture}, {size / 1e6:,.2f} M parameters{', takes images' if sees else ''}"),
        (
            "data",
            f"{recipe.data.source}; of the first {len(questions)} questions {sum(map(bool, steps))} have steps (mean "
            f"{sum(map(len, steps)) / len(steps):.1f}), {sum(bool(each.images) for each in questions)} have images",
        ),
        (
            "hints",
            f"{recipe.hints.schedule}, {recipe.hints.levels} levels; a question has "
            f"{sum(map(len, levels)) / len(levels):.1f} of them on average",
        ),
        (
            "a step",
            f"{recipe.questions * processes} questions, {most * processes} to "
            f"{most * processes * recipe.hints.levels} completions of at most {recipe.completion_tokens} tokens, on "
            f"{processes} process(es)",
        ),
        ("length", length),
        ("rewards", ", ".join(f"{each.name} x {each.weight:g}" for each in recipe.rewards)),
        ("training", f"about {bytes_shown(memory)} in all for weights, gradients, optimizer and reference"),
        *taken.rows(),
    ]


def forecast(recipe: HintGRPORecipe, size: int, memory: int, read: int) -> Forecast:
    """What the training will take, completions of half their limit, half of the questions tried once more.

    Args:
        recipe: what is trained.
        size: parameters.
        memory: bytes of weights, gradients, optimizer and reference.
        read: questions that were looked at: all that are known of, where neither `steps` nor `data.limit` is set.
    """
    each = 2 if recipe.dtype == "bfloat16" else 4
    weights = 0 if recipe.adapter is not None else size * each
    steps = recipe.steps or recipe.epochs * (recipe.data.limit or read) / recipe.questions
    tokens = steps * recipe.questions * recipe.generations * 1.5 * recipe.completion_tokens / 2
    passes = steps * 1.5 * recipe.completion_tokens / 2
    seconds = max(
        8.0 * size * tokens / (EFFICIENCY * flops_per_second()), passes * TOKEN_SECONDS + steps * STEP_SECONDS
    )
    return Forecast(
        memory_bytes=TRL + memory,
        disk_bytes=int(PAGE + TRL_STEP * steps) + weights + checkpoint_bytes(recipe, 3 * weights + FILES, seconds),
        seconds=seconds,
    )


def _first(settings: QuestionSettings) -> list[Question]:
    # The filter by length needs the model's processor, which only the run loads.
    anywhere = settings.filters.model_copy(update={"max_prompt_tokens": None})
    return list(islice(read_questions(settings.model_copy(update={"filters": anywhere})), LOOKED_AT))
