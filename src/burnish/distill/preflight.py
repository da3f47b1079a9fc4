"""Preflight: what a recipe would do, from configurations and the names of files. Decodes nothing, reads no weights."""

from __future__ import annotations

import math
import os
from typing import Any

from burnish.core.errors import UserError
from burnish.core.forecast import PAGE, TORCH, Forecast, checkpoint_bytes
from burnish.core.hardware import flops_per_second
from burnish.core.paths import cache
from burnish.distill.building import flops_of, refuse_unfit_loss
from burnish.distill.clip_cache import clip_bytes
from burnish.distill.looks import refuse_misfit
from burnish.distill.models import Classifier, load_classifier, match_labels
from burnish.distill.recipe import ClipSettings, SakdRecipe
from burnish.distill.rules import wanted
from burnish.distill.samples import read_samples
from burnish.distill.spending import Prices, everything, refuse_short_budget
from burnish.distill.states import wanted_by
from burnish.distill.table import table_bytes

EFFICIENCY = 0.2
"""Part of a matrix product's rate that small models reach; a GPU is 100 to 10,000 times faster."""
STEP_SECONDS = 0.05
"""A step of the smallest models, whatever it computes."""
STRIPS_BYTES = 400_000
"""Pictures of samples, beside the report and in it (measured)."""


def check(recipe: SakdRecipe) -> list[tuple[str, Any]]:
    """Rows for ``burnish check``.

    Raises:
        UserError: a model or data that do not exist; frames, sizes or classes that do not go together; a loss that
            needs features of one width; frames of both models without a common divisor; a grid that does not divide
            the picture; a budget that ends before the first step.
    """
    samples = read_samples(recipe.data)
    test = None if recipe.test is None else read_samples(recipe.test)
    clips = {"student": recipe.clip, "teacher": recipe.teacher_clip or recipe.clip}
    given = {"student": recipe.student, "teacher": recipe.teacher}
    models = {}
    for name, reference in given.items():
        labels = samples.labels if name == "student" else ()
        new_head = name == "student" and recipe.new_head
        model = models[name] = load_classifier(reference, name, labels, new_head=new_head, weights=False)
        setting = "teacher_clip" if name == "teacher" and recipe.teacher_clip is not None else "clip"
        refuse_misfit(model.look, clips[name].frames, clips[name].size, name, setting)
        match_labels(model.labels, samples.labels, name)
    student, teacher = models["student"], models["teacher"]
    refuse_unfit_loss(recipe, student, teacher)
    looked = wanted_by(recipe)
    if looked.losses and recipe.evaluation == "interrupted":
        refuse_unfit_interruption(recipe)
    count = len(samples.items)
    own, other = (flops_of(models[name], clips[name].frames, clips[name].size) for name in ("student", "teacher"))
    prices = Prices(other.forward, own.forward, own.training)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = wanted(count, recipe.selection.share)
    refuse_short_budget(recipe, looked, prices, count, min(recipe.batch * processes, chosen))
    spending = predicted(recipe, prices, count)
    whole = everything(recipe, prices, count)
    steps = math.ceil(chosen / (recipe.batch * processes))
    decoded = sum(clip_bytes(each) for each in {recipe.clip, clips["teacher"]}) * count
    decoded += 0 if test is None else clip_bytes(recipe.clip) * len(test.items)
    table = table_bytes(count, len(teacher.labels), teacher.width, recipe.augment.views)
    seconds = max(spending / (EFFICIENCY * flops_per_second() * processes), STEP_SECONDS * steps * recipe.epochs)
    weights, state = weight_bytes(recipe, student)
    taken = Forecast(
        memory_bytes=int(TORCH + _memory(recipe, student, teacher, count)),
        disk_bytes=PAGE + STRIPS_BYTES + weights + checkpoint_bytes(recipe, weights + state, seconds),
        seconds=seconds,
    )
    return [
        ("student", described(student, own.forward)),
        ("teacher", described(teacher, other.forward)),
        ("data", f"{recipe.data.source}: {count:,} samples of {len(samples.labels)} classes"),
        (
            "a selection",
            f"{chosen:,} samples ({recipe.selection.kind}), every {recipe.interval} epochs"
            if not looked.every_epoch
            else f"about {chosen:,} samples ({recipe.selection.kind}), every epoch",
        ),
        (
            "length",
            f"{recipe.epochs} epochs of {steps:,} steps of {recipe.batch * processes} samples{_budget(recipe)}",
        ),
        (
            "cost",
            f"about {spending:.2e} FLOPs, {spending / whole:.0%} of distilling on everything",
        ),
        (
            "cache",
            f"{decoded / 1e9:,.2f} GB of decoded clips and {table / 1e9:,.3f} GB of the teacher's table in {cache()}",
        ),
        *taken.rows(),
    ]


def refuse_unfit_interruption(recipe: SakdRecipe) -> None:
    """Refuse clips that cannot be interrupted alike for both models.

    Raises:
        UserError: says which, and what else to choose.
    """
    clips = [recipe.clip, recipe.teacher_clip or recipe.clip]
    one, two = (each.frames for each in clips)
    if (one == 1) != (two == 1):
        raise UserError(f"clip.frames: {one} for the student and {two} for the teacher: pictures have no moments")
    if one > 1 and math.gcd(one, two) == 1:
        raise UserError(
            f"clip.frames: {one} for the student and {two} for the teacher have no common divisor, so the same moments "
            "of both cannot be interrupted; choose other frames, or `evaluation: cached`"
        )
    for each in clips if one == 1 else ():
        side = each.size[0] // recipe.interruption.grid
        if side == 0 or each.size[0] % side or each.size[1] % side or each.size[0] % recipe.interruption.grid:
            raise UserError(
                f"interruption.grid: {recipe.interruption.grid} patches do not divide pictures of {each.size[0]} x "
                f"{each.size[1]}; choose a divisor"
            )


def predicted(recipe: SakdRecipe, prices: Prices, samples: int) -> float:
    """FLOPs of the whole training, as far as they are known before: what is asked of the teacher in training is, of
    rules that choose anew, estimated by independent draws."""
    looked, share = wanted_by(recipe), wanted(samples, recipe.selection.share) / samples
    evaluations = math.ceil(recipe.epochs / recipe.interval)
    spent = recipe.epochs * share * prices.training
    plain = looked.trust or looked.features or (looked.losses and recipe.evaluation != "history")
    if looked.losses and recipe.evaluation != "history":
        spent += evaluations * prices.student
        spent += (evaluations - 1) * prices.teacher * (recipe.evaluation == "interrupted")
    varied = recipe.augment.varies
    draws = {"fixed": 1}.get(recipe.selection.kind, recipe.epochs if looked.every_epoch else evaluations)
    views = recipe.augment.views if varied else 1
    met = 1 - (1 - share) ** max(1.0, draws / views)
    asked = min(views, recipe.epochs) * met if varied or not plain else 0.0
    spent += prices.teacher * (plain + asked * (recipe.loss.distilled > 0))
    spent *= samples
    budget = recipe.budget
    limits = [spent]
    limits += [] if budget.flops is None else [budget.flops]
    limits += [] if budget.share is None else [budget.share * everything(recipe, prices, samples)]
    return min(limits)


def described(model: Classifier, forward: float) -> str:
    """A model in one line."""
    size = sum(each.numel() for each in model.model.parameters())
    frames = "" if model.look.frames in (None, 1) else f"{model.look.frames} frames, "
    return (
        f"{type(model.model).__name__}, {size / 1e6:,.2f} M parameters, {frames}{len(model.labels)} classes, "
        f"{forward / 1e9:,.3f} GFLOPs a sample"
    )


def _memory(recipe: SakdRecipe, student: Classifier, teacher: Classifier, samples: int) -> float:
    sizes = [sum(each.numel() for each in model.model.parameters()) for model in (student, teacher)]
    copies = 4 if recipe.optimizer == "adamw" else 3  # weights, gradients, the optimizer's
    weights = 4 * copies * sizes[0] + (2 if recipe.dtype == "bfloat16" else 4) * sizes[1]
    states = 4 * samples * (8 + teacher.width * wanted_by(recipe).features)
    table = table_bytes(samples, len(teacher.labels), teacher.width, recipe.augment.views)
    return weights + states + table + _batch(recipe, recipe.clip) + _batch(recipe, recipe.teacher_clip or recipe.clip)


def weight_bytes(recipe: SakdRecipe, student: Classifier) -> tuple[int, int]:
    """Bytes of the student's weights, and of the optimizer's state."""
    weights = 4 * sum(each.numel() for each in student.model.parameters())
    return weights, weights * (2 if recipe.optimizer == "adamw" else 1)


def _batch(recipe: SakdRecipe, clip: ClipSettings) -> float:
    return 5.0 * clip_bytes(clip) * max(recipe.batch, recipe.frozen_batch)  # bytes, and single precision


def _budget(recipe: SakdRecipe) -> str:
    budget = recipe.budget
    said = [] if budget.share is None else [f"{budget.share:.0%} of the cost of distilling on everything"]
    said += [] if budget.flops is None else [f"{budget.flops:.2e} FLOPs"]
    said += [] if budget.seconds is None else [f"{budget.seconds:g} s"]
    return f", at most {' or '.join(said)}" if said else ""
