"""Preflight: what a recipe would do, and what its search would take. Reads configs and questions; loads no weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError, nearest
from burnish.core.forecast import PAGE, TRL, TRL_STEP, checkpoint_bytes
from burnish.core.forecast import Forecast as Taken
from burnish.core.hardware import flops_per_second
from burnish.core.metrics import bytes_shown
from burnish.core.models import load_tokenizer, read_config, resolve, split_reference
from burnish.dialogue.readers import read_questions
from burnish.dialogue.rows import Question
from burnish.dialogue.sizes import count_parameters, training_memory
from burnish.reason.rftt.forecast import Forecast, forecast
from burnish.reason.rftt.grammar import prefixes
from burnish.reason.rftt.prm import load_scorer
from burnish.reason.rftt.recipe import RFTTRecipe, SearchSettings
from burnish.reason.rftt.setup import (
    answer_finder,
    make_grammar,
    phase_one_grammar,
    phase_one_prompts,
    phase_one_rules,
)

LOOKED_AT = 64
"""Questions that are read to see what the data is like."""
ROW_TOKENS = 256
"""Of a solution, where no setting bounds it: a guess."""
SHARE = 0.3
"""How much of its cap a step fills, on average: a guess, said as one."""
EFFICIENCY = 0.3
"""Part of a matrix product's rate that generation reaches; a GPU is some hundred times faster."""
TEXT_BYTES = 400
"""Of a text of the search in its stored tree (measured)."""
FILES = 40_000
"""Bytes of the small files of a trainer's checkpoint: tokenizer, arguments, states of random streams (measured)."""
PASS = 0.005
"""Seconds of a pass of the smallest model, whatever it computes."""


def check(recipe: RFTTRecipe) -> list[tuple[str, Any]]:
    """Rows for ``burnish check``.

    Raises:
        UserError: a model, data set, grammar or prompt that does not exist, a tokenizer without chat template, images,
            or no usable question.
    """
    folder = resolve(split_reference(recipe.model)[0])
    config = read_config(folder)
    if "vision_config" in config:
        raise UserError(f"model: {recipe.model}: takes images; functional tokens are for text")
    tokenizer = load_tokenizer(recipe.model)
    if not tokenizer.chat_template and not any(folder.glob("chat_template.*")):
        raise UserError(f"{recipe.model}: its tokenizer has no chat template; put chat_template.jinja beside it")
    grammar = make_grammar(recipe.grammar)
    validate(recipe)
    questions = list(islice(read_questions(recipe.data), LOOKED_AT))
    size = count_parameters(folder, sees=False)
    actions = len(grammar.actions)
    seconds, trees = 0.0, 0
    rows: list[tuple[str, Any]] = [
        ("model", f"{(config.get('architectures') or ['?'])[0]}, {size / 1e6:,.2f} M parameters"),
        ("data", f"{recipe.data.source}; {_many(len(questions))} read, the first: {_short(questions[0])}"),
        ("grammar", f"{actions} actions, {2 * actions} new tokens, traces of at most {grammar.max_depth} steps"),
    ]
    if recipe.dtype == "bfloat16" and recipe.adapter is None:
        rows.append(
            ("precision", "weights in bfloat16: steps below 1e-5 round to nothing; float32, or an adapter, keeps them")
        )
    if recipe.warmup is not None and recipe.warmup.rows is None:
        searched, seconds, texts = _phase_one(recipe, recipe.warmup.search, tokenizer, questions, size)
        trees = TEXT_BYTES * texts
        rows += searched
    if recipe.warmup is not None and recipe.warmup.train:
        length = f"{recipe.warmup.steps:,} steps" if recipe.warmup.steps else f"{recipe.warmup.epochs:g} epochs"
        rows.append(("fine-tuning", f"{length} of {recipe.warmup.batch * recipe.warmup.accumulate} rows"))
    if recipe.rl is not None:
        samples = len(prefixes(grammar)) if recipe.rl.layout == "branch16" else recipe.rl.samples
        length = f"{recipe.rl.steps:,} steps" if recipe.rl.steps else f"{recipe.rl.epochs:g} epochs"
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        rows.append(
            (
                "reinforcement",
                f"{length} of {recipe.rl.questions * processes} questions x {samples} rollouts ({recipe.rl.layout}), "
                f"imposed tokens: {recipe.rl.forced}, advantage: {recipe.rl.advantage}",
            )
        )
    reference = recipe.rl is not None and recipe.rl.beta > 0
    memory = training_memory(size, recipe.dtype, adapter=recipe.adapter is not None, reference=reference)
    rows.append(("training", f"about {bytes_shown(memory)} for weights, gradients, optimizer and reference"))
    rows.append(("cache", f"up to {bytes_shown(recipe.cache)} of keys and values while searching"))
    trained, steps = _training(recipe, size, len(questions), len(prefixes(grammar)))
    return [*rows, *_taken(recipe, size, memory, seconds + trained, int(trees + TRL_STEP * steps)).rows()]


def _training(recipe: RFTTRecipe, size: int, read: int, branches: int) -> tuple[float, float]:
    """Seconds and steps of both trainings; a row of fine-tuning and a rollout have half of their limit's tokens."""
    known, rate = recipe.data.limit or read, EFFICIENCY * flops_per_second()
    seconds = taken = 0.0
    if recipe.warmup is not None and recipe.warmup.train:
        batch = recipe.warmup.batch * recipe.warmup.accumulate
        taken += (steps := recipe.warmup.steps or recipe.warmup.epochs * known / batch)
        seconds += steps * max(10 * PASS, 6.0 * size * batch * ROW_TOKENS / rate)
    if recipe.rl is not None:
        samples = branches if recipe.rl.layout == "branch16" else recipe.rl.samples
        taken += (steps := recipe.rl.steps or recipe.rl.epochs * known / recipe.rl.questions)
        tokens = min(recipe.rl.completion_tokens, recipe.grammar.max_depth * (recipe.rl.step_tokens or ROW_TOKENS)) / 2
        seconds += steps * max(tokens * PASS, 8.0 * size * recipe.rl.questions * samples * tokens / rate)
    return seconds, taken


def _taken(recipe: RFTTRecipe, size: int, memory: int, seconds: float, records: int) -> Taken:
    each = 2 if recipe.dtype == "bfloat16" else 4
    weights = 0 if recipe.adapter is not None else size * each
    phases = int(recipe.warmup is not None) + int(recipe.rl is not None)
    kept = checkpoint_bytes(recipe, 3 * weights + FILES, seconds / max(1, phases))
    return Taken(TRL + memory, PAGE + records + phases * (weights + FILES + kept), seconds)


def validate(recipe: RFTTRecipe) -> None:
    """Refuse what would end a run hours after its start: whatever the recipe names, looked up now.

    Raises:
        UserError: in one line, the first thing that is wrong.
    """
    import dataclasses

    from trl import GRPOConfig, SFTConfig

    grammar = make_grammar(recipe.grammar)
    answer_finder(recipe.answer)
    if recipe.prm is not None:
        load_scorer(recipe.prm.model)
    if recipe.warmup is not None:
        settings = recipe.warmup
        if settings.rows is not None and not Path(settings.rows).is_file():
            raise UserError(f"warmup.rows: {settings.rows}: no such file; give the rows.jsonl of a run")
        if settings.rows is None:
            phase_one_prompts(settings.search, phase_one_grammar(recipe, settings.search))
        _known(settings.trl, [field.name for field in dataclasses.fields(SFTConfig)], "warmup.trl", "SFTConfig")
    if recipe.rl is not None:
        _known(recipe.rl.trl, [field.name for field in dataclasses.fields(GRPOConfig)], "rl.trl", "GRPOConfig")
        samples = len(prefixes(grammar)) if recipe.rl.layout == "branch16" else recipe.rl.samples
        if recipe.rl.micro_batch and recipe.rl.questions * samples % recipe.rl.micro_batch:
            raise UserError(
                f"rl.micro_batch: {recipe.rl.micro_batch} does not divide questions x rollouts = "
                f"{recipe.rl.questions * samples}"
            )
        if recipe.data.limit is not None and recipe.data.limit < recipe.rl.questions:
            raise UserError(
                f"rl.questions: a step takes {recipe.rl.questions} and data.limit gives {recipe.data.limit}; "
                "lower the one or raise the other"
            )
    if recipe.test is not None:
        next(iter(read_questions(recipe.test)))


def _known(given: Mapping[str, Any], known: Sequence[str], where: str, config: str) -> None:
    for name in given:
        if name not in known:
            raise UserError(f"{where}.{name}: not an argument of TRL's {config}; {nearest(name, known)}")


def _phase_one(
    recipe: RFTTRecipe, settings: SearchSettings, tokenizer: object, questions: list[Question], size: int
) -> tuple[list[tuple[str, str]], float, int]:
    """Rows, seconds, and how many texts are searched."""
    grammar = phase_one_grammar(recipe, settings)
    prompts = phase_one_prompts(settings, grammar)
    asked = [prompts.action(action.name, question.question, []) for action in grammar.actions for question in questions]
    lengths = [len(ids) for ids in tokenizer(asked, add_special_tokens=False)["input_ids"]]  # type: ignore[operator]
    count = settings.questions or _count(recipe)
    found = forecast(grammar, phase_one_rules(settings), count, sum(lengths) / len(lengths), SHARE)
    seconds, said = _time(settings, found, size)
    rows = [
        (
            "search",
            f"{count:,} questions x {settings.rollouts} walks: about {found.texts:,} texts (at most "
            f"{found.texts_most:,}), {found.generated:,} tokens generated (at most {found.generated_most:,}), "
            f"{found.read:,} read",
        ),
        ("search, time", said),
    ]
    return rows, seconds, found.texts


def _time(settings: SearchSettings, found: Forecast, size: int) -> tuple[float, str]:
    passes = found.seconds(min(settings.batch, settings.trees) / PASS)
    if settings.endpoint is not None:
        return passes, f"as fast as {settings.endpoint.url} answers {settings.endpoint.parallel} requests at a time"
    seconds = max(2 * size * (found.generated + found.read) / (EFFICIENCY * flops_per_second()), passes)
    shown = f"{seconds / 3600:,.1f} hours" if seconds > 7200 else f"{seconds / 60:,.1f} minutes"
    return seconds, f"about {shown} on this machine if steps fill {100 * SHARE:.0f} % of their caps"


def _count(recipe: RFTTRecipe) -> int:
    """Questions of the source; read through once."""
    return sum(1 for _ in read_questions(recipe.data))


def _many(found: int) -> str:
    return f"{found} questions" if found < LOOKED_AT else f"the first {LOOKED_AT} questions"


def _short(question: Question) -> str:
    text = " ".join(question.question.split())
    return text if len(text) <= 60 else text[:59] + "…"
