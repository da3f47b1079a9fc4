"""Preflight: what a recipe would do, from configurations and the names of files. Reads no weights, opens no picture."""

from __future__ import annotations

import os
from typing import Any

import torch

from burnish.core.errors import UserError
from burnish.core.forecast import PAGE, TORCH, Forecast, checkpoint_bytes
from burnish.core.hardware import flops_per_second
from burnish.core.models import read_config, resolve
from burnish.generate.codecs.opening import open_codec
from burnish.generate.config import UnifiedConfig, text_config
from burnish.generate.initial import routing_table
from burnish.generate.kinds import KINDS
from burnish.generate.loop import start_model
from burnish.generate.model import UnifiedModel
from burnish.generate.recipe import MintRecipe
from burnish.generate.training.course import mix_said, rows_by_task
from burnish.generate.training.samples import read_each_once

ADAM = 16
"""Bytes a parameter in training: weight, gradient, two moments, single precision."""

EFFICIENCY = 0.2
"""Part of a matrix product's rate that small models reach; a GPU is 100 times faster."""
STEP_SECONDS = 0.05
"""A step of the smallest model, whatever it computes."""
PICTURES = 130_000
"""Bytes of the pictures of the report, beside it and in it (measured)."""


def check(recipe: MintRecipe) -> list[tuple[str, Any]]:
    """Rows for ``burnish check``.

    Raises:
        UserError: a base, codec, tokenizer or data that do not exist or do not fit each other; sizes of a new model
            that do not; a routing table that is none, or not that of the base.
    """
    base = None if recipe.model.base is None else resolve(recipe.model.base)
    known = {} if base is None else read_config(base)
    table = routing_table(recipe.model.routing)
    if known.get("model_type") == UnifiedConfig.model_type:
        if known.get("routing") != table:
            raise UserError(
                f"model.routing: {base} routes {known.get('routing')}, the recipe {table}; its experts cannot be told "
                "apart otherwise"
            )
        codec, start = open_codec(known["codec"], base), f"the unified model {base}"
    else:
        if base is not None:
            text_config(known, str(base))
        codec = open_codec(recipe.model.codec)
        start = "FROM SCRATCH: all weights are random" if base is None else f"{base}, copied into every expert"
    with torch.device("meta"):
        parameters = _size(start_model(recipe).model if base is None else _empty(recipe, known))
    found: list[tuple[str, Any]] = [
        ("start", start),
        ("experts", ", ".join(f"{kind} -> {table[kind]}" for kind in KINDS)),
    ]
    rows, columns = codec.grid
    height, width = codec.size
    found += [
        ("model", f"{parameters / 1e6:,.2f} M parameters"),
        ("pictures", f"{height} x {width} pixels as {rows} x {columns} patches of {codec.patch_dim} numbers"),
    ]
    sources = [stage.data or recipe.data for stage in recipe.stages]
    read = read_each_once(sources, recipe.wording, codec.size)
    for number, (stage, source, samples) in enumerate(zip(recipe.stages, sources, map(len, read), strict=True), 1):
        rounds = stage.steps * stage.batch / samples
        found.append(
            (
                f"stage {number} ({stage.name})",
                f"{stage.steps:,} steps of {mix_said(rows_by_task(stage))} rows; {samples:,} samples of "
                f"{source.source}, {rounds:,.2g} times over",
            )
        )
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    each = parameters * (ADAM + 4 * (recipe.ema is not None)) / processes
    average = recipe.ema is not None
    rows_seen = sum(stage.steps * stage.batch for stage in recipe.stages)
    numbers = rows * columns * (1 + recipe.flow.copies)
    routed = parameters / len(set(table.values()))  # a patch meets one expert
    seconds = max(
        STEP_SECONDS * sum(stage.steps for stage in recipe.stages),
        6.0 * routed * numbers * rows_seen / (EFFICIENCY * flops_per_second() * processes),
    )
    taken = Forecast(
        memory_bytes=int(TORCH + each),
        disk_bytes=PAGE
        + PICTURES
        + 4 * parameters
        + checkpoint_bytes(recipe, (ADAM - 4 + 4 * average) * parameters, seconds),
        seconds=seconds,
    )
    shared = f", if FSDP spreads it over {processes} processes" if processes > 1 else ""
    found.append(("training", f"about {each / 1e9:,.2f} GB for weights and optimizer{shared}; activations aside"))
    return [*found, *taken.rows()]


def _size(model: UnifiedModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _empty(recipe: MintRecipe, known: dict[str, Any]) -> UnifiedModel:
    """The model that starts from a checkpoint, by its configuration; on the device that is set."""
    if known.get("model_type") == UnifiedConfig.model_type:
        return UnifiedModel(UnifiedConfig(**{key: value for key, value in known.items() if key != "model_type"}))
    codec, table = open_codec(recipe.model.codec), routing_table(recipe.model.routing)
    return UnifiedModel(UnifiedConfig(text=known, routing=table, patch_dim=codec.patch_dim, grid=codec.grid))
