"""One model of the mint study: trained for as many CPU seconds as all others, its losses watched. Knows the product."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from burnish.generate.artist import set_wording
from burnish.generate.codecs.opening import open_codec
from burnish.generate.folder import Unified
from burnish.generate.initial import from_scratch
from burnish.generate.loop import begin_places
from burnish.generate.model import UnifiedModel
from burnish.generate.plan_text import to_prompt
from burnish.generate.recipe import MintRecipe
from burnish.generate.script import Script
from burnish.generate.training.losses import sums
from burnish.generate.training.samples import Sample, read_samples
from burnish.generate.training.trainer import Trainer
from burnish.studies.mint.arms import LAST, Spending, recipe_of
from burnish.studies.mint.records import DENSE, REFINED, TRANSITION, WIDE
from burnish.testbeds.easel.sources import make_tokenizer

PROBE = 12
"""Steps of each stage by which the cost of a step is measured."""
WINDOW = 50
"""Steps over which the image loss is averaged, and after which gradients are compared."""


@dataclass(frozen=True)
class Taught:
    """A trained model and what was seen on the way; see :class:`burnish.studies.mint.records.ModelCell`."""

    unified: Unified
    steps: int
    seconds: float
    losses: dict[str, float]
    transition: int | None
    cosine: float | None


def teach(model: str, spending: Spending, seed: int) -> Taught:
    """Train a model for the CPU seconds of a spending.

    How many steps these are is measured first, with a model that is thrown away: the learning rate has to know.
    """
    samples = scenes(model, spending, "training", spending.scenes)
    probe = recipe_of(model, spending, seed, (PROBE, PROBE))
    costs = []
    clock = time.process_time()
    for number, _ in enumerate(_trainer(probe, samples)[0].units(), 1):
        if number in (2, PROBE, PROBE + 2, 2 * PROBE):  # the first steps build masks
            costs.append(time.process_time() - clock)
            clock = time.process_time()
    each = (costs[1] / (PROBE - 2), costs[3] / (PROBE - 2))
    steps = tuple(
        max(1, int(spending.seconds * share / cost)) for share, cost in zip((1 - LAST, LAST), each, strict=True)
    )
    recipe = recipe_of(model, spending, seed, (steps[0], steps[1]))
    trainer, unified = _trainer(recipe, samples)
    start = time.process_time()
    images: list[float] = []
    cosines: list[float] = []
    watched = 0.0
    transition: int | None = None
    for number, logged in enumerate(trainer.units()):
        images.append(logged.get("image_loss", float("inf")))
        mean = sum(images[-WINDOW:]) / WINDOW
        if transition is None and len(images) >= WINDOW and mean < TRANSITION:
            transition = number + 1
        if model in (DENSE, WIDE) and number % (4 * WINDOW) == WINDOW:
            began = time.process_time()
            cosines.append(gradient_cosine(trainer, unified.model))
            watched += time.process_time() - began
    seconds = time.process_time() - start - watched
    weights = trainer.finished_weights()
    unified.model.load_state_dict(weights)
    losses = trainer.measure(scenes(model, spending, "test", 4 * spending.batch), recipe.stages[1])
    cosine = sum(cosines) / len(cosines) if cosines else None
    return Taught(replace(unified, model=unified.model.eval()), sum(steps), seconds, losses, transition, cosine)


def scenes(model: str, spending: Spending, part: Literal["training", "test"], limit: int) -> list[Sample]:
    """Scenes of a part; for the refined prompt half of them have their plan told as their prompt."""
    recipe = recipe_of(model, spending, 0)
    size = recipe.model.codec.size
    source = recipe.data.model_copy(update={"source": f"{make_tokenizer.__module__}:{part}", "limit": limit})
    found = read_samples(source, recipe.wording, size)
    if model != REFINED:
        return found
    return [
        replace(sample, prompt=to_prompt(sample.plan, recipe.wording))
        if number % 2 and sample.plan is not None
        else sample
        for number, sample in enumerate(found)
    ]


def _trainer(recipe: MintRecipe, samples: Sequence[Sample]) -> tuple[Trainer, Unified]:
    from accelerate import Accelerator

    torch.manual_seed(recipe.seed)
    tokenizer, codec = make_tokenizer(), open_codec(recipe.model.codec)
    unified = Unified(from_scratch(recipe.model, codec, len(tokenizer)), codec, tokenizer)
    set_wording(unified, recipe.wording)
    begin_places(unified, recipe.wording)
    script = Script(tokenizer, recipe.wording)
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    return Trainer(recipe, unified.model, script, codec, [samples, samples], accelerator), unified


def gradient_cosine(trainer: Trainer, model: UnifiedModel) -> float:
    """Cosine of the gradients of the text and the image loss on one step's drawing rows, over the layers' weights."""
    (lesson, *_) = trainer.lessons(0, 0)
    found = sums(model(lesson.batch), lesson)
    totals = found.losses.sum(0) / found.tokens.sum(0).clamp(min=1)
    weights = list(model.layers.parameters())
    text, image = (_flat(torch.autograd.grad(total, weights, retain_graph=True)) for total in (totals[0], totals[1]))
    return float(torch.nn.functional.cosine_similarity(text, image, dim=0))


def _flat(gradients: Iterator[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])
