"""One regime of one world of the sakd study: what is spoilt, the choice of temperature and weights, and every arm.

Every arm trains the same student by the product's own training, and shares the teacher's table with the others; each is
charged for what it asks of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn
from xxhash import xxh3_128

from burnish.core.parallel import one_thread
from burnish.distill.building import count_prices
from burnish.distill.footage import Footage
from burnish.distill.loop import Outcome, distill_in_memory
from burnish.distill.models import Classifier
from burnish.distill.records import Clips
from burnish.distill.rules import wanted
from burnish.distill.spending import Prices
from burnish.distill.table import TeacherTable
from burnish.studies.sakd.arms import PLANS, Spending, recipe_of
from burnish.studies.sakd.records import DRAWN, RANDOM, Arm, Regime, RegimeCell, Trained
from burnish.studies.sakd.world import World, WorldJob, load_world

WRONG, NOISY, UNUSABLE = 0.4, 0.4, 0.5
"""Shares of the samples that are spoilt: by a teacher who saw another one, by another label, by showing nothing."""
CURVE = 160
"""Test samples by which the course of accuracy on clean clips is drawn; what is judged is measured on all."""
MOST = 4
"""Times the baseline's epochs, after which a training ends that a budget should have ended before."""


class RegimeJob(NamedTuple):
    """One item for the executor: a world, what is wrong in it, what its students may cost, which arms."""

    world: WorldJob
    regime: Regime
    spending: Spending
    arms: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """What all arms of a regime share.

    Attributes:
        world: sets and teacher.
        clips: to train on, as the student sees them.
        taught: the same, as the teacher sees them.
        bad: which of them are spoilt.
        table: what the teacher said of ``taught``.
        teacher: the world's; what it said of an interrupted batch is kept as well.
        prices: FLOPs of a sample.
    """

    world: World
    clips: Clips
    taught: Clips
    bad: Bool[np.ndarray, " samples"]
    table: TeacherTable
    teacher: Classifier
    prices: Prices


@dataclass(frozen=True)
class Remembering(Classifier):
    """A frozen teacher that computes what it says of a batch once: arms that interrupt the same clips alike share it.

    Each is charged as if it had asked by itself. Only whole batches are told again, so that every bit is the same.

    Attributes:
        said: logits and features, by a hash of the batch.
    """

    said: dict[bytes, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def taught(self, pixels: Tensor, through: nn.Module | None = None, *, half: bool = False) -> tuple[Tensor, Tensor]:
        """As a classifier's."""
        key = xxh3_128(pixels.contiguous().numpy().data).digest()
        if key not in self.said:
            self.said[key] = super().taught(pixels, through, half=half)
        return self.said[key]


def run_regime(job: RegimeJob) -> RegimeCell:
    """All arms of a regime."""
    started = time.process_time()
    with one_thread():
        stage = set_up(load_world(job.world), job.regime)
        prices = stage.prices
        budget = baseline_flops(prices, len(stage.bad), job.spending)
        validation = stage.world.sets["validation"]
        students = {setting: _train(job, stage, RANDOM, setting, budget) for setting in job.spending.grid}
        tuned = {setting: named_rightly(student, validation) for setting, (student, _) in students.items()}
        best = max(tuned, key=lambda setting: tuned[setting])  # of equals the first
        first = _judged(stage, *students[best])
        arms = {RANDOM: Arm(flops=first, updates=first)}
        for name in job.arms:
            spent = _judged(stage, *_train(job, stage, name, best, budget * PLANS[name].times))
            alike = PLANS[name].alike or PLANS[name].times != 1
            even = spent if alike else _judged(stage, *_train(job, stage, name, best, None))
            arms[name] = Arm(flops=spent, updates=even)
    return RegimeCell(
        world=job.world.world,
        regime=job.regime,
        arms=arms,
        grid={f"T {setting[0]:g}, {setting[1]:g}": right for setting, right in tuned.items()},
        setting=f"T {best[0]:g}, {best[1]:g}",
        budget=budget,
        teacher=stage.world.facts.teacher,
        bad=float(stage.bad.mean()),
        single_frame=stage.world.facts.single_frame,
        cost_ratio=prices.teacher / prices.student,
        seconds=time.process_time() - started,
    )


def set_up(world: World, regime: Regime) -> Stage:
    """A regime's training samples, and what is wrong with which of them."""
    rng = np.random.default_rng([world.job.world, 50])
    own = world.sets[regime if regime in ("duplicates", "long tail") else "clean"]
    seen, bad = own, np.zeros(len(own.ids), bool)
    if regime == "wrong teacher":
        bad = _some(len(bad), WRONG, rng)
        order, rows = np.arange(len(bad)), rng.permutation(np.flatnonzero(bad))
        order[rows] = np.roll(rows, 1)  # one circle, so that none keeps its own
        seen = Clips(own.pixels[order], own.labels, own.ids)
    elif regime == "label noise":
        bad = _some(len(bad), NOISY, rng)
        own = seen = Clips(own.pixels, _other_labels(own.labels, bad, len(world.teacher.labels), rng), own.ids)
    elif regime == "unusable clips":
        bad = _some(len(bad), UNUSABLE, rng)
        pixels, labels = own.pixels.copy(), own.labels.copy()
        pixels[bad] = scrambled(pixels[bad], rng)
        labels[bad] = rng.integers(0, len(world.teacher.labels), int(bad.sum()))
        own = seen = Clips(pixels, labels, own.ids)
    table = TeacherTable(Footage(seen), len(world.teacher.labels), world.teacher.width, "in memory")
    prices = count_prices(world.student(), world.teacher, own, seen)
    return Stage(world, own, seen, bad, table, Remembering(**vars(world.teacher)), prices)


def _some(count: int, share: float, rng: np.random.Generator) -> Bool[np.ndarray, " samples"]:
    """A random part of exactly this share, rounded."""
    return rng.permutation(count) < round(share * count)


def _other_labels(
    labels: Int64[np.ndarray, " samples"], bad: Bool[np.ndarray, " samples"], classes: int, rng: np.random.Generator
) -> Int64[np.ndarray, " samples"]:
    """Where ``bad``, one of the other classes, each as likely."""
    other = (labels + rng.integers(1, classes, len(labels))) % classes
    return np.where(bad, other, labels)


def scrambled(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clips whose pixels have all changed places, in the same way in each: nothing is to be seen."""
    order = rng.permutation(int(np.prod(pixels.shape[1:4])))
    return pixels.reshape(len(pixels), -1, 3)[:, order].reshape(pixels.shape)


def baseline_flops(prices: Prices, samples: int, spending: Spending) -> float:
    """What random subsets of each epoch cost: their updates, and the teacher once on every sample."""
    return spending.epochs * wanted(samples, spending.share) * prices.training + samples * prices.teacher


def _train(
    job: RegimeJob, stage: Stage, arm: str, setting: tuple[float, float], flops: float | None
) -> tuple[Classifier, Outcome]:
    """One student, to a budget of FLOPs, or (none) for as many updates as the baseline has."""
    epochs = job.spending.epochs * (1 if flops is None else MOST)
    recipe = recipe_of(arm, job.spending, *setting, job.world.world, epochs=epochs, flops=flops)
    student = stage.world.student()
    drawn = job.regime == "clean" and flops is not None and arm in DRAWN
    found = distill_in_memory(
        recipe,
        student,
        stage.teacher,
        stage.clips,
        few(stage.world.sets["test"], CURVE) if drawn else None,
        teacher_clips=stage.taught,
        table=stage.table,
        prices=stage.prices,
    )
    return student, found


def _judged(stage: Stage, student: Classifier, found: Outcome) -> Trained:
    """What a training came to."""
    chosen = [np.asarray(each) for each in found.selections]
    return Trained(
        accuracy=named_rightly(student, stage.world.sets["test"]),
        curve=found.curve,
        flops=found.costs.total.flops,
        frozen=found.costs.frozen.flops,
        steps=found.steps,
        bad=float(np.mean([stage.bad[each].mean() for each in chosen])),
        overlap=mean_overlap(chosen),
        seen=len(np.unique(np.concatenate(chosen))) / len(stage.bad),
        strength=float(found.strength.mean()),
    )


def few(clips: Clips, count: int) -> Clips:
    """The first of them."""
    return Clips(clips.pixels[:count], clips.labels[:count], clips.ids[:count])


def mean_overlap(chosen: Sequence[Int64[np.ndarray, " _"]]) -> float:
    """Mean share of a choice that was in the one before; of a single choice 1: it never changed."""
    shares = [np.isin(after, before).mean() for before, after in pairwise(chosen)]
    return float(np.mean(shares)) if shares else 1.0


@torch.no_grad()
def named_rightly(classifier: Classifier, clips: Clips) -> float:
    """Accuracy."""
    classifier.model.eval()
    right = 0
    for start in range(0, len(clips.ids), 128):
        part = slice(start, start + 128)
        view = torch.from_numpy(clips.pixels[part]).permute(0, 1, 4, 2, 3) / 255
        logits, _ = classifier.taught(classifier.prepared(view))
        right += int((logits.argmax(-1).numpy() == clips.labels[part]).sum())
    return right / len(clips.ids)
