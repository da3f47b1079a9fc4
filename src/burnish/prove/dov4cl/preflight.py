"""What an audit would cost: queries, bytes, shadow trainings, seconds. Reads the pictures, asks nobody, trains one
step."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from burnish.core.forecast import PAGE, TORCH, Forecast
from burnish.core.hardware import flops_per_second
from burnish.prove.contrastive.recipe import TrainSettings
from burnish.prove.contrastive.train import make_learner, training_views
from burnish.prove.dov4cl.loop import read_pictures
from burnish.prove.dov4cl.probes import plan_probes
from burnish.prove.dov4cl.recipe import AuditRecipe, query_count
from burnish.prove.dov4cl.views import view_size

SUSPECT_WIDTH, SHADOW_WIDTH = 128, 64
"""Numbers of an answer: of a suspect's a guess, of a shadow's those of the house's small backbones."""
ANSWER_BYTES = 190
"""Of an answer in the cache, beside its numbers."""
COPIES = 3
"""Of an answer: in the cache, among the answers, in the evidence."""
ENCODER = 75_000
"""Parameters of the house's small backbones."""
EFFICIENCY = 0.05
"""Part of a matrix product's rate at which small pictures are encoded."""


def check(recipe: AuditRecipe) -> list[tuple[str, Any]]:
    """Rows for ``burnish check``.

    Raises:
        UserError: pictures that cannot be read, overlap or are too few, or a backbone that does not fit them.
    """
    pictures = read_pictures(recipe)
    public, private = len(pictures.public), len(pictures.private)
    height, width, channels = pictures.public.pixels.shape[1:]
    queries = query_count(recipe, public, private)
    views, shadows = recipe.views, recipe.shadows
    share = views.global_views / (views.global_views + views.local_views)
    sizes = [np.prod(view_size(views, kind, height, width)) * channels for kind in ("global", "local")]
    picture_bytes = queries * (share * sizes[0] + (1 - share) * sizes[1])
    trained = shadows.count + shadows.guilty
    rows: list[tuple[str, Any]] = [
        ("suspect", f"{recipe.suspect.model} ({recipe.suspect.resolved_kind})"),
        ("pictures", f"{public:,} public, {private:,} private ({recipe.private_is}), {width} x {height} x {channels}"),
        ("test", f"{recipe.test}, alpha {recipe.alpha}, {recipe.repeats} repetition(s)"),
        (
            "queries",
            f"up to {queries:,} to the suspect, as many to each of {trained + len(shadows.models)} other models",
        ),
        (
            "probes",
            f"up to {plan_probes(recipe, public, private).queries:,} queries more to the suspect",
        ),
        ("bytes", f"{picture_bytes / 1e6:,.1f} MB of views, before any encoding"),
    ]
    asked = queries * (1 + trained + len(shadows.models))
    spent = 2.0 * ENCODER * asked / (EFFICIENCY * flops_per_second())
    if recipe.suspect.rate is not None and recipe.suspect.resolved_kind == "http":
        seconds = queries / recipe.suspect.batch / recipe.suspect.rate
        spent += seconds
        rows.append(("asking", f"{seconds:,.0f} s or more, by the rate limit"))
    if trained:
        size = min(shadows.size or public, len(pictures.others) if pictures.others is not None else public)
        one = training_seconds(shadows.train, size, height, channels)
        workers = max(1, min(recipe.workers, trained))
        spent += one * trained / workers
        rows.append(
            (
                "shadows",
                f"{shadows.count} innocent and {shadows.guilty} guilty, {shadows.train.objective} on {size:,} pictures "
                "each: "
                f"about {one:,.0f} s a model, {one * trained / workers:,.0f} s on {workers} worker(s)",
            )
        )
    answers = 4 * (SUSPECT_WIDTH * queries + SHADOW_WIDTH * (asked - queries))
    taken = Forecast(
        memory_bytes=int(TORCH + 2 * answers + 4 * pictures.public.pixels.nbytes),
        disk_bytes=int(
            2 * PAGE
            + COPIES * answers
            + ANSWER_BYTES * asked
            + pictures.public.pixels.nbytes
            + pictures.private.pixels.nbytes
            + 4 * ENCODER * trained
        ),
        seconds=spent,
    )
    return [*rows, *taken.rows()]


def training_seconds(settings: TrainSettings, images: int, side: int, channels: int) -> float:
    """Seconds that training one encoder takes on this machine, from one step on a part of a batch."""
    batch = min(settings.batch, images)
    part = min(batch, 64)
    learner = make_learner(settings, channels, side).train()
    pictures = torch.rand(part, channels, side, side, device=settings.device)
    spent = []
    for step in range(4):  # the first step also pays for memory and for the choice of kernels
        start = time.perf_counter()
        learner.loss(training_views(pictures, settings, 0, step)).backward()  # type: ignore[no-untyped-call]
        spent.append(time.perf_counter() - start)
    return min(spent) * batch / part * settings.epochs * (images // batch)
