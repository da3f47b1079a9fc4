"""One model of the mint study: trained for as many CPU seconds as all others, its losses watched. Knows the product."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from burnish.generate.artist import DrawSettings, ModelArtist, set_wording
from burnish.generate.codecs.opening import open_codec
from burnish.generate.folder import Unified
from burnish.generate.initial import from_scratch
from burnish.generate.loop import begin_places
from burnish.generate.model import UnifiedModel
from burnish.generate.plan import Plan
from burnish.generate.plan_text import to_prompt
from burnish.generate.recipe import MintRecipe
from burnish.generate.script import Script
from burnish.generate.steps.state import Heat, Picture
from burnish.generate.training.drafts import faults, heat_of, own_drafts
from burnish.generate.training.losses import sums
from burnish.generate.training.samples import Sample, read_samples
from burnish.generate.training.trainer import Trainer
from burnish.studies.mint.arms import LAST, TWINS, UNPLANNED, Spending, Stage, recipe_of, source_of, world_of
from burnish.studies.mint.records import DENSE, PLAIN, REFINED, TRANSITION, WIDE
from burnish.testbeds.easel.checker import as_rows, find, judge
from burnish.testbeds.easel.sources import make_tokenizer
from burnish.testbeds.easel.world import World

PROBE = 24
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
    wrong_drafts: float


@dataclass(frozen=True)
class Watched:
    """What was seen of a stage.

    Attributes:
        images: the image loss of each step.
        cosines: of gradients, of dense models.
        seconds: that watching took.
    """

    images: list[float]
    cosines: list[float]
    seconds: float


def teach(model: str, spending: Spending, seed: int) -> Taught:
    """Train a model for the CPU seconds of a spending: a stage of drawing, its own drafts, a stage of all tasks.

    How many steps these are is measured first, with a model that is thrown away: the learning rate has to know.
    """
    samples = scenes(model, spending, "training", spending.scenes)
    costs = {stage: cost(model, spending, seed, stage, samples) for stage in ("draw", "all")}
    first = max(1, int(spending.seconds * (1 - LAST) / costs["draw"]))
    recipe = recipe_of(model, spending, seed, "draw", first)
    unified = begun(recipe, model)
    start = time.process_time()
    watched = _train(recipe, unified, samples, dense=model in (DENSE, WIDE))
    drafts = drafts_of(model, unified, samples, spending, seed)
    left = spending.seconds - (time.process_time() - start - watched.seconds)
    second = max(1, int(left / costs["all"]))
    recipe = recipe_of(model, spending, seed, "all", second)
    # so that half of what reflection looks at are drafts
    _train(recipe, unified, [*samples, *drafts * (len(samples) // len(drafts))])
    seconds = time.process_time() - start - watched.seconds
    losses = _trainer(recipe, unified, samples).measure(
        scenes(model, spending, "test", 4 * spending.batch), recipe.stages[0]
    )
    return Taught(
        replace(unified, model=unified.model.eval()),
        first + second,
        seconds,
        losses,
        _transition(watched.images),
        sum(watched.cosines) / len(watched.cosines) if watched.cosines else None,
        sum(bool(draft.heat is not None and draft.heat.any()) for draft in drafts) / len(drafts),
    )


def cost(model: str, spending: Spending, seed: int, stage: Stage, samples: Sequence[Sample]) -> float:
    """CPU seconds of a step: the median, because others may be at work on the machine."""
    recipe = recipe_of(model, spending, seed, stage, PROBE)
    times = []
    clock = time.process_time()
    for _ in _trainer(recipe, begun(recipe, model), samples).units():
        times.append(time.process_time() - clock)
        clock = time.process_time()
    return median(times[2:])  # the first steps build masks


def begun(recipe: MintRecipe, model: str) -> Unified:
    """What the training of a model starts from."""
    torch.manual_seed(recipe.seed)
    tokenizer, codec = make_tokenizer(world_of(model)), open_codec(recipe.model.codec)
    unified = Unified(from_scratch(recipe.model, codec, len(tokenizer)), codec, tokenizer)
    set_wording(unified, recipe.wording)
    begin_places(unified, recipe.wording)
    return unified


def drafts_of(model: str, unified: Unified, samples: Sequence[Sample], spending: Spending, seed: int) -> list[Sample]:
    """What a model draws of training scenes, its faults marked: where it is not as planned; without a plan, all that
    is there in a picture that is not what was asked.

    A model that plans draws every other one without its plan. Drafts of both kinds are judged in the end, and by those
    that keep to their plan alone reflection learns to find little fault.
    """
    chosen = samples[1::2] if model == REFINED else samples  # those whose plan is told as their prompt
    chosen = chosen[: spending.drafts]
    artist = ModelArtist(replace(unified, model=unified.model.eval()), DrawSettings(constrained=False))
    world = world_of(model)
    marker = partial(_unasked if TWINS.get(model, model) == PLAIN else _unplanned, world)
    if model in UNPLANNED:
        return own_drafts(artist, chosen, marker, seed, planned=False)
    parts = (chosen[0::2], True), (chosen[1::2], False)
    return [draft for part, planned in parts for draft in own_drafts(artist, part, marker, seed, planned)]


def _unplanned(world: World, sample: Sample, picture: Picture) -> Heat:
    assert sample.plan is not None
    drawn = Plan.from_rows(as_rows(find(picture, world)))
    return faults(sample.plan, drawn, (world.grid, world.grid))


def _unasked(world: World, sample: Sample, picture: Picture) -> Heat:
    grid = (world.grid, world.grid)
    if judge(sample.prompt, picture, world):
        return np.zeros(grid, dtype=np.float32)
    boxes = [one.box for one in find(picture, world)]
    return heat_of(boxes or [(0.0, 0.0, 1.0, 1.0)], grid)


def scenes(model: str, spending: Spending, part: Literal["training", "test"], limit: int) -> list[Sample]:
    """Scenes of a part; for the refined prompt half of them have their plan told as their prompt."""
    recipe = recipe_of(model, spending, 0)
    size = recipe.model.codec.size
    source = recipe.data.model_copy(update={"source": source_of(model, part), "limit": limit})
    found = read_samples(source, recipe.wording, size)
    if model != REFINED:
        return found
    return [
        replace(sample, prompt=to_prompt(sample.plan, recipe.wording))
        if number % 2 and sample.plan is not None
        else sample
        for number, sample in enumerate(found)
    ]


def _train(recipe: MintRecipe, unified: Unified, samples: Sequence[Sample], dense: bool = False) -> Watched:
    """One stage; the model then has the averaged weights."""
    trainer = _trainer(recipe, unified, samples)
    images: list[float] = []
    cosines: list[float] = []
    seconds = 0.0
    for number, logged in enumerate(trainer.units()):
        images.append(logged.get("image_loss", float("inf")))
        if dense and number % (4 * WINDOW) == WINDOW:
            began = time.process_time()
            cosines.append(gradient_cosine(trainer, unified.model))
            seconds += time.process_time() - began
    unified.model.load_state_dict(trainer.finished_weights())
    return Watched(images, cosines, seconds)


def _transition(images: Sequence[float]) -> int | None:
    """The step after which the mean of the last ones is below the mark."""
    for number in range(WINDOW, len(images) + 1):
        if sum(images[number - WINDOW : number]) / WINDOW < TRANSITION:
            return number
    return None


def _trainer(recipe: MintRecipe, unified: Unified, samples: Sequence[Sample]) -> Trainer:
    from accelerate import Accelerator

    script = Script(unified.tokenizer, recipe.wording)
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    return Trainer(recipe, unified.model, script, unified.codec, [samples], accelerator)


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
