"""SAKD from a recipe in a run folder, or in memory: decode the data, load both models, train, measure, save."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from burnish.core.errors import UserError
from burnish.core.paths import cache
from burnish.core.run import Run
from burnish.distill.building import accelerator_of, build_distiller
from burnish.distill.clip_cache import cache_both, cache_clips
from burnish.distill.cost import Cost, Costs
from burnish.distill.models import Classifier, load_classifier
from burnish.distill.recipe import SakdRecipe
from burnish.distill.records import Clips
from burnish.distill.rules import Selection
from burnish.distill.samples import read_samples
from burnish.distill.spending import Prices
from burnish.distill.strips import captions, film_strip, told_apart
from burnish.distill.table import TeacherTable
from burnish.distill.trainer import Distiller
from burnish.distill.weights import Finished

CARD = """---
library_name: transformers
pipeline_tag: {task}
tags: [sakd, distillation]
---
{student}, taught by {teacher} with SAKD (`burnish run`): {steps} steps, {flops:.3g} FLOPs in all, seed {seed}.
"""


@dataclass(frozen=True)
class Outcome:
    """What a distillation in memory came to.

    Attributes:
        accuracy: on the test clips at the end; none without them.
        curve: FLOPs spent and accuracy then, from before the first step on.
        costs: FLOPs and seconds, the frozen passes too.
        selections: the samples chosen, at each choice, rising.
        steps: of training.
        difficulty: of each sample, at the end.
        strength: likewise.
    """

    accuracy: float | None
    curve: tuple[tuple[float, float], ...]
    costs: Costs
    selections: tuple[Int64[np.ndarray, " _"], ...]
    steps: int
    difficulty: np.ndarray
    strength: np.ndarray


def distill(recipe: SakdRecipe, run: Run) -> Path:
    """Distil a classifier. Returns the folder of the trained student.

    Raises:
        UserError: data, models or settings that do not go together.
        BurnishError: a loss or a teacher's word that is no number (the sample is named), or a full disk.
        Interrupted: a stop signal came; the state is saved.
    """
    if run.finished:
        return run.path / "artifacts" / "model"
    accelerator = accelerator_of(recipe)
    samples = read_samples(recipe.data, run.note)
    began = time.monotonic()  # an embedded model and its clips are there by now
    options: dict[str, Any] = {"workers": recipe.workers, "kind": recipe.executor, "ray_address": recipe.ray_address}
    options |= {"note": run.note, "progress": run.progress}
    folder = cache() / "clips"
    with accelerator.main_process_first():
        own, other = cache_both(
            samples, recipe.clip, recipe.teacher_clip, folder, bad_files=recipe.data.bad_files, **options
        )
        test = None
        if recipe.test is not None:
            asked = read_samples(recipe.test, run.note)
            found = cache_clips(asked, recipe.clip, folder, bad_files=recipe.test.bad_files, **options)
            test = relabelled(found, asked.labels, samples.labels, recipe.test.source)
    decoding = Costs(decoding=Cost(0.0, time.monotonic() - began))
    torch.manual_seed(recipe.seed % 2**63)  # of a new head and of weights from a configuration
    student = load_classifier(recipe.student, "student", samples.labels, new_head=recipe.new_head)
    teacher = load_classifier(recipe.teacher, "teacher", dtype=recipe.dtype)
    trainer = build_distiller(
        recipe, student, teacher, own, other, samples.labels, test, accelerator, cache() / "teachers", run.note
    )
    trainer.ledger.costs += decoding
    start = run.restore(trainer)
    total = max(start, trainer.expected_units())
    for unit, logged in enumerate(run.progress(trainer.units(), "batches", total), start):
        if logged:
            run.log(trainer.step, **logged)
        run.checkpoint(unit, trainer)
    if trainer.spent:
        run.note(f"{run.path}: the budget is used up after {trainer.epoch} of {recipe.epochs} epochs")
    run.artifact("outcome.json", {**_outcome(trainer), "classes": list(samples.labels)})
    run.artifact("samples.csv", _by_sample(trainer, samples.labels))
    run.artifact("strips.json", captions(trainer.states, own, samples.labels))
    for kind, rows in told_apart(trainer.states).items():
        for place, row in enumerate(rows):
            run.artifact(f"strips/{kind.replace(' ', '-')}-{place}.png", film_strip(own, row))
    finished = Finished(student, trainer.model, accelerator)
    return run.save_model(finished, student.kept_processor(), _card(recipe, trainer))


def distill_in_memory(
    recipe: SakdRecipe,
    student: Classifier,
    teacher: Classifier,
    clips: Clips,
    test: Clips | None = None,
    *,
    teacher_clips: Clips | None = None,
    table: TeacherTable | None = None,
    prices: Prices | None = None,
    on_selection: Callable[[int, Selection], None] = lambda _epoch, _selection: None,
) -> Outcome:
    """Distil a model that is in memory on clips that are, without a run: for studies and notebooks; no resume.

    Args:
        recipe: how; its ``teacher``, ``student``, ``data``, ``test`` and clips are not looked at.
        student: trained in place; its classes are those of the labels, in their order.
        teacher: likewise.
        clips: to train on.
        test: what accuracy is measured on, before, at every evaluation and after.
        teacher_clips: the same samples as the teacher sees them, if otherwise.
        table: of this teacher over these samples, for arms that share it: each is charged as if it had asked itself.
        prices: FLOPs of a sample, where they were counted already.
        on_selection: called with the epoch and each selection.

    Raises:
        UserError: models, clips or settings that do not go together.
        BurnishError: a loss that is no number.
    """
    selections: list[Int64[np.ndarray, " _"]] = []

    def chosen(epoch: int, selection: Selection) -> None:
        selections.append(selection.indices)
        on_selection(epoch, selection)

    trainer = build_distiller(
        recipe,
        student,
        teacher,
        clips,
        teacher_clips or clips,
        student.labels,
        test,
        accelerator_of(recipe),
        table=table,
        prices=prices,
    )
    trainer.on_selection = chosen
    measured = (logged for logged in trainer.units() if "test_accuracy" in logged)
    curve = [(logged["total_flops"], logged["test_accuracy"]) for logged in measured]
    states = trainer.states
    return Outcome(
        trainer.accuracy,
        tuple(curve),
        trainer.ledger.costs,
        tuple(selections),
        trainer.step,
        states.difficulty,
        states.strength,
    )


def relabelled(clips: Clips, of_clips: Sequence[str], labels: Sequence[str], source: str) -> Clips:
    """Clips whose labels count in the order of other names.

    Raises:
        UserError: a class that the other has not.
    """
    places = {name: place for place, name in enumerate(labels)}
    if unknown := [name for name in of_clips if name not in places]:
        raise UserError(f"test: {source}: has the class `{unknown[0]}`, which the training data lack")
    numbers = np.array([places[name] for name in of_clips], np.int64)
    return replace(clips, labels=numbers[clips.labels])


def _outcome(trainer: Distiller) -> dict[str, Any]:
    return {
        "steps": trainer.step,
        "epochs": trainer.epoch,
        "samples": len(trainer.seen),
        "ever_seen": float(trainer.seen.mean()),
        **trainer.ledger.numbers(),
        "accuracy": trainer.accuracy,
    }


def _by_sample(trainer: Distiller, labels: Sequence[str]) -> str:
    states, footage = trainer.states, trainer.student.footage
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "label", "difficulty", "strength", "chosen"])
    for name, label, *numbers in zip(
        footage.ids, footage.labels, states.difficulty, states.strength, states.counts, strict=True
    ):
        rows.writerow([name, labels[label], *(f"{number:.6g}" for number in numbers)])
    return text.getvalue()


def _card(recipe: SakdRecipe, trainer: Distiller) -> str:
    video = trainer.student.classifier.look.video
    return CARD.format(
        task="video-classification" if video else "image-classification",
        student=recipe.student,
        teacher=recipe.teacher,
        steps=trainer.step,
        flops=trainer.ledger.flops,
        seed=recipe.seed,
    )
