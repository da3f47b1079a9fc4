"""What an audit's recipe would do, without drawing, training or asking anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.core.errors import UserError, raised
from burnish.core.forecast import PAGE, TORCH, Forecast
from burnish.core.hardware import flops_per_second
from burnish.core.method import import_object
from burnish.prove.statistics import significant
from burnish.prove.trainprove.calibration import attainable, sources_needed
from burnish.prove.trainprove.recipe import AuditRecipe, reference_sources
from burnish.prove.trainprove.shadows import build, planned

EFFICIENCY = 0.2
"""Part of a matrix product's rate that training on small pictures reaches."""
STEP_SECONDS = 0.0005
"""A step's cost beside its layers: batch, views, optimizer of a small shadow."""


def check(recipe: AuditRecipe) -> list[tuple[str, Any]]:
    """Rows for ``burnish check``: what is drawn, trained and asked, and whether the verdict can be reached at all.

    Raises:
        UserError: a folder or function that does not exist, or an architecture that cannot be built.
    """
    import torch

    for source in (recipe.mine, *recipe.others):
        for folder in (source.pictures, source.validation):
            if folder is not None and not Path(folder).expanduser().is_dir():
                raise UserError(f"{source.name}: {folder}: no such folder of pictures")
        if source.function is not None:
            import_object(source.function, f"{source.name}: function")
        local = source.pipeline is not None and source.pipeline.startswith(("/", ".", "~"))
        if local and not Path(str(source.pipeline)).expanduser().is_dir():
            raise UserError(f"{source.name}: {source.pipeline}: no such folder; give a diffusers pipeline")
    numbers, sizes, passes = [], [], []
    for architecture in recipe.architectures:
        with torch.device("meta") if architecture.config is not None else torch.device("cpu"):
            model = build(architecture, len(recipe.classes), recipe.channels, recipe.size)
        sizes.append(sum(each.numel() for each in model.parameters()))
        numbers.append(f"{architecture.name} {sizes[-1] / 1e6:.2f} M")
        passes.append(forward_flops(model, architecture.name, recipe.channels, recipe.size))
    classes, others, shadows = len(recipe.classes), len(recipe.others), planned(recipe)
    drawn = sum(1 for source in (recipe.mine, *recipe.others) if not source.pictures)
    references = len(reference_sources(recipe))
    asked = classes * (recipe.validation_pictures + recipe.reference_pictures * references)
    queries = min(asked, recipe.suspect.queries or asked)
    spare = (
        recipe.ask_again if recipe.suspect.queries is None else min(recipe.ask_again, recipe.suspect.queries - queries)
    )
    more = f", and up to {spare:,} more to see whether it stays with its labels" if spare else ""
    size = recipe.size**2 * recipe.channels
    pictures = classes * recipe.shadow_pictures * (others + 1) + asked
    training, average = recipe.training, sum(sizes) / len(sizes)
    steps = training.steps or training.epochs * -(-classes * recipe.shadow_pictures // training.batch)
    layers = 3 * training.batch * sum(passes) / len(passes)  # backwards costs twice the way forwards
    step = STEP_SECONDS + layers / (EFFICIENCY * flops_per_second())
    taken = Forecast(
        memory_bytes=int(TORCH + 16 * max(sizes) + 5 * pictures * size),
        disk_bytes=int(2 * PAGE + pictures * size + 4 * average * len(shadows)),
        seconds=step * steps * len(shadows) / recipe.workers,
    )
    least = attainable(others)
    enough = (
        "" if significant(least, recipe.alpha) else f"; alpha {recipe.alpha:g} needs {sources_needed(recipe.alpha)}"
    )
    return [
        ("suspect", f"{recipe.suspect.model} ({recipe.suspect.resolved_kind}), asked for {recipe.answer}"),
        (
            "pictures",
            f"{pictures:,} of {recipe.size} x {recipe.size}, from {drawn} generators and {others + 1 - drawn} folders",
        ),
        ("shadows", f"{len(shadows)} models: {', '.join(numbers)} parameters"),
        ("queries", f"{queries:,} of {asked:,} validation pictures{more}"),
        ("sources", f"{others} innocent: the least open-world p is {least:.3f}{enough}"),
        ("statistic", f"{recipe.statistic}, alpha {recipe.alpha:g}"),
        ("workers", f"{recipe.workers} ({recipe.executor}), on {recipe.device}"),
        *taken.rows(),
    ]


def forward_flops(model: Any, name: str, channels: int, size: int) -> int:
    """Floating-point operations of one picture's way through a model; on the meta device nothing is computed.

    Raises:
        UserError: the model takes no such picture.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    picture = torch.zeros(1, channels, size, size, device=next(model.parameters()).device)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.eval()(picture)
    except Exception as error:  # the user's own code, or a configuration for pictures of another size
        raise UserError(
            f"architectures: {name}: a picture [1, {channels}, {size}, {size}] raised {raised(error)}"
        ) from error
    return int(counter.get_total_flops())
