"""Before the trainer: the questions of a recipe as its table, and whether the model will see each as it was asked.

Knows recipes, chat models and the table; no trainer.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.core.streams import batched
from burnish.dialogue.models import ChatModel
from burnish.dialogue.readers import AT_ONCE, read_questions
from burnish.dialogue.rows import Question
from burnish.reason.hint_grpo.hints import hint_lengths, hint_text
from burnish.reason.hint_grpo.recipe import HintGRPORecipe
from burnish.reason.hint_grpo.rows import read_table, steps_of, write_table

# What TRL's trainer may hand a model beside the prompt, for its images.
VISION = (
    "pixel_values",
    "image_grid_thw",
    "pixel_attention_mask",
    "image_sizes",
    "image_position_ids",
    "spatial_shapes",
)

KINDS = ("mm_token_type_ids", "token_type_ids")  # which tokens are an image's, where a model wants to be told


def write_questions(recipe: HintGRPORecipe, chat: ChatModel, path: Path, note: Callable[[str], None]) -> Path:
    """Read a recipe's questions and write the table that the trainer reads.

    Raises:
        UserError: no chat template, or one that refuses the system turn; what reading raises; an empty answer; images
            for a text-only model; no question that leaves room for an answer.
    """
    # A template that is missing or refuses is known before data is read.
    chat.render([Question("?", "!")], recipe.system)
    questions = _with_room(recipe, chat, read_questions(recipe.data, note, prompt_lengths(recipe, chat)), note)
    written = write_table(path, questions, recipe.system, recipe.hints.split, takes_images=chat.takes_images)
    table = read_table(written)
    plain = sum(not steps for steps in table["steps"])
    note(
        f"{len(table):,} questions"
        + (f", {plain:,} of them without a rationale: plain GRPO for these" if plain else "")
    )
    return written


def _with_room(
    recipe: HintGRPORecipe, chat: ChatModel, questions: Iterable[Question], note: Callable[[str], None]
) -> Iterator[Question]:
    """Questions whose prompt, longest hint and a whole completion fit the model's context; others are counted."""
    context = getattr(chat.model.config.get_text_config(), "max_position_embeddings", None)
    if context is None:
        yield from questions
        return
    measure, kept, left_out = prompt_lengths(recipe, chat), 0, 0
    bound = recipe.data.filters.max_prompt_tokens  # a filter has measured these prompts: they are no longer
    for batch in batched(questions, AT_ONCE):
        steps = [steps_of(question, recipe.hints.split) for question in batch]
        hints = [hint_text(each, hint_lengths(len(each), recipe.hints.levels)[-1]) for each in steps]
        longest = [len(ids) for ids in chat.tokenizer(hints, add_special_tokens=False)["input_ids"]]
        enough = bound is not None and bound + max(longest) + recipe.completion_tokens <= context
        prompts = [0] * len(batch) if enough else measure(batch)
        for question, prompt, hint in zip(batch, prompts, longest, strict=True):
            if prompt + hint + recipe.completion_tokens <= context:
                kept += 1
                yield question
            else:
                left_out += 1
    if left_out:
        what = (
            f"prompt, hint and {recipe.completion_tokens:,} completion_tokens are more than its context of {context:,}"
        )
        if not kept:
            raise UserError(f"{recipe.model}: of each of the {left_out:,} questions {what}; lower completion_tokens")
        note(f"{left_out:,} questions left out: {what}")


def make_input_check(chat: ChatModel) -> Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], None]:
    """A check of the tensors of a step against its rows, each prompt rendered and encoded again alone.

    The check raises UserError: a prompt is cut or changed, or an image would not be seen as it is.
    """

    def check(tensors: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        from burnish.dialogue.input_check import check_inputs, image_token_id

        texts = []
        for row in rows:
            *before, user = row["prompt"]
            question = Question(user["content"], row["answer"], images=tuple(row.get("images", ())), row=row["where"])
            texts += chat.render([question], before[0]["content"] if before else None)
        inputs = {name: tensors[name] for name in VISION if name in tensors}
        inputs |= {"input_ids": tensors["prompt_ids"], "attention_mask": tensors["prompt_mask"]}
        ids = tensors["prompt_ids"]
        for name in KINDS:
            if name in tensors and not ((tensors[name][:, : ids.shape[1]] == 1) == (ids == image_token_id(chat))).all():
                raise UserError(
                    f"{rows[0]['where']}: {name} marks other tokens than those of the images; check padding"
                )
        check_inputs(chat, inputs, texts, [row.get("images", []) for row in rows], [row["where"] for row in rows])

    return check


def with_template_options(recipe: HintGRPORecipe, chat: ChatModel) -> ChatModel:
    """The model with its chat template used as TRL's trainer will use it."""
    options = recipe.trl.get("chat_template_kwargs") or {}
    return dataclasses.replace(chat, template_options=json.loads(options) if isinstance(options, str) else options)


def prompt_lengths(recipe: HintGRPORecipe, chat: ChatModel) -> Callable[[Sequence[Question]], Sequence[int]]:
    """A function that measures prompts, with the start of the assistant's turn, in tokens."""
    return lambda questions: chat.prompt_lengths(questions, recipe.system, recipe.hints.prefill)
